"""Where items begin: close to what the same shoppers had, whatever their texts say, and mapped from those texts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.numbered_events import ITEMS, daily, numbered
from training.config import VECTOR_SIZE
from training.dataset import Sequences
from training.factors import item_factors, text_map


def two_tastes() -> Sequences:
    """Items 0 and 1 are one crowd's, 2 to 4 another's, of whom each leaves one out."""
    return numbered(*(daily(0, 1),) * 3, daily(2, 3), daily(3, 4), daily(2, 4))


def cosines(vectors: np.ndarray, rows: list[int]) -> np.ndarray:
    unit = vectors[rows] / np.linalg.norm(vectors[rows], axis=1, keepdims=True)
    found: np.ndarray = unit @ unit.T
    return found


def test_items_of_the_same_shoppers_lie_close_and_others_do_not() -> None:
    found = cosines(item_factors(two_tastes(), shrinkage=3.0), list(range(ITEMS)))
    crowd = np.array([0, 0, 1, 1, 1])
    within = crowd[:, None] == crowd
    assert found[within].min() > 0.1
    assert np.abs(found[~within]).max() < 1e-3


def test_vectors_have_length_one_over_all_events_and_none_without_any() -> None:
    events = two_tastes()
    found = item_factors(events, shrinkage=3.0)
    assert found.shape == (ITEMS, VECTOR_SIZE)
    assert found.dtype == np.float32
    squares = np.square(found).sum(axis=1)
    assert np.average(squares, weights=events.counts) == pytest.approx(1.0, abs=1e-5)
    unseen = replace(events, item_count=ITEMS + 1, counts=np.append(events.counts, 0.0))
    assert np.abs(item_factors(unseen, shrinkage=3.0)[ITEMS]).max() < 1e-5


def test_more_shrinkage_leaves_less_of_what_few_shoppers_have_in_common() -> None:
    events = two_tastes()
    within = [cosines(item_factors(events, shrinkage), [2, 3])[0, 1] for shrinkage in (0.1, 10.0)]
    assert within[0] < within[1]


def test_one_shopper_is_too_few_and_gives_zeros() -> None:
    assert not item_factors(numbered(daily(0, 1, 2)), shrinkage=3.0).any()


def test_the_same_seed_gives_the_same_vectors() -> None:
    found = []
    for _ in range(3):
        torch.manual_seed(0)
        found.append(item_factors(two_tastes(), shrinkage=3.0).tobytes())
    assert len(set(found)) == 1


def test_a_linear_map_of_texts_is_found_again() -> None:
    rng = np.random.default_rng(0)
    texts = rng.standard_normal((2000, VECTOR_SIZE)).astype(np.float32)
    matrix = rng.standard_normal((VECTOR_SIZE, VECTOR_SIZE)).astype(np.float32)
    found = text_map(texts, texts @ matrix.T, np.ones(2000))
    np.testing.assert_allclose(found, matrix, atol=0.02)


def test_items_count_by_their_weights_in_the_map() -> None:
    text = np.zeros((2, VECTOR_SIZE), np.float32)
    text[:, 0] = 1.0
    vectors = np.zeros((2, VECTOR_SIZE), np.float32)
    vectors[:, 1] = (1.0, -1.0)
    found = text_map(text, vectors, np.array([99.0, 1.0]))
    assert found[1, 0] == pytest.approx(0.98, abs=0.01)


def test_an_event_that_says_less_counts_less() -> None:
    events = two_tastes()
    quieter = replace(events, weights=np.where(events.rows == 0, 0.05, 1.0))
    loud, quiet = (np.linalg.norm(item_factors(one, 3.0)[0]) for one in (events, quieter))
    assert quiet < 0.5 * loud
