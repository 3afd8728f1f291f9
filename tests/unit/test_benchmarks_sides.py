"""Two sides are compared only where they answer the same question."""

import pytest

from benchmarks.ranking_sides import shared

SHOPPERS = ["anna", "ben"]


def lists(*items: str) -> dict[str, list[str]]:
    return {shopper: list(items) for shopper in SHOPPERS}


def test_the_share_is_of_items_whatever_their_order() -> None:
    assert shared(lists("a", "b", "c").__getitem__, lists("c", "a", "b").__getitem__, SHOPPERS) == 1.0


def test_one_item_in_forty_may_differ() -> None:
    items = [str(number) for number in range(40)]
    assert shared(lists(*items).__getitem__, lists(*items[1:], "other").__getitem__, SHOPPERS) == 39 / 40


def test_sides_with_other_lists_are_not_compared() -> None:
    with pytest.raises(ValueError, match=r"share 50\.0%"):
        shared(lists("a", "b").__getitem__, lists("b", "c").__getitem__, SHOPPERS)


def test_a_short_list_is_not_the_same_list() -> None:
    with pytest.raises(ValueError, match=r"share 50\.0%"):
        shared(lists("a", "b").__getitem__, lists("a").__getitem__, SHOPPERS)
