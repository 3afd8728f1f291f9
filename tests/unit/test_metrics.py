"""Ranking metrics: answers worked out on paper first."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.vocab import Rows
from training.metrics import bootstrap_interval, coverage_at, ndcg_at, recall_at


def rows(*numbers: int) -> Rows:
    """Rows as an array."""
    return np.array(numbers, dtype=np.int32)


@pytest.mark.parametrize(
    ("ranked", "truth", "k", "recall"),
    [
        (rows(3, 1, 2), rows(1), 3, 1.0),
        (rows(3, 1, 2), rows(1), 1, 0.0),
        (rows(3, 1, 2), rows(1, 7), 3, 0.5),
        (rows(3, 1, 2), rows(1, 2, 3, 4, 5), 2, 1.0),
        (rows(3, 1, 2), rows(1, 2, 4, 5, 6), 3, 2 / 3),
        (rows(), rows(1), 20, 0.0),
    ],
)
def test_recall_is_the_share_found_of_what_k_places_can_hold(ranked: Rows, truth: Rows, k: int, recall: float) -> None:
    assert recall_at(ranked, truth, k) == pytest.approx(recall)


@pytest.mark.parametrize(
    ("ranked", "truth", "k", "ndcg"),
    [
        (rows(3, 1, 2), rows(3), 3, 1.0),
        (rows(3, 1, 2), rows(1), 3, 1 / math.log2(3)),
        (rows(3, 1, 2), rows(2), 3, 1 / 2),
        (rows(3, 1, 2), rows(2), 2, 0.0),
        (rows(3, 1, 2), rows(3, 2), 3, (1 + 1 / 2) / (1 + 1 / math.log2(3))),
        (rows(3), rows(3, 1, 2), 2, 1 / (1 + 1 / math.log2(3))),
        (rows(), rows(1), 20, 0.0),
    ],
)
def test_ndcg_discounts_a_hit_by_the_logarithm_of_its_place(ranked: Rows, truth: Rows, k: int, ndcg: float) -> None:
    assert ndcg_at(ranked, truth, k) == pytest.approx(ndcg)


def test_a_shopper_without_a_truth_has_no_metric() -> None:
    assert math.isnan(recall_at(rows(1, 2), rows(), 20))
    assert math.isnan(ndcg_at(rows(1, 2), rows(), 20))


@given(st.permutations(range(12)), st.sets(st.integers(0, 11), min_size=1), st.integers(1, 15))
def test_both_lie_between_nothing_and_one_and_the_best_order_reaches_one(
    ranked: list[int], truth: set[int], k: int
) -> None:
    wanted = rows(*sorted(truth))
    best = rows(*sorted(truth), *(row for row in ranked if row not in truth))
    for metric in (recall_at, ndcg_at):
        assert 0.0 <= metric(rows(*ranked), wanted, k) <= 1.0
        assert metric(best, wanted, k) == pytest.approx(1.0)


def test_coverage_is_the_share_of_the_catalogue_that_anybody_is_shown() -> None:
    lists = [rows(0, 1, 2), rows(1, 3)]
    assert coverage_at(lists, 2, 10) == pytest.approx(3 / 10)
    assert coverage_at(lists, 20, 10) == pytest.approx(4 / 10)
    assert coverage_at([], 20, 10) == 0.0


def test_the_interval_of_equal_values_is_a_point() -> None:
    assert bootstrap_interval(np.full(30, 0.25), np.random.default_rng(0)) == (0.25, 0.25)


def test_the_interval_is_as_wide_as_theory_says_and_the_same_for_the_same_seed() -> None:
    values = np.random.default_rng(1).standard_normal(2_000)
    low, high = bootstrap_interval(values, np.random.default_rng(0))
    half_width = 1.96 * values.std() / math.sqrt(values.size)
    assert low == pytest.approx(values.mean() - half_width, abs=0.1 * half_width)
    assert high == pytest.approx(values.mean() + half_width, abs=0.1 * half_width)
    assert bootstrap_interval(values, np.random.default_rng(0)) == (low, high)
    assert bootstrap_interval(values, np.random.default_rng(2)) != (low, high)
