"""Popularity, frequency and lists against loops over a handful of events."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features import spec
from tests.shop import dataset, day, day_us, event, events, item, items
from tests.strategies import Row
from training.baselines import HALF_LIFE_DAYS, Popularity, RecencyFrequency, RecentPopularity, top
from training.dataset import sequences

AS_OF = 100.0
IDS = ["COW-MILK", "OAT-MILK", "RYE-BREAD", "TEA"]
HAPPENED = [
    event("household-7", "OAT-MILK", 16),
    event("household-7", "OAT-MILK", 99),
    event("household-7", "RYE-BREAD", 98, "click"),
    event("household-7", "NOT-SERVED", 50),
    event("household-1", "OAT-MILK", 3, "view"),
    event("household-1", "COW-MILK", 60),
    event("household-1", "COW-MILK", 61, "impression"),
    event("household-2", "COW-MILK", AS_OF),
    event("household-2", "COW-MILK", 120),
]
DATA = dataset(events(*HAPPENED), items(*(item(name) for name in [*IDS, "NOT-SERVED"])))
KNOWN = sequences(DATA, items(*(item(name) for name in IDS)), day(AS_OF))


def known(user_id: str | None = None) -> list[Row]:
    """What a baseline may use."""
    return [
        row
        for row in HAPPENED
        if row["event_time"] < day(AS_OF) and row["item_id"] in IDS and user_id in {None, row["user_id"]}
    ]


def weight(row: Row) -> float:
    """How much an event says."""
    return spec.EVENT_WEIGHTS.get(row["event_type"], 0.0)


def test_popularity_is_the_event_weight_before_the_instant_and_the_same_for_all() -> None:
    baseline = Popularity(KNOWN)
    expected = [sum(weight(row) for row in known() if row["item_id"] == name) for name in IDS]
    for user_id in ("household-7", "household-1", "a stranger"):
        np.testing.assert_allclose(baseline.scores(user_id), expected)


@pytest.mark.parametrize("days", [1.0, 2.0, 40.0, 90.0])
def test_recent_popularity_counts_the_last_days_alone(days: float) -> None:
    scores = RecentPopularity(KNOWN, day_us(AS_OF), days).scores("anybody")
    recent = [row for row in known() if row["event_time"] >= day(AS_OF) - timedelta(days=days)]
    expected = [sum(weight(row) for row in recent if row["item_id"] == name) for name in IDS]
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert [IDS[row] for row in np.argsort(-scores)][-1] == "TEA"


def test_items_that_did_not_sell_lately_follow_by_what_they_sold_before() -> None:
    scores = RecentPopularity(KNOWN, day_us(AS_OF), 1.5).scores("anybody")
    assert [IDS[row] for row in np.argsort(-scores)] == ["OAT-MILK", "COW-MILK", "RYE-BREAD", "TEA"]


@pytest.mark.parametrize("half_life_days", [HALF_LIFE_DAYS, 7.0])
@pytest.mark.parametrize("user_id", ["household-7", "household-1", "household-2"])
def test_recency_frequency_halves_a_shoppers_events_every_half_life(user_id: str, half_life_days: float) -> None:
    scores = RecencyFrequency(KNOWN, day_us(AS_OF), half_life_days).scores(user_id)
    for name, score in zip(IDS, scores, strict=True):
        own = [row for row in known(user_id) if row["item_id"] == name]
        ages = [(day(AS_OF) - row["event_time"]).total_seconds() / 86_400 for row in own]
        expected = sum(weight(row) * 0.5 ** (age / half_life_days) for row, age in zip(own, ages, strict=True))
        assert score == pytest.approx(expected, abs=1e-5)


def test_half_life_is_twelve_weeks_unless_said_otherwise() -> None:
    twelve_weeks, unsaid = (
        RecencyFrequency(KNOWN, day_us(AS_OF), *said).scores("household-7") for said in ((84.0,), ())
    )
    np.testing.assert_array_equal(twelve_weeks, unsaid)


def test_popularity_orders_what_a_shopper_has_not_had_far_below_what_they_have() -> None:
    scores = RecencyFrequency(KNOWN, day_us(AS_OF)).scores("household-7")
    order = [IDS[row] for row in np.argsort(-scores)]
    assert order == ["OAT-MILK", "RYE-BREAD", "COW-MILK", "TEA"]
    assert 0 < scores[IDS.index("COW-MILK")] < 1e-5


@given(
    scores=st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=30),
    k=st.integers(1, 35),
    excluded=st.sets(st.integers(0, 29)),
)
@example(scores=[0.0] * 30, k=3, excluded=set())
def test_the_top_is_what_sorting_everything_gives_with_ties_by_row(
    scores: list[float], k: int, excluded: set[int]
) -> None:
    """It once left the rows at the edge of the list to chance."""
    masked = {row for row in excluded if row < len(scores)}
    found = top(np.array(scores), k, np.array(sorted(masked), dtype=np.int32))
    expected = sorted((row for row in range(len(scores)) if row not in masked), key=lambda row: (-scores[row], row))[:k]
    assert found.dtype == np.int32
    assert found.tolist() == expected


def test_the_top_leaves_the_scores_as_they_were() -> None:
    scores = np.array([1.0, 2.0])
    top(scores, 1, np.array([1], dtype=np.int32))
    assert scores.tolist() == [1.0, 2.0]
