"""Point in time: what is not known yet changes nothing, and neither does the order in which rows arrive."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import spec
from features.schema import EVENT_TYPES, PROMOTION_KINDS
from features.transforms import item_features, known_events, user_features
from tests.shop import day, event, events, item, items, promotion, promotions
from tests.strategies import Row, unhurried

AS_OF = 60.0
CATALOGUE = items(
    item("OAT-MILK", "Dairy", "Milk", "Oat milk", price=2.0),
    item("COW-MILK", "Dairy", "Milk", "Fresh milk", price=1.0),
    item("RYE-BREAD", "Bakery", "Bread", price=3.0),
    item("GIFT-CARD"),
)
ITEM_IDS = CATALOGUE["item_id"].to_list()

_days_before = st.floats(0, AS_OF, exclude_max=True).map(lambda number: round(number, 3)).filter(lambda on: on < AS_OF)
_days_after = st.floats(AS_OF, AS_OF + 30)


def _events_on(days: st.SearchStrategy[float], label: str) -> st.SearchStrategy[list[Row]]:
    one = st.builds(
        event,
        st.sampled_from(["household-1", "household-2", "household-7"]),
        st.sampled_from([*ITEM_IDS, "NOT-IN-THE-CATALOGUE"]),
        days,
        st.sampled_from(EVENT_TYPES),
        price=st.none() | st.floats(0, 50),
        session_id=st.none() | st.sampled_from(["basket-1", "basket-2"]),
    )
    return st.lists(one, max_size=12).map(
        lambda rows: [row | {"event_id": f"{label}-{number}"} for number, row in enumerate(rows)]
    )


def _promotions_from(days: st.SearchStrategy[float]) -> st.SearchStrategy[list[Row]]:
    one = st.builds(
        lambda item_id, kind, start, length: promotion(item_id, kind, start, start + length),
        st.sampled_from(ITEM_IDS),
        st.sampled_from(PROMOTION_KINDS),
        days,
        st.floats(1, 40),
    )
    return st.lists(one, max_size=5)


def features_of(happened: pl.DataFrame, promoted: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both tables at AS_OF."""
    known = known_events(happened, day(AS_OF))
    return user_features(known, CATALOGUE), item_features(known, CATALOGUE, promoted, day(AS_OF))


@unhurried
@given(
    past=_events_on(_days_before, "past"),
    future=_events_on(_days_after, "future"),
    known=_promotions_from(_days_before),
    unknown=_promotions_from(_days_after),
)
def test_what_happens_at_or_after_the_instant_changes_nothing(
    past: list[Row], future: list[Row], known: list[Row], unknown: list[Row]
) -> None:
    users, shelf = features_of(events(*past), promotions(*known))
    users_later, shelf_later = features_of(events(*past, *future), promotions(*known, *unknown))
    assert users_later.equals(users)
    assert shelf_later.equals(shelf)


def test_an_event_or_promotion_a_microsecond_before_the_instant_does_change_something() -> None:
    just_before = day(AS_OF) - timedelta(microseconds=1)
    bought = event("household-7", "OAT-MILK", 0) | {"event_time": just_before}
    shown = promotion("OAT-MILK", "coupon", 0, AS_OF + 7) | {"start_time": just_before}
    users, shelf = features_of(events(bought), promotions(shown))
    assert users["user_id"].to_list() == ["household-7"]
    assert shelf.row(0, named=True)["item_log_users"] > 0
    assert shelf.row(0, named=True)["item_coupon_reach"] == 0.5


@pytest.fixture(scope="module")
def busy_shop() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Enough events, many at the same moment, for sums to show in which order they were added."""
    rng = np.random.default_rng(0)
    rows = [
        event(
            f"household-{rng.integers(20)}",
            ITEM_IDS[rng.integers(4)],
            float(rng.choice([round(rng.uniform(0, AS_OF - 1), 4), 7.5, 30.25])),
            EVENT_TYPES[rng.integers(6)],
            price=float(rng.uniform(0.1, 9)),
            event_id=f"event-{number:04d}",
        )
        for number in range(2_000)
    ]
    shown = [
        promotion(ITEM_IDS[rng.integers(4)], PROMOTION_KINDS[rng.integers(3)], start, start + 7, rng.uniform(0.1, 1))
        for start in rng.uniform(0, AS_OF, 40)
    ]
    return events(*rows), promotions(*shown)


@pytest.mark.parametrize("seed", range(5))
def test_shuffling_the_input_rows_changes_no_bit(busy_shop: tuple[pl.DataFrame, pl.DataFrame], seed: int) -> None:
    happened, promoted = busy_shop
    users, shelf = features_of(happened, promoted)
    shuffled = [frame.sample(fraction=1.0, shuffle=True, seed=seed) for frame in busy_shop]
    users_again, shelf_again = features_of(*shuffled)
    assert users_again.equals(users)
    assert shelf_again.equals(shelf)
    mixed_catalogue = CATALOGUE.sample(fraction=1.0, shuffle=True, seed=seed)
    assert user_features(known_events(happened, day(AS_OF)), mixed_catalogue).equals(users)


def test_without_events_there_are_no_shoppers_and_items_carry_their_defaults() -> None:
    users, shelf = features_of(events(), promotions())
    assert users.is_empty()
    assert users.columns == ["user_id", *(feature.name for feature in spec.USER_FEATURES)]
    catalogue_price = {"item_log_price"}
    for feature in spec.ITEM_FEATURES:
        if feature.name not in catalogue_price:
            assert shelf[feature.name].to_list() == [feature.default] * 4, feature.name


def test_both_tables_have_the_declared_types_and_no_gaps(busy_shop: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    frames = zip(features_of(*busy_shop), (spec.USER_FEATURES, spec.ITEM_FEATURES), strict=True)
    scalars = {"int64": pl.Int64(), "float32": pl.Float32(), "string": pl.String()}
    for frame, features in frames:
        for feature in features:
            inner = scalars[feature.dtype.removeprefix("list[").removesuffix("]")]
            dtype = pl.List(inner) if feature.dtype.startswith("list[") else inner
            assert frame.schema[feature.name] == dtype, feature.name
            assert not frame[feature.name].has_nulls(), feature.name
            if dtype == pl.Float32():
                assert frame[feature.name].is_finite().all(), feature.name


def test_known_events_are_weighed_by_their_type_and_come_oldest_first() -> None:
    happened = events(
        event("household-7", "OAT-MILK", 3, "purchase"),
        event("household-7", "OAT-MILK", 1, "view"),
        event("household-7", "OAT-MILK", 2, "click", event_id="b"),
        event("household-7", "OAT-MILK", 2, "add-to-cart", event_id="a"),
    )
    known = known_events(happened, day(AS_OF))
    assert known["event_type"].to_list() == ["view", "add-to-cart", "click", "purchase"]
    assert known["weight"].to_list() == [spec.EVENT_WEIGHTS[name] for name in known["event_type"]]


@pytest.mark.parametrize("event_type", sorted(set(EVENT_TYPES) - set(spec.EVENT_WEIGHTS)))
def test_an_event_that_says_nothing_about_taste_is_not_known(event_type: str) -> None:
    assert known_events(events(event("household-7", "OAT-MILK", 1, event_type)), day(AS_OF)).is_empty()
