"""What is asked of a ranking: shoppers as they stood at an instant, judged by what they did after it."""

import numpy as np
import polars as pl
import pytest

from features import spec
from features.encode import Floats, Shopper
from features.transforms import known_events
from tests.shop import dataset, day, day_us, event, events, item, items, promotion, promotions
from training.dataset import Ints
from training.queries import Query, Window, history_batch, interests_of, open_window, pose

IDS = ["COW-MILK", "OAT-MILK", "RYE-BREAD", "TEA"]
CATALOGUE = items(*(item(name, "Food") for name in IDS))
AS_OF = 50.0
HAPPENED = [
    event("household-1", "OAT-MILK", 49.9),
    event("household-1", "RYE-BREAD", 3),
    event("household-1", "TEA", 50),
    event("household-1", "COW-MILK", 63.9, "click"),
    event("household-1", "OAT-MILK", 64),
    event("household-1", "NOT-SERVED", 55),
    event("household-1", "OAT-MILK", 55, "impression"),
    event("household-2", "OAT-MILK", 10),
    event("household-3", "OAT-MILK", 51),
    event("household-3", "OAT-MILK", 52),
    event("household-4", "NOT-SERVED", 51),
]


@pytest.fixture(scope="module")
def window() -> Window:
    """Two weeks from AS_OF on."""
    shown = promotions(promotion("TEA", "coupon", AS_OF, AS_OF + 7))
    return open_window(dataset(events(*HAPPENED), CATALOGUE, shown), CATALOGUE, day(AS_OF), weeks=2)


def names(window: Window, rows: np.ndarray) -> list[str]:
    """Ids of rows."""
    return window.items.vocabulary.names(rows)


def asked(window: Window, user_id: str) -> Query:
    """The one query of a shopper."""
    (query,) = [query for query in window.queries if query.user_id == user_id]
    return query


def test_those_who_did_something_in_the_window_are_asked_about_whether_known_or_not(window: Window) -> None:
    assert [query.user_id for query in window.queries] == ["household-1", "household-3"]
    assert asked(window, "household-1").shopper.is_known
    assert not asked(window, "household-3").shopper.is_known


def test_the_truth_is_what_happened_from_the_instant_up_to_the_windows_end(window: Window) -> None:
    query = asked(window, "household-1")
    assert names(window, query.truth) == ["COW-MILK", "TEA"]
    assert names(window, query.seen) == ["OAT-MILK", "RYE-BREAD"]
    assert names(window, asked(window, "household-3").truth) == ["OAT-MILK"]
    assert asked(window, "household-3").seen.size == 0


def test_a_truth_weighs_as_the_heaviest_of_its_events_in_the_window() -> None:
    happened = [
        event("household-1", "TEA", 51, "click"),
        event("household-1", "TEA", 52, "add-to-cart"),
        event("household-1", "TEA", 49),
        event("household-1", "OAT-MILK", 53, "view"),
    ]
    (query,) = open_window(dataset(events(*happened), CATALOGUE), CATALOGUE, day(AS_OF), weeks=2).queries
    assert query.truth.tolist() == [IDS.index("OAT-MILK"), IDS.index("TEA")]
    np.testing.assert_allclose(query.truth_weights, [spec.EVENT_WEIGHTS["view"], spec.EVENT_WEIGHTS["add-to-cart"]])
    assert query.truth_weights.dtype == np.float32


def test_shoppers_and_items_stand_as_they_did_at_the_instant(window: Window) -> None:
    shopper = asked(window, "household-1").shopper
    assert window.now_us == day_us(AS_OF)
    assert names(window, shopper.history_rows) == ["RYE-BREAD", "OAT-MILK"]
    assert shopper.last_event_us == day_us(49.9)
    users = np.expm1(window.items.column("item_log_users"))
    np.testing.assert_allclose(users, [0, 2, 1, 0], atol=1e-6)
    assert window.items.column("item_coupon_reach").tolist() == [0, 0, 0, 0]


def test_everyone_is_asked_at_the_windows_start(window: Window) -> None:
    assert {query.now_us for query in window.queries} == {day_us(AS_OF)}
    assert window.items.as_of_us == day_us(AS_OF)


def test_shoppers_asked_at_their_last_event_are_and_a_stranger_at_the_instant() -> None:
    happened = events(*HAPPENED)
    known, ahead = (known_events(happened, day(on)) for on in (AS_OF, AS_OF + 14))
    later = ahead.filter(pl.col("event_time") >= day(AS_OF))
    found = pose(known, later, CATALOGUE, promotions(), day(AS_OF), at_last_event=True)
    assert asked(found, "household-1").now_us == day_us(49.9)
    assert asked(found, "household-3").now_us == day_us(AS_OF) == found.now_us


VECTORS = np.arange(4 * 128, dtype=np.float32).reshape(4, 128) + 1


def test_histories_go_to_the_tower_padded_on_the_left_with_zeros(window: Window) -> None:
    known, unknown = (query.shopper for query in window.queries)
    vectors, types, ages = history_batch(VECTORS, [known, unknown], window.now_us)
    assert vectors.shape == (2, spec.HISTORY_LENGTH, 128)
    np.testing.assert_array_equal(vectors[0, -2:], VECTORS[known.history_rows])
    assert types[0, -2:].tolist() == [spec.EVENT_CODES["purchase"]] * 2
    np.testing.assert_allclose(ages[0, -2:], [47.0, 0.1], rtol=1e-4)
    for part in (vectors, types, ages):
        assert not part[0, :-2].any()
        assert not part[1].any()


def test_whoever_has_no_history_gets_the_fallback_and_the_others_the_towers_answer(window: Window) -> None:
    sizes: list[int] = []

    def last_event(vectors: Floats, types: Ints, ages: Floats) -> Floats:
        sizes.append(len(types))
        assert ages.shape == types.shape
        return vectors[:, -1:]

    shoppers: list[Shopper] = [query.shopper for query in window.queries] * 2
    found = interests_of(last_event, VECTORS, shoppers, window.now_us, batch_size=3)
    assert sizes == [3, 1]
    assert [interest.is_fallback for interest in found] == [False, True, False, True]
    np.testing.assert_array_equal(found[2].vectors, VECTORS[[1]])
    assert not found[1].vectors.any()
