"""Promoted items: how many of each page, where they stand, and that nothing else changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ranking.ordering import Promoted, RankedList, Source, with_promotions
from tests.strategies import unhurried


def a_list(*rows: int, source: Source = Source.POPULAR) -> RankedList:
    size = len(rows)
    scores = -np.array(rows, np.float32)
    return RankedList(np.array(rows, np.int32), scores, scores / np.float32(8), np.full(size, source, np.uint8))


LIST = a_list(*range(20))


def promoted_places(found: RankedList) -> list[int]:
    return np.flatnonzero(found.sources == Source.PROMOTION).tolist()


def test_without_promotions_or_their_items_the_list_stays() -> None:
    for promotions in ([], [Promoted(a_list(), 50)], [Promoted(a_list(90), 0)], [Promoted(a_list(90), 9)]):
        assert with_promotions(LIST, promotions, 10) is LIST


def test_promoted_items_are_spread_evenly_over_every_page() -> None:
    found = with_promotions(LIST, [Promoted(a_list(90, 91, 92, 93, 94), 20)], 10)
    assert promoted_places(found) == [2, 7, 12, 17]
    assert found.rows[promoted_places(found)].tolist() == [90, 91, 92, 93]
    assert np.delete(found.rows, promoted_places(found)).tolist() == list(range(20))


def test_a_pinned_item_stands_where_it_is_pinned_and_counts_towards_the_share() -> None:
    found = with_promotions(LIST, [Promoted(a_list(90, 91, 92, 93), 20, pinned_position=1)], 10)
    assert found.rows[:10].tolist() == [90, 0, 1, 2, 3, 91, 4, 5, 6, 7]
    assert promoted_places(found) == [0, 5, 12, 17]
    alone = with_promotions(LIST, [Promoted(a_list(90, 91), 0, pinned_position=3)], 10)
    assert alone.rows[:5].tolist() == [0, 1, 90, 2, 3]
    assert promoted_places(alone) == [2]


def test_a_pin_behind_the_page_stands_at_its_end_and_two_pins_stand_one_behind_the_other() -> None:
    far = with_promotions(LIST, [Promoted(a_list(90), 0, pinned_position=50)], 10)
    assert promoted_places(far) == [9]
    both = with_promotions(LIST, [Promoted(a_list(90), 0, 2), Promoted(a_list(80), 0, 2)], 10)
    assert both.rows[:4].tolist() == [0, 90, 80, 1]


def test_an_item_of_the_list_that_is_promoted_moves_and_is_there_once() -> None:
    found = with_promotions(LIST, [Promoted(a_list(7, 3), 20)], 10)
    assert found.rows[:10].tolist() == [0, 1, 7, 2, 4, 5, 6, 3, 8, 9]
    assert sorted(found.rows.tolist()) == list(range(20))


def test_an_item_that_two_promote_goes_to_the_earlier() -> None:
    found = with_promotions(LIST, [Promoted(a_list(90), 10), Promoted(a_list(90, 91), 10)], 10)
    assert found.rows[promoted_places(found)].tolist() == [90, 91]


def test_promotions_take_turns() -> None:
    found = with_promotions(LIST, [Promoted(a_list(90, 91), 20), Promoted(a_list(80, 81), 20)], 10)
    assert found.rows[promoted_places(found)].tolist() == [90, 80, 91, 81]


def test_where_the_list_runs_short_promoted_items_move_up() -> None:
    assert with_promotions(a_list(0), [Promoted(a_list(90, 91), 20)], 10).rows.tolist() == [0, 90, 91]
    assert with_promotions(a_list(), [Promoted(a_list(90, 91), 20)], 10).rows.tolist() == [90, 91]


def test_scores_and_interest_stay_with_their_items() -> None:
    found = with_promotions(LIST, [Promoted(a_list(90, 91), 20)], 10)
    assert found.scores.tolist() == (-found.rows.astype(np.float32)).tolist()
    assert found.interest.tolist() == (found.scores / 8).tolist()


_promotions = st.lists(
    st.tuples(st.lists(st.integers(0, 40), unique=True, max_size=12), st.integers(0, 30), st.integers(0, 12)),
    max_size=3,
)


@unhurried
@given(own=st.lists(st.integers(0, 40), unique=True, max_size=30), promotions=_promotions, page=st.integers(1, 12))
def test_no_item_is_lost_or_twice_and_shares_are_kept(
    own: list[int], promotions: list[tuple[list[int], int, int]], page: int
) -> None:
    asked = [Promoted(a_list(*rows), percent, pin) for rows, percent, pin in promotions]
    found = with_promotions(a_list(*own), asked, page)
    rows = found.rows.tolist()
    assert len(rows) == len(set(rows))
    assert set(own) <= set(rows) <= set(own).union(*(rows for rows, _, _ in promotions))
    is_promoted = found.sources == Source.PROMOTION
    assert [row for row, there in zip(rows, is_promoted, strict=True) if not there] == [
        row for row in own if row not in set(found.rows[is_promoted].tolist())
    ]
    first = int(is_promoted[:page].sum())
    assert first <= sum(percent * page // 100 + (pin > 0) for _, percent, pin in promotions)


@pytest.mark.parametrize("percent", [30, 50, 100])
def test_a_page_has_its_percentage_where_items_suffice(percent: int) -> None:
    found = with_promotions(LIST, [Promoted(a_list(*range(100, 140)), percent)], 10)
    assert (found.sources[:10] == Source.PROMOTION).sum() == percent // 10
    assert (found.sources[10:20] == Source.PROMOTION).sum() == percent // 10
