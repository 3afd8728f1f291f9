"""What lists do beside being right: answers worked out on paper first."""

import math

import numpy as np
import pytest

from features.vocab import Rows
from training.list_metrics import (
    coverage_at,
    diversity,
    group_shares,
    long_tail,
    miscalibration,
    novelty,
    places_of,
    share_of_all_places,
    share_of_places,
)


def rows(*numbers: int) -> Rows:
    """Rows as an array."""
    return np.array(numbers, dtype=np.int32)


def test_places_are_the_first_k_of_every_list() -> None:
    assert places_of([rows(4, 2, 9), rows(), rows(7)], 2).tolist() == [[4, 2], [-1, -1], [7, -1]]


def test_coverage_is_the_share_of_the_catalogue_that_anybody_is_shown() -> None:
    lists = [rows(0, 1, 2), rows(1, 3)]
    assert coverage_at(lists, 2, 10) == pytest.approx(3 / 10)
    assert coverage_at(lists, 20, 10) == pytest.approx(4 / 10)
    assert coverage_at([], 20, 10) == 0.0


def test_the_long_tail_begins_where_the_head_holds_four_fifths_of_the_weight() -> None:
    weights = np.array([1.0, 50.0, 30.0, 15.0, 4.0, 0.0])
    assert long_tail(weights).tolist() == [True, False, False, True, True, True]
    assert long_tail(weights, head_share=0.81).tolist() == [True, False, False, False, True, True]


def test_the_share_of_flagged_places_counts_filled_places_only() -> None:
    places = places_of([rows(0, 1, 2, 3), rows(3), rows()], 4)
    flags = np.array([True, False, False, True])
    assert share_of_places(places, flags) == pytest.approx([0.5, 1.0, math.nan], nan_ok=True)


def test_novelty_is_the_mean_surprise_of_a_lists_items_in_bits() -> None:
    weights = np.array([7.0, 3.0, 1.0, 1.0])  # with one added: 8, 4, 2 and 2 of 16
    places = places_of([rows(0, 1), rows(2), rows()], 2)
    assert novelty(places, weights) == pytest.approx([(1 + 2) / 2, 3.0, math.nan], nan_ok=True)


def test_diversity_is_the_mean_distance_of_a_lists_pairs_whatever_the_vectors_length() -> None:
    vectors = np.array([[1, 0], [3, 0], [0, 2], [-1, 0], [0, 0]], dtype=np.float32)
    lists = [rows(0, 1), rows(0, 2), rows(0, 3), rows(0, 1, 2), rows(0, 4), rows(2)]
    expected = [0.0, 1.0, 2.0, (0 + 1 + 1) / 3, 1.0, math.nan]
    assert diversity(places_of(lists, 3), vectors) == pytest.approx(expected, nan_ok=True)


def test_diversity_agrees_with_comparing_every_pair() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((30, 8)).astype(np.float32)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    chosen = rng.permutation(30)[:20].astype(np.int32)
    pairs = [1 - float(units[a] @ units[b]) for a in chosen for b in chosen if a < b]
    assert diversity(places_of([chosen], 20), vectors)[0] == pytest.approx(np.mean(pairs), rel=1e-5)


CATEGORIES = rows(0, 0, 1, 2, -1)


def test_shares_of_categories_sum_to_one_and_leave_out_what_has_none() -> None:
    found = group_shares([rows(0, 1, 2, 3), rows(2, 4), rows(4), rows()], CATEGORIES, 3)
    assert found.tolist() == [[0.5, 0.25, 0.25], [0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert group_shares([], CATEGORIES, 3).shape == (0, 3)


def test_a_list_with_the_historys_categories_is_calibrated_and_one_without_any_is_not() -> None:
    wanted = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    shown = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    one_sided = 0.5 * math.log(0.5 / (0.99 + 0.005)) + 0.5 * math.log(0.5 / 0.005)
    expected = [0.0, one_sided, math.log(1 / 0.01), math.nan, math.nan]
    assert miscalibration(wanted, shown) == pytest.approx(expected, nan_ok=True)


def test_exposure_is_a_brands_share_of_all_places_of_everybody() -> None:
    brands = rows(0, 1, 1, -1)
    assert share_of_all_places([rows(0, 1, 2), rows(3)], brands, 3).tolist() == [0.25, 0.5, 0.0]
    assert share_of_all_places([], brands, 2).tolist() == [0.0, 0.0]
