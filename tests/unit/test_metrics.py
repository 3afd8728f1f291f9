"""Ranking metrics: answers worked out on paper first."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.vocab import Rows
from training.metrics import (
    bootstrap_interval,
    hit_rate,
    hits_of,
    ndcg,
    ndcg_at,
    paired_bootstrap,
    recall,
    recall_at,
    reciprocal_rank,
    resampled_means,
)


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


HITS = np.array([[False, True, True], [True, False, False], [False, False, False], [False, False, False]])
SIZES = np.array([2, 1, 4, 0])
"""Four shoppers, three places: second and third place; first place; nothing of four; nothing asked."""


def test_a_table_of_hits_gives_every_shopper_their_own_value() -> None:
    second_and_third = (1 / math.log2(3) + 1 / 2) / (1 + 1 / math.log2(3))
    assert recall(HITS, SIZES) == pytest.approx([1.0, 1.0, 0.0, math.nan], nan_ok=True)
    assert ndcg(HITS, SIZES) == pytest.approx([second_and_third, 1.0, 0.0, math.nan], nan_ok=True)
    assert hit_rate(HITS, SIZES) == pytest.approx([1.0, 1.0, 0.0, math.nan], nan_ok=True)
    assert reciprocal_rank(HITS, SIZES) == pytest.approx([1 / 2, 1.0, 0.0, math.nan], nan_ok=True)


def test_a_shorter_k_reads_the_first_columns_of_the_same_hits() -> None:
    assert recall(HITS[:, :1], SIZES) == pytest.approx([0.0, 1.0, 0.0, math.nan], nan_ok=True)
    assert reciprocal_rank(HITS[:, :1], SIZES)[:3].tolist() == [0.0, 1.0, 0.0]


def test_places_beyond_the_end_of_a_list_are_no_hits() -> None:
    assert hits_of(rows(7, 3), rows(3), 4).tolist() == [False, True, False, False]
    assert hits_of(rows(), rows(3), 2).tolist() == [False, False]


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


def test_resampled_means_leave_out_what_is_not_known_and_draw_the_same_shoppers_for_every_column() -> None:
    values = np.array([0.0, 1.0, np.nan, 4.0])
    means = resampled_means(np.column_stack([values, 10 * values, np.ones(4)]), np.random.default_rng(0), 400)
    assert means[:, 1] == pytest.approx(10 * means[:, 0], nan_ok=True)
    assert means[:, 2].tolist() == [1.0] * 400
    assert np.nanmean(means[:, 0]) == pytest.approx(5 / 3, abs=0.2)


def test_resamples_agree_with_drawing_shoppers_one_by_one() -> None:
    values = np.random.default_rng(3).random((7, 2))
    draws = np.random.default_rng(5).integers(0, 7, size=(50, 7))
    expected = np.stack([values[drawn].mean(axis=0) for drawn in draws])
    assert resampled_means(values, np.random.default_rng(5), 50) == pytest.approx(expected)


def test_many_shoppers_are_resampled_in_blocks_that_draw_on() -> None:
    values = np.random.default_rng(1).random((1_500_000, 1))
    means = resampled_means(values, np.random.default_rng(0), 5)[:, 0]
    assert len(set(means.tolist())) == 5
    assert means == pytest.approx(0.5, abs=0.003)


def test_a_constant_lead_is_certain_although_shoppers_differ() -> None:
    b = np.random.default_rng(1).random(300)
    found = paired_bootstrap(b + 0.01, b, np.random.default_rng(0))
    assert found.difference == pytest.approx(0.01)
    assert found.difference_interval == pytest.approx((0.01, 0.01))
    assert found.probability_not_better == 0.0
    assert found.ratio == pytest.approx((b.mean() + 0.01) / b.mean())
    assert 1.0 < found.ratio_interval[0] < found.ratio < found.ratio_interval[1]
    assert found.shoppers == 300


def test_equal_systems_are_never_better_and_a_doubled_one_has_ratio_two() -> None:
    b = np.random.default_rng(1).random(50) + 0.1
    same = paired_bootstrap(b, b, np.random.default_rng(0), 100)
    assert (same.difference, same.ratio, same.ratio_interval, same.probability_not_better) == (
        0.0,
        1.0,
        (1.0, 1.0),
        1.0,
    )
    double = paired_bootstrap(2 * b, b, np.random.default_rng(0), 100)
    assert double.ratio_interval == pytest.approx((2.0, 2.0))


def test_the_paired_interval_is_that_of_the_differences() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.random(400), rng.random(400)
    found = paired_bootstrap(a, b, np.random.default_rng(9))
    assert found.difference_interval == pytest.approx(bootstrap_interval(a - b, np.random.default_rng(9)))
    half_width = 1.96 * (a - b).std() / math.sqrt(400)
    assert found.difference_interval[1] - found.difference == pytest.approx(half_width, rel=0.1)


def test_shoppers_that_one_system_has_no_value_for_are_left_out_of_both() -> None:
    a, b = np.array([1.0, np.nan, 3.0, 5.0]), np.array([0.0, 9.0, np.nan, 1.0])
    found = paired_bootstrap(a, b, np.random.default_rng(0), 50)
    assert (found.shoppers, found.mean_a, found.mean_b) == (2, 3.0, 0.5)


def test_a_ratio_to_nothing_is_not_a_number() -> None:
    found = paired_bootstrap(np.ones(4), np.zeros(4), np.random.default_rng(0), 20)
    assert math.isnan(found.ratio)
    assert all(map(math.isnan, found.ratio_interval))
    assert found.difference_interval == (1.0, 1.0)


def test_a_pair_of_different_shoppers_or_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="same shoppers"):
        paired_bootstrap(np.ones(3), np.ones(4), np.random.default_rng(0))
    with pytest.raises(ValueError, match="no shopper"):
        paired_bootstrap(np.full(3, np.nan), np.ones(3), np.random.default_rng(0))
