"""The baselines against loops over a handful of events."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features import spec
from features.vocab import Vocabulary
from tests.shop import dataset, day, event, events, item, items
from tests.strategies import Row
from training.baselines import HALF_LIFE_DAYS, Popularity, RecencyFrequency, top

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
    baseline = Popularity(DATA, Vocabulary(IDS), day(AS_OF))
    expected = [sum(weight(row) for row in known() if row["item_id"] == name) for name in IDS]
    for user_id in ("household-7", "household-1", "a stranger"):
        np.testing.assert_allclose(baseline.scores(user_id), expected)


@pytest.mark.parametrize("user_id", ["household-7", "household-1", "household-2"])
def test_recency_frequency_halves_a_shoppers_events_every_twelve_weeks(user_id: str) -> None:
    scores = RecencyFrequency(DATA, Vocabulary(IDS), day(AS_OF)).scores(user_id)
    for name, score in zip(IDS, scores, strict=True):
        own = [row for row in known(user_id) if row["item_id"] == name]
        ages = [(day(AS_OF) - row["event_time"]).total_seconds() / 86_400 for row in own]
        expected = sum(weight(row) * 0.5 ** (age / HALF_LIFE_DAYS) for row, age in zip(own, ages, strict=True))
        assert score == pytest.approx(expected, abs=1e-5)


def test_popularity_orders_what_a_shopper_has_not_had_far_below_what_they_have() -> None:
    scores = RecencyFrequency(DATA, Vocabulary(IDS), day(AS_OF)).scores("household-7")
    order = [IDS[row] for row in np.argsort(-scores)]
    assert order == ["OAT-MILK", "RYE-BREAD", "COW-MILK", "TEA"]
    assert 0 < scores[IDS.index("COW-MILK")] < 1e-5


def test_asking_for_one_shopper_leaves_the_next_ones_scores_alone() -> None:
    baseline = RecencyFrequency(DATA, Vocabulary(IDS), day(AS_OF))
    before = baseline.scores("a stranger").copy()
    baseline.scores("household-7")[:] = 99
    np.testing.assert_array_equal(baseline.scores("a stranger"), before)


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
