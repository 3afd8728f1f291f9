"""Explanations: they add up to the score that the list was ordered by, and point at items that are alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import spec
from features.encode import Shopper
from features.vectors import every_vector
from services.ranking.ordering import (
    OrderingModel,
    Ranker,
    alike,
    explain,
    rank,
    requested,
)
from tests.strategies import unhurried
from tests.unit.ordering_inputs import NOW_US, an_interest


def test_contributions_and_baseline_sum_to_the_score(
    model: OrderingModel, ranker: Ranker, known: list[Shopper]
) -> None:
    rows, interest = np.arange(40, dtype=np.int32), an_interest(1)
    for shopper in known:
        together = model.item_to_item.ask(shopper)
        ranked = rank(model, ranker, shopper, requested(rows), interest, together, NOW_US)
        found = explain(model, ranker, shopper, interest, ranked.rows, NOW_US)
        np.testing.assert_allclose(found.scores, ranked.scores, atol=1e-5)
        assert found.contributions.shape == found.values.shape == (40, len(spec.MATRIX_COLUMNS))
        assert len(set(found.baselines.tolist())) == 1


def test_the_features_that_a_model_looks_at_have_the_contributions(
    model: OrderingModel, ranker: Ranker, known: list[Shopper]
) -> None:
    """The tiny shop's ranker has learned from three columns and nothing else."""
    found = explain(model, ranker, known[1], an_interest(1), np.arange(40, dtype=np.int32), NOW_US)
    learned = np.isin(spec.MATRIX_COLUMNS, ["interest_score", "pair_weight", "interest_fallback"])
    sizes = np.abs(found.contributions).sum(axis=0)
    assert sizes[learned].sum() > 0.9 * sizes.sum()
    interest = found.contributions[:, spec.MATRIX_COLUMNS.index("interest_score")]
    scores = found.values[:, spec.MATRIX_COLUMNS.index("interest_score")]
    assert np.corrcoef(interest, scores)[0, 1] > 0.8


def test_no_item_needs_no_explanation(model: OrderingModel, ranker: Ranker, known: list[Shopper]) -> None:
    found = explain(model, ranker, known[0], an_interest(1), np.empty(0, np.int32), NOW_US)
    assert found.scores.size == 0
    assert found.evidence.shape == (0, 3)


def plain_alike(vectors: np.ndarray, history: list[int], row: int) -> list[int]:
    latest = [one for one in dict.fromkeys(history[::-1]) if one != row]
    cosines = {one: float(vectors[row] @ vectors[one] / np.linalg.norm(vectors[one])) for one in latest}
    return sorted(latest, key=lambda one: -round(cosines[one], 6))[:3]


@unhurried
@given(history=st.lists(st.integers(0, 39), max_size=12), rows=st.lists(st.integers(0, 39), max_size=5))
def test_evidence_is_what_of_the_history_is_most_alike(
    model: OrderingModel, history: list[int], rows: list[int]
) -> None:
    found = alike(model.vectors, np.array(history, np.int32), np.array(rows, np.int32))
    assert found.shape == (len(rows), 3)
    for row, evidence in zip(rows, found.tolist(), strict=True):
        expected = plain_alike(every_vector(model.vectors), history, row)
        assert evidence == expected + [-1] * (3 - len(expected))


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_how_long_a_vector_is_makes_no_item_more_alike(model: OrderingModel, scale: float) -> None:
    history, rows = np.array([1, 5, 9, 13], np.int32), np.array([2, 3], np.int32)
    stretched = every_vector(model.vectors)
    stretched[[5, 13]] *= scale
    np.testing.assert_array_equal(alike(stretched, history, rows), alike(model.vectors, history, rows))
