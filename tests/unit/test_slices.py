"""Who is in which group: everybody in exactly one, in an order a reader expects."""

import polars as pl

from features.schema import USERS
from training.slices import MAX_GROUPS, attribute_groupings, history_grouping


def users(**attributes: dict[str, str]) -> pl.DataFrame:
    """A USERS table: user id → attributes."""
    rows = [
        {"user_id": name, "attributes": [{"key": key, "value": value} for key, value in pairs.items()]}
        for name, pairs in attributes.items()
    ]
    return pl.DataFrame(rows, schema=USERS)


def test_history_groups_begin_at_one_six_twentyone_and_fiftyone_items() -> None:
    found = history_grouping([0, 1, 5, 6, 20, 21, 50, 51, 900])
    assert [found.groups[code] for code in found.codes] == [
        "no history",
        *2 * ["1-5 items"],
        *2 * ["6-20 items"],
        *2 * ["21-50 items"],
        *2 * ["51 items or more"],
    ]


def test_every_attribute_parts_the_shoppers_asked_about_and_nobody_is_left_out() -> None:
    table = users(ann={"age": "25-34", "town": "Ulm"}, bob={"age": "65+"}, cyd={}, eve={"age": "19-24"})
    age, town = attribute_groupings(table, ["bob", "dan", "ann", "cyd"])
    assert (age.dimension, town.dimension) == ("age", "town")
    assert [age.groups[code] for code in age.codes] == ["65+", "not stated", "25-34", "not stated"]
    assert list(age.groups) == ["25-34", "65+", "not stated"]
    assert [town.groups[code] for code in town.codes] == ["not stated", "not stated", "Ulm", "not stated"]


def test_groups_are_ordered_by_the_number_in_their_name() -> None:
    incomes = ["100-124K", "Under 15K", "15-24K", "250K+", "none of it", "25-34K"]
    table = users(**{f"u{number}": {"income": income} for number, income in enumerate(incomes)})
    (found,) = attribute_groupings(table, [f"u{number}" for number in range(6)])
    assert list(found.groups) == ["Under 15K", "15-24K", "25-34K", "100-124K", "250K+", "none of it"]


def test_the_smallest_of_too_many_groups_become_one() -> None:
    towns = [f"town {number:02}" for number in range(MAX_GROUPS) for _ in range(2)] + ["village", "hamlet"]
    table = users(**{f"u{number}": {"town": town} for number, town in enumerate(towns)})
    (found,) = attribute_groupings(table, [f"u{number}" for number in range(len(towns))])
    assert len(found.groups) == MAX_GROUPS + 1
    assert [found.groups[code] for code in found.codes[-2:]] == ["other", "other"]


def test_the_first_of_several_values_counts_and_a_shop_that_knows_nothing_has_no_grouping() -> None:
    twice = [{"key": "age", "value": "30"}, {"key": "age", "value": "40"}]
    table = pl.DataFrame([{"user_id": "ann", "attributes": twice}], schema=USERS)
    (found,) = attribute_groupings(table, ["ann"])
    assert list(found.groups) == ["30"]
    assert attribute_groupings(users(), ["ann"]) == []
    assert attribute_groupings(users(ann={}), ["ann"]) == []
