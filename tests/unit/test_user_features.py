"""Every stored feature of a shopper, on shops small enough to know the answer beforehand."""

import math
from typing import Any

import polars as pl
import pytest

from features import spec
from features.transforms import known_events, user_features
from tests.shop import day, day_us, event, events, item, items
from tests.strategies import Row

CATALOGUE = items(
    item("OAT-MILK", "Dairy", "Milk", "Oat milk"),
    item("COW-MILK", "Dairy", "Milk", "Fresh milk"),
    item("RYE-BREAD", "Bakery", "Bread"),
    item("GIFT-CARD"),
)
HALF_LIFE = spec.HALF_LIFE_DAYS


def shopper(*rows: Row, user_id: str = "household-7") -> dict[str, Any]:
    """The stored row of one shopper, long after all that happened."""
    table = user_features(known_events(events(*rows), day(1000)), CATALOGUE)
    return table.row(by_predicate=pl.col("user_id") == user_id, named=True)


def bought(item_id: str, on: float, price: float | None = None, **more: Any) -> Row:
    """A purchase of household-7."""
    return event("household-7", item_id, on, price=price, **more)


def test_events_items_and_sessions_are_counted_and_the_last_event_is_dated() -> None:
    row = shopper(
        bought("OAT-MILK", 0.25, session_id="basket-1"),
        bought("RYE-BREAD", 0.25, session_id="basket-1"),
        bought("RYE-BREAD", 0.75, session_id="basket-2"),
        bought("OAT-MILK", 3.25, session_id="basket-3"),
    )
    assert row["event_count"] == 4
    assert row["distinct_item_count"] == 2
    assert row["session_count"] == 3
    assert row["last_event_us"] == day_us(3.25)


def test_without_session_ids_a_day_is_a_session() -> None:
    row = shopper(bought("OAT-MILK", 1.1), bought("RYE-BREAD", 1.9), bought("OAT-MILK", 2.1))
    assert row["session_count"] == 2


def test_the_session_gap_is_the_mean_over_sessions_and_unknown_after_one() -> None:
    row = shopper(bought("OAT-MILK", 0), bought("OAT-MILK", 4), bought("OAT-MILK", 10))
    assert row["session_gap_days"] == pytest.approx(5.0)
    assert shopper(bought("OAT-MILK", 0))["session_gap_days"] == -1.0


def test_the_mean_log_price_is_over_events_with_a_price_and_zero_without_any() -> None:
    row = shopper(
        bought("OAT-MILK", 0, math.e - 1),
        bought("OAT-MILK", 1, math.e**3 - 1),
        event("household-7", "OAT-MILK", 2, "view"),
    )
    assert row["mean_log_price"] == pytest.approx(2.0)
    assert shopper(event("household-7", "OAT-MILK", 2, "view"))["mean_log_price"] == 0.0


def test_the_discount_share_counts_purchases_clearly_below_the_items_regular_price() -> None:
    others = [event("household-1", "OAT-MILK", number, price=10.0) for number in range(20)]
    row = shopper(
        *others,
        bought("OAT-MILK", 0, 10.0),
        bought("OAT-MILK", 1, 9.0),
        bought("OAT-MILK", 2, 8.9),
        bought("OAT-MILK", 3, 5.0),
        event("household-7", "OAT-MILK", 4, "view", price=1.0),
    )
    assert row["discount_share"] == pytest.approx(2 / 4)
    assert shopper(event("household-7", "OAT-MILK", 4, "view", price=1.0))["discount_share"] == 0.0


def test_the_history_ends_with_the_newest_event_and_keeps_types_and_times_beside_the_items() -> None:
    row = shopper(
        bought("RYE-BREAD", 5),
        event("household-7", "OAT-MILK", 2, "click"),
        event("household-7", "COW-MILK", 3, "impression"),
        event("household-7", "COW-MILK", 4, "view"),
    )
    assert row["history_item_ids"] == ["OAT-MILK", "COW-MILK", "RYE-BREAD"]
    assert row["history_event_types"] == [spec.EVENT_CODES[name] for name in ("click", "view", "purchase")]
    assert row["history_times_us"] == [day_us(2), day_us(4), day_us(5)]


def test_events_of_one_moment_stand_in_the_history_by_event_id() -> None:
    row = shopper(
        bought("RYE-BREAD", 5, event_id="receipt-1-2"),
        bought("OAT-MILK", 5, event_id="receipt-1-1"),
        bought("COW-MILK", 5, event_id="receipt-1-3"),
    )
    assert row["history_item_ids"] == ["OAT-MILK", "RYE-BREAD", "COW-MILK"]


def test_the_history_keeps_only_the_latest_events() -> None:
    later = [bought("RYE-BREAD", number) for number in range(1, spec.HISTORY_LENGTH + 1)]
    row = shopper(event("household-7", "OAT-MILK", 0, "view"), *later)
    assert row["event_count"] == spec.HISTORY_LENGTH + 1
    assert row["history_item_ids"] == ["RYE-BREAD"] * spec.HISTORY_LENGTH
    assert row["history_event_types"] == [spec.EVENT_CODES["purchase"]] * spec.HISTORY_LENGTH
    assert row["history_times_us"] == [day_us(number) for number in range(1, spec.HISTORY_LENGTH + 1)]


def test_an_item_is_counted_once_a_day() -> None:
    row = shopper(bought("OAT-MILK", 1.1), bought("OAT-MILK", 1.9), bought("OAT-MILK", 4.25), bought("OAT-MILK", 4.5))
    assert row["repeat_item_ids"] == ["OAT-MILK"]
    assert row["repeat_counts"] == [2.0]
    assert row["repeat_last_us"] == [day_us(4.5)]


def test_weights_are_decayed_to_the_shoppers_own_last_event_and_heaviest_comes_first() -> None:
    row = shopper(
        bought("OAT-MILK", 0),
        bought("RYE-BREAD", HALF_LIFE),
        bought("GIFT-CARD", 2 * HALF_LIFE),
        event("household-1", "OAT-MILK", 500),
    )
    assert row["repeat_item_ids"] == ["GIFT-CARD", "RYE-BREAD", "OAT-MILK"]
    assert row["repeat_weights"] == pytest.approx([1.0, 0.5, 0.25])


def test_weights_of_several_days_add_up_and_within_a_day_the_strongest_event_speaks() -> None:
    row = shopper(
        bought("OAT-MILK", 0),
        event("household-7", "OAT-MILK", HALF_LIFE, "view"),
        event("household-7", "OAT-MILK", HALF_LIFE, "click"),
    )
    assert row["repeat_weights"] == pytest.approx([0.5 + spec.EVENT_WEIGHTS["click"]])


@pytest.mark.parametrize("event_type", sorted(spec.EVENT_WEIGHTS))
def test_one_event_weighs_what_its_type_weighs(event_type: str) -> None:
    row = shopper(event("household-7", "OAT-MILK", 0, event_type))
    assert row["repeat_weights"] == pytest.approx([spec.EVENT_WEIGHTS[event_type]])


def test_the_gap_of_an_item_is_the_mean_between_its_days_and_unknown_after_one() -> None:
    days: dict[str, list[float]] = {"OAT-MILK": [0.5, 2.5, 10.5], "COW-MILK": [1, 4], "RYE-BREAD": [3]}
    row = shopper(*(bought(name, on) for name, several in days.items() for on in several))
    gaps = dict(zip(row["repeat_item_ids"], row["repeat_gap_days"], strict=True))
    assert gaps == {"OAT-MILK": pytest.approx(5.0), "COW-MILK": pytest.approx(3.0), "RYE-BREAD": -1.0}


def test_the_last_purchase_of_an_item_is_kept_apart_from_other_events_with_it() -> None:
    row = shopper(
        bought("OAT-MILK", 1),
        bought("OAT-MILK", 3.25),
        event("household-7", "OAT-MILK", 5, "click"),
        event("household-7", "COW-MILK", 4, "click"),
    )
    purchases = dict(zip(row["repeat_item_ids"], row["repeat_purchase_us"], strict=True))
    assert purchases == {"OAT-MILK": day_us(3.25), "COW-MILK": 0}


def test_items_of_equal_weight_stand_in_id_order() -> None:
    row = shopper(bought("RYE-BREAD", 1), bought("COW-MILK", 1), bought("OAT-MILK", 1))
    assert row["repeat_item_ids"] == ["COW-MILK", "OAT-MILK", "RYE-BREAD"]


def test_affinities_are_shares_of_decayed_weight_at_both_category_levels() -> None:
    row = shopper(bought("COW-MILK", 0), bought("OAT-MILK", HALF_LIFE), bought("RYE-BREAD", HALF_LIFE))
    assert row["leaf_names"] == ["Bakery > Bread", "Dairy > Milk > Oat milk", "Dairy > Milk > Fresh milk"]
    assert row["leaf_weights"] == pytest.approx([0.4, 0.4, 0.2])
    assert row["category_names"] == ["Dairy > Milk", "Bakery > Bread"]
    assert row["category_weights"] == pytest.approx([0.6, 0.4])


def test_items_without_a_category_have_no_share_in_affinities() -> None:
    row = shopper(bought("GIFT-CARD", 0), bought("RYE-BREAD", 0))
    assert row["leaf_names"] == row["category_names"] == ["Bakery > Bread"]
    assert row["leaf_weights"] == row["category_weights"] == [1.0]
    assert shopper(bought("GIFT-CARD", 0))["leaf_names"] == []


@pytest.mark.parametrize(
    ("constant", "group", "expected"),
    [
        ("REPEAT_LENGTH", "repeat_item_ids", ["OAT-MILK", "COW-MILK"]),
        ("LEAF_LENGTH", "leaf_names", ["Dairy > Milk > Oat milk", "Dairy > Milk > Fresh milk"]),
    ],
)
def test_only_the_heaviest_are_kept(
    monkeypatch: pytest.MonkeyPatch, constant: str, group: str, expected: list[str]
) -> None:
    monkeypatch.setattr(spec, constant, 2)
    row = shopper(bought("RYE-BREAD", 0), bought("COW-MILK", 1), bought("OAT-MILK", 2))
    assert row[group] == expected
    parallel = [name for name in row if name.startswith(group[: group.index("_") + 1])]
    assert {len(row[name]) for name in parallel} == {2}


def test_second_level_categories_are_cut_to_their_own_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec, "CATEGORY_LENGTH", 1)
    row = shopper(bought("RYE-BREAD", 0), bought("COW-MILK", 1), bought("OAT-MILK", 2))
    assert row["category_names"] == ["Dairy > Milk"]
    assert len(row["leaf_names"]) == 3


def test_items_outside_the_catalogue_do_not_count() -> None:
    row = shopper(bought("OAT-MILK", 0), bought("DISCONTINUED-TEA", 9, price=100.0))
    assert row["event_count"] == 1
    assert row["history_item_ids"] == row["repeat_item_ids"] == ["OAT-MILK"]
    assert row["last_event_us"] == day_us(0)


def test_shoppers_do_not_see_each_others_events_and_stand_in_id_order() -> None:
    rows = [event("household-7", "OAT-MILK", 0), event("household-1", "RYE-BREAD", 1)]
    table = user_features(known_events(events(*rows), day(10)), CATALOGUE)
    assert table["user_id"].to_list() == ["household-1", "household-7"]
    assert table["history_item_ids"].to_list() == [["RYE-BREAD"], ["OAT-MILK"]]
    assert table["leaf_weights"].to_list() == [[1.0], [1.0]]
