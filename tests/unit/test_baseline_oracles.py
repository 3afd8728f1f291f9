"""EASE against its closed form in float64, ItemKNN and the text's cosine against loops."""

import math

import numpy as np
import pytest

from tests.shop import event
from tests.unit.baseline_shop import AS_OF_US, shoppers_of
from training.baselines import Ease, ItemKnn, ZeroShot, item_neighbours
from training.baselines.histories import FILL
from training.dataset import Sequences
from training.metrics import Doubles

DAY_US = 86_400_000_000
REPEATS = [
    event("user-000", "item-000", 20.0),
    event("user-000", "item-001", 91.0, "click"),
    event("user-001", "item-002", 60.0, "view"),
]
"""Second engagements, other weights, and long ago: none of which may count in who engaged with what."""


def drawn(users: int, items: int, seed: int = 0) -> Sequences:
    """A random shop in which every shopper and item has an event."""
    table = np.random.default_rng(seed).random((users, items)) < 0.4
    table[np.arange(users), np.arange(users) % items] = True
    return shoppers_of(table, REPEATS)


def table_of(sequences: Sequences) -> Doubles:
    """X, float64 [U, N]."""
    x = np.zeros((len(sequences.user_ids), sequences.item_count))
    for user in range(x.shape[0]):
        x[user, sequences.rows[sequences.starts[user] : sequences.starts[user + 1]]] = 1
    return x


@pytest.mark.parametrize("shape", [(30, 9), (9, 30), (12, 12)], ids=str)
@pytest.mark.parametrize("l2", [0.5, 20.0])
def test_ease_is_its_closed_form(shape: tuple[int, int], l2: float) -> None:
    sequences = drawn(*shape)
    x = table_of(sequences)
    inverse = np.linalg.inv(x.T @ x + l2 * np.eye(x.shape[1]))
    expected = x @ (np.eye(x.shape[1]) - inverse / np.diag(inverse))
    ease = Ease(sequences, max_items=100, l2=l2)
    found = np.array([ease.scores(user_id) for user_id in sequences.user_ids])
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("shape", [(30, 9), (6, 30)], ids=str)
def test_ease_models_the_items_with_most_event_weight(shape: tuple[int, int]) -> None:
    sequences = drawn(*shape)
    most = np.sort(np.argsort(-sequences.counts, kind="stable")[:4])
    x = table_of(sequences)[:, most]
    inverse = np.linalg.inv(x.T @ x + 3.0 * np.eye(4))
    expected = np.zeros((x.shape[0], sequences.item_count))
    expected[:, most] = x @ (np.eye(4) - inverse / np.diag(inverse))
    ease = Ease(sequences, max_items=4, l2=3.0)
    found = np.array([ease.scores(user_id) for user_id in sequences.user_ids])
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("shape", [(30, 9), (6, 30)], ids=str)
def test_popularity_orders_the_items_that_ease_leaves_out(shape: tuple[int, int]) -> None:
    sequences = drawn(*shape)
    out = np.argsort(-sequences.counts, kind="stable")[4:]
    scores = Ease(sequences, max_items=4, l2=3.0).scores("user-001")[out]
    assert (np.diff(scores) <= 0).all()
    assert len(np.unique(scores)) == len(np.unique(sequences.counts[out])) > 2
    assert scores.max() <= FILL


def similarity(sequences: Sequences, one: int, other: int, shrinkage: float) -> float:
    """Cosine with shrinkage, from sets of shoppers."""
    x = table_of(sequences)
    first, second = set(np.flatnonzero(x[:, one])), set(np.flatnonzero(x[:, other]))
    return len(first & second) / (math.sqrt(len(first) * len(second)) + shrinkage)


def nearest_by_loops(sequences: Sequences, shrinkage: float, count: int) -> Doubles:
    """Similarity of every item (row) to its nearest others, ties by row; float64 [N, N]."""
    near = np.zeros((sequences.item_count, sequences.item_count))
    for one in range(sequences.item_count):
        others = [(similarity(sequences, one, other, shrinkage), other) for other in range(sequences.item_count)]
        others = sorted((-value, other) for value, other in others if other != one and value > 0)[:count]
        for value, other in others:
            near[one, other] = -value
    return near


@pytest.mark.parametrize("block", [1, 4, 1000])
@pytest.mark.parametrize(("shrinkage", "count"), [(0.0, 3), (7.0, 5), (2.0, 100)])
def test_the_neighbours_of_an_item_are_the_most_similar_others(shrinkage: float, count: int, block: int) -> None:
    sequences = drawn(20, 12)
    found = item_neighbours(sequences, shrinkage, count, block).toarray()
    np.testing.assert_allclose(found, nearest_by_loops(sequences, shrinkage, count), rtol=1e-5)


def test_of_equally_similar_items_the_first_are_kept() -> None:
    near = item_neighbours(shoppers_of(np.ones((4, 6), dtype=bool)), 0, 2).toarray()
    assert [np.flatnonzero(row).tolist() for row in near] == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1], [0, 1]]


def shares_by_loops(sequences: Sequences, user: int, half_life_days: float) -> Doubles:
    """Share of each item in a shopper's history by halved event weight, float64 [N]."""
    shares: Doubles = np.zeros(sequences.item_count)
    last = sequences.times_us[sequences.starts[user + 1] - 1]
    for position in range(sequences.starts[user], sequences.starts[user + 1]):
        age_days = (last - sequences.times_us[position]) / DAY_US
        shares[sequences.rows[position]] += sequences.weights[position] * 0.5 ** (age_days / half_life_days)
    shares /= shares.sum()
    return shares


@pytest.mark.parametrize("half_life_days", [2.0, 1e6])
@pytest.mark.parametrize("own", [0.0, 10.0])
def test_item_knn_adds_up_the_similarities_to_a_shoppers_items(half_life_days: float, own: float) -> None:
    sequences = drawn(20, 12)
    near = nearest_by_loops(sequences, 2.0, 4)
    baseline = ItemKnn(sequences, item_neighbours(sequences, 2.0, 4), half_life_days, own)
    for user, user_id in enumerate(sequences.user_ids):
        shares = shares_by_loops(sequences, user, half_life_days)
        np.testing.assert_allclose(baseline.scores(user_id), shares @ near + own * shares, rtol=1e-4, atol=2 * FILL)


def test_popularity_orders_items_that_no_neighbour_votes_for() -> None:
    table = np.zeros((6, 5), dtype=bool)
    table[0, 0] = table[1:4, 1] = table[1, 2] = table[4:, 3] = True
    scores = ItemKnn(shoppers := shoppers_of(table), item_neighbours(shoppers, 0, 5), 30).scores("user-000")
    assert np.argsort(-scores, kind="stable").tolist() == [1, 3, 0, 2, 4]
    assert 0 < scores[1] <= FILL


def test_text_is_the_mean_vector_of_the_last_different_items() -> None:
    table = np.zeros((1, 5), dtype=bool)
    table[0, :4] = True
    again = event("user-000", "item-001", 95.0)
    sequences = shoppers_of(table, [again])
    vectors = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)
    for last, rows in ((1, [1]), (2, [1, 3]), (3, [1, 3, 2]), (9, [1, 3, 2, 0])):
        scores = ZeroShot(sequences, vectors, last).scores("user-000")
        np.testing.assert_allclose(scores, vectors @ vectors[rows].mean(axis=0), rtol=1e-5)


def test_text_is_added_to_the_votes_by_its_weight() -> None:
    sequences = drawn(20, 12)
    vectors = np.random.default_rng(1).standard_normal((12, 3)).astype(np.float32)
    similar, nearby = item_neighbours(sequences, 2.0, 4), ZeroShot(sequences, vectors, 3)
    plain = ItemKnn(sequences, similar, 30.0).scores("user-007")
    both = ItemKnn(sequences, similar, 30.0, text=0.3, nearby=nearby).scores("user-007")
    np.testing.assert_allclose(both, plain + 0.3 * nearby.scores("user-007"))


def test_what_is_missing_is_named() -> None:
    sequences = drawn(4, 3)
    with pytest.raises(ValueError, match="text: needs `nearby`"):
        ItemKnn(sequences, item_neighbours(sequences, 0, 2), 30.0, text=0.2)
    with pytest.raises(ValueError, match="vectors: 2 for 3 items"):
        ZeroShot(sequences, np.zeros((2, 4), dtype=np.float32))


def test_the_instant_lies_after_every_event() -> None:
    assert drawn(20, 12).times_us.max() < AS_OF_US
