"""Pairs are of one shopper and weighed by their events; what was shown and let be is told from what was acted on."""

import numpy as np
import pytest

from tests.shop import dataset, day, event, events, item, items
from tests.strategies import Row
from training.dataset import Sequences, sequences
from training.pairs import drawn, impressions_without_action, sample_events, sample_pairs

IDS = ["COW-MILK", "OAT-MILK", "RYE-BREAD", "TEA"]
CATALOGUE = items(*(item(name) for name in IDS))
AS_OF = 100.0


def arrays(*happened: Row) -> Sequences:
    """The sequences of a few events."""
    return sequences(dataset(events(*happened), CATALOGUE), CATALOGUE, day(AS_OF))


def test_pairs_are_different_items_of_one_session_and_never_more_than_asked_for() -> None:
    baskets = {"basket-1": ["TEA", "OAT-MILK", "RYE-BREAD"], "basket-2": ["COW-MILK", "TEA"], "basket-3": ["COW-MILK"]}
    found = arrays(
        *(event("household-1", name, 1, session_id=basket) for basket, names in baskets.items() for name in names)
    )
    left, right = sample_pairs(found, 200, np.random.default_rng(0))
    assert left.size == right.size <= 200
    pairs = {(IDS[a], IDS[b]) for a, b in zip(left, right, strict=True)}
    assert pairs == {(a, b) for names in baskets.values() for a in names for b in names if a != b}


def test_within_days_pairs_cross_sessions_but_never_shoppers() -> None:
    found = arrays(
        event("household-1", "TEA", 1),
        event("household-1", "OAT-MILK", 3),
        event("household-1", "RYE-BREAD", 9),
        event("household-2", "COW-MILK", 3),
        event("household-2", "TEA", 3),
    )
    left, right = sample_pairs(found, 200, np.random.default_rng(0), window_days=2.5)
    pairs = {frozenset((IDS[a], IDS[b])) for a, b in zip(left, right, strict=True)}
    assert pairs == {frozenset(("TEA", "OAT-MILK")), frozenset(("COW-MILK", "TEA"))}


@pytest.mark.parametrize("window_days", [None, 2.0])
def test_events_are_drawn_by_their_weight(window_days: float | None) -> None:
    """A purchase weighs more than a view."""
    kinds = {"TEA": "view", "OAT-MILK": "purchase", "RYE-BREAD": "click"}
    found = arrays(*(event("household-1", name, 1, kind, session_id="1") for name, kind in kinds.items()))
    for chosen in sample_events(found, 6000, np.random.default_rng(0), window_days):
        share = np.bincount(chosen, minlength=3) / 6000
        np.testing.assert_allclose(share, found.weights / found.weights.sum(), atol=0.03)


def test_a_position_of_no_weight_is_never_drawn() -> None:
    cumulative = np.array([0.0, 0.0, 2.0, 2.0, 3.0])
    low, high = np.zeros(500, np.int64), np.full(500, 4)
    assert set(drawn(cumulative, low, high, np.random.default_rng(0))) == {1, 3}


def test_an_impression_counts_only_where_nothing_was_done_that_day() -> None:
    happened = events(
        event("household-1", "TEA", 1.1, "impression"),
        event("household-1", "TEA", 1.6, "click"),
        event("household-1", "OAT-MILK", 1.1, "impression"),
        event("household-1", "OAT-MILK", 2.5, "purchase"),
        event("household-2", "TEA", 1.1, "impression"),
        event("household-2", "COW-MILK", AS_OF, "impression"),
        event("household-2", "NOT-SERVED", 1.1, "impression"),
        event("household-3", "TEA", 1.1, "impression"),
    )
    users = ["household-0", "household-1", "household-2"]
    found = impressions_without_action(dataset(happened, CATALOGUE), CATALOGUE, users, day(AS_OF))
    assert found.starts.tolist() == [0, 0, 1, 2]
    assert [IDS[row] for row in found.rows] == ["OAT-MILK", "TEA"]
    rows, there = found.draw(np.array([0, 2, 1]), 3, np.random.default_rng(0))
    assert there.tolist() == [[False] * 3, [True] * 3, [True] * 3]
    assert rows.tolist() == [[0] * 3, [3] * 3, [1] * 3]
