"""Every stored feature of an item, on shops small enough to know the answer beforehand."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from features import spec
from features.transforms import item_features, known_events
from tests.shop import day, event, events, item, items, promotion, promotions
from tests.strategies import Row

AS_OF = 100.0
CATALOGUE = items(
    item("OAT-MILK", "Dairy", "Milk", price=2.0),
    item("COW-MILK", "Dairy", "Milk"),
    item("RYE-BREAD", "Bakery", "Bread", price=3.0),
    item("GIFT-CARD"),
)


def shelf(*happened: Row, promoted: Sequence[Row] = ()) -> dict[str, dict[str, Any]]:
    """item_id → its row at AS_OF."""
    table = item_features(known_events(events(*happened), day(AS_OF)), CATALOGUE, promotions(*promoted), day(AS_OF))
    assert table["item_id"].to_list() == CATALOGUE["item_id"].to_list()
    return {row["item_id"]: row for row in table.iter_rows(named=True)}


def oat_milk(*happened: Row, promoted: Sequence[Row] = ()) -> dict[str, Any]:
    """The row of OAT-MILK."""
    return shelf(*happened, promoted=promoted)["OAT-MILK"]


def bought(household: int, on: float, price: float | None = None) -> Row:
    """A purchase of OAT-MILK."""
    return event(f"household-{household}", "OAT-MILK", on, price=price)


def test_event_weights_and_shoppers_are_counted() -> None:
    row = oat_milk(bought(1, 1), bought(1, 2), bought(7, 3), event("household-7", "OAT-MILK", 4, "click"))
    assert row["item_log_count"] == pytest.approx(math.log(1 + 3 + spec.EVENT_WEIGHTS["click"]))
    assert row["item_log_users"] == pytest.approx(math.log(1 + 2))


def test_recent_weight_halves_in_one_and_in_four_weeks() -> None:
    row = oat_milk(bought(1, AS_OF - 28))
    assert row["item_log_weight_7d"] == pytest.approx(math.log1p(1 / 16))
    assert row["item_log_weight_28d"] == pytest.approx(math.log1p(1 / 2))


def test_the_trend_compares_this_week_with_the_mean_week_of_the_last_eight() -> None:
    this_week = [bought(household, AS_OF - 7) for household in range(3)]
    before = [bought(household, AS_OF - 30) for household in range(5)]
    too_old = [bought(household, AS_OF - 57) for household in range(9)]
    assert oat_milk(*this_week, *before, *too_old)["item_trend"] == pytest.approx(math.log((3 + 1) / (1 + 1)))
    assert oat_milk(*before)["item_trend"] == pytest.approx(math.log(1 / (1 + 5 / 8)))


def test_the_price_is_this_weeks_median_else_the_regular_one_else_the_catalogues() -> None:
    old = [bought(1, 10, price=5.0)]
    recent = [bought(household, AS_OF - 3, price=price) for household, price in enumerate((4.0, 3.0, 9.0))]
    assert oat_milk(*old, *recent)["item_log_price"] == pytest.approx(math.log1p(4.0))
    assert oat_milk(*old)["item_log_price"] == pytest.approx(math.log1p(5.0))
    assert oat_milk()["item_log_price"] == pytest.approx(math.log1p(2.0))
    assert shelf()["COW-MILK"]["item_log_price"] == 0.0


def test_the_regular_price_is_what_all_but_a_tenth_paid_at_most() -> None:
    happened = [bought(household, 10, price=float(household)) for household in range(1, 12)]
    assert oat_milk(*happened)["item_log_price"] == pytest.approx(math.log1p(10.0))


def test_the_discount_is_how_far_this_weeks_price_lies_below_the_regular_one() -> None:
    regular = [bought(household, 10, price=10.0) for household in range(20)]
    assert oat_milk(*regular, bought(1, AS_OF - 1, price=8.0))["item_discount"] == pytest.approx(0.2)
    assert oat_milk(*regular, bought(1, AS_OF - 1, price=12.0))["item_discount"] == 0.0
    assert oat_milk(*regular)["item_discount"] == 0.0


def test_an_item_given_away_has_no_discount() -> None:
    row = oat_milk(*[bought(household, AS_OF - 1, price=0.0) for household in range(3)])
    assert row["item_discount"] == 0.0
    assert row["item_log_price"] == 0.0


@pytest.mark.parametrize(("kind", "feature"), [("display", "item_display_reach"), ("mailer", "item_mailer_reach")])
def test_in_shop_reach_is_the_widest_of_the_latest_week(kind: str, feature: str) -> None:
    shown = [
        promotion("OAT-MILK", kind, AS_OF - 14, AS_OF - 7, reach=1.0),
        promotion("OAT-MILK", kind, AS_OF - 7, AS_OF, reach=0.25),
        promotion("OAT-MILK", kind, AS_OF - 7, AS_OF, reach=0.75),
        promotion("RYE-BREAD", kind, AS_OF - 7, AS_OF, reach=0.9),
    ]
    assert oat_milk(promoted=shown)[feature] == pytest.approx(0.75)
    assert oat_milk(promoted=shown[:1])[feature] == 0.0


def test_a_coupon_reaches_only_while_it_runs() -> None:
    running = promotion("OAT-MILK", "coupon", AS_OF - 3, AS_OF + 1, reach=0.5)
    over = promotion("OAT-MILK", "coupon", AS_OF - 30, AS_OF, reach=1.0)
    assert oat_milk(promoted=[running, over])["item_coupon_reach"] == 0.5
    assert oat_milk(promoted=[over])["item_coupon_reach"] == 0.0


@pytest.mark.parametrize("kind", ["display", "mailer", "coupon"])
def test_a_promotion_is_unknown_until_it_has_started(kind: str) -> None:
    row = oat_milk(promoted=[promotion("OAT-MILK", kind, AS_OF, AS_OF + 7)])
    assert row[f"item_{kind}_reach"] == 0.0
    assert row["item_promotion_share"] == 0.0


@pytest.mark.parametrize(
    ("weeks", "share"),
    [
        ([], 0.0),
        ([(3, 2)], 1 / 8),
        ([(3, 2), (8, 7)], 2 / 8),
        ([(4, 2), (3, 1)], 3 / 8),
        ([(4, 1), (3, 2), (2, 1)], 3 / 8),
        ([(9, 7)], 1 / 8),
        ([(16, 9)], 0.0),
        ([(1, -4)], 1 / 8),
        ([(16, 0)], 1.0),
    ],
)
def test_the_promotion_share_is_the_time_of_the_last_eight_weeks_on_display_or_in_the_mailer(
    weeks: list[tuple[int, int]], share: float
) -> None:
    """Each pair is start and end in weeks before the instant; where two overlap, time counts once."""
    kinds = ("display", "mailer", "display")
    shown = [
        promotion("OAT-MILK", kind, AS_OF - 7 * start, AS_OF - 7 * end)
        for kind, (start, end) in zip(kinds, weeks, strict=False)
    ]
    noise = [promotion("OAT-MILK", "coupon", 0, AS_OF), promotion("RYE-BREAD", "display", 0, AS_OF)]
    assert oat_milk(promoted=[*noise, *shown])["item_promotion_share"] == pytest.approx(share)


def test_the_repeat_rate_is_the_share_of_buyers_who_bought_again_on_another_day() -> None:
    row = oat_milk(
        bought(1, 1),
        bought(1, 8),
        bought(2, 1.1),
        bought(2, 1.9),
        bought(3, 1),
        event("household-3", "OAT-MILK", 5, "view"),
        bought(4, 2),
    )
    assert row["item_repeat_rate"] == pytest.approx(1 / 4)


def test_the_gap_of_an_item_is_the_median_over_those_who_came_back() -> None:
    gaps = {1: 2, 2: 4, 3: 30}
    happened = [bought(household, on) for household, gap in gaps.items() for on in (10, 10 + gap)]
    assert oat_milk(*happened, bought(4, 5))["item_gap_days"] == pytest.approx(4.0)
    assert oat_milk(bought(4, 5))["item_gap_days"] == -1.0


def test_the_age_counts_from_the_first_event_of_any_shopper() -> None:
    assert oat_milk(bought(1, 40.5), bought(2, 90))["item_age_days"] == pytest.approx(59.5)


def test_an_item_is_idle_since_the_last_event_of_any_shopper() -> None:
    assert oat_milk(bought(1, 40.5), bought(2, 90), bought(1, 60))["item_idle_days"] == pytest.approx(10.0)
    assert oat_milk(bought(1, 40.5), bought(2, AS_OF))["item_idle_days"] == pytest.approx(59.5)


def test_a_leafs_weight_is_its_items_weight_and_each_has_a_share_of_it() -> None:
    rows = shelf(
        bought(1, AS_OF - 28),
        bought(2, AS_OF - 28),
        bought(3, AS_OF - 28),
        event("household-1", "COW-MILK", AS_OF - 28),
        event("household-1", "RYE-BREAD", AS_OF - 28),
    )
    for name, share in (("OAT-MILK", 0.75), ("COW-MILK", 0.25)):
        assert rows[name]["item_leaf_log_weight"] == pytest.approx(math.log1p(2.0))
        assert rows[name]["item_share_of_leaf"] == pytest.approx(share)
    assert rows["RYE-BREAD"]["item_share_of_leaf"] == 1.0


def test_an_item_without_a_category_has_no_share_of_one() -> None:
    """It once had its weight divided by a billionth."""
    row = shelf(event("household-1", "GIFT-CARD", AS_OF - 1))["GIFT-CARD"]
    assert row["item_log_count"] > 0
    assert row["item_leaf_log_weight"] == 0.0
    assert row["item_share_of_leaf"] == 0.0


def test_a_share_of_a_leaf_that_was_last_touched_years_ago_is_still_a_share() -> None:
    rows = shelf(bought(1, AS_OF - 1200), event("household-1", "COW-MILK", AS_OF - 1200))
    assert rows["OAT-MILK"]["item_share_of_leaf"] == pytest.approx(0.5)


def test_an_item_nobody_touched_knows_its_leafs_weight_and_its_price_and_else_the_defaults() -> None:
    row = shelf(bought(1, AS_OF - 1))["COW-MILK"]
    assert row["item_leaf_log_weight"] > 0
    for feature in spec.ITEM_FEATURES:
        if feature.name != "item_leaf_log_weight":
            assert row[feature.name] == feature.default, feature.name
