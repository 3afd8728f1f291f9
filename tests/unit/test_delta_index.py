"""An index with changes beside it answers as one index over everything would."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.retrieval.delta import DeltaIndex
from services.retrieval.index import MISSING_ROW, Float32, Index, Int32, Mask, build_index

D = 8


class Case(NamedTuple):
    """A base of N vectors and what has changed."""

    delta: DeltaIndex
    vectors: Float32
    """[M, D]; what each row is searched by."""
    found: Mask
    """bool [M], rows that can be found."""
    rng: np.random.Generator


def some_vectors(rng: np.random.Generator, count: int) -> Float32:
    """Small whole numbers: many equal vectors and equal scores, all of them exact."""
    return rng.integers(-2, 3, (count, D)).astype(np.float32)


def a_case(seed: int, base_count: int, exact_rows_max: int) -> Case:
    rng = np.random.default_rng(seed)
    new_count = int(rng.integers(0, 8))
    row_count = base_count + new_count
    base_vectors = some_vectors(rng, base_count)
    changed = np.sort(rng.permutation(row_count)[: int(rng.integers(0, row_count + 1))]).astype(np.int32)
    gone = rng.permutation(base_count)[: int(rng.integers(0, base_count // 3 + 1))].astype(np.int32)
    changed = np.setdiff1d(changed, gone).astype(np.int32)
    others = some_vectors(rng, changed.size)
    vectors = np.concatenate([base_vectors, np.zeros((new_count, D), np.float32)])
    vectors[changed] = others
    found = np.zeros(row_count, dtype=np.bool_)
    found[:base_count] = True
    found[changed] = True
    found[gone] = False
    base = build_index(base_vectors, exact_rows_max=exact_rows_max)
    return Case(DeltaIndex(base, others, changed, gone, row_count), vectors, found, rng)


def brute_force(case: Case, queries: Float32, k: int, allowed: Mask | None) -> tuple[Int32, Float32]:
    """By falling score, then rising row, over everything."""
    may = case.found if allowed is None else case.found & allowed
    rows = np.full((len(queries), k), MISSING_ROW, dtype=np.int32)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    for number, query in enumerate(queries):
        every = case.vectors @ query
        best = [row for row in np.lexsort((np.arange(len(every)), -every)) if may[row]][:k]
        rows[number, : len(best)], scores[number, : len(best)] = best, every[best]
    return rows, scores


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 30), st.integers(1, 40), st.booleans(), st.booleans())
def test_search_finds_what_brute_force_finds(seed: int, base: int, k: int, filtered: bool, by_lists: bool) -> None:
    case = a_case(seed, base, exact_rows_max=5 if by_lists else 100)
    queries = some_vectors(case.rng, 3)
    allowed = case.rng.random(case.found.size) < 0.5 if filtered else None
    rows, scores = case.delta.search(queries, k, allowed)
    expected_rows, expected_scores = brute_force(case, queries, k, allowed)
    np.testing.assert_array_equal(scores, expected_scores)
    np.testing.assert_array_equal(rows, expected_rows)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 30), st.integers(1, 40), st.booleans())
def test_search_new_finds_by_direction_the_rows_that_the_base_lacks(
    seed: int, base: int, k: int, filtered: bool
) -> None:
    case = a_case(seed, base, exact_rows_max=100)
    case.found[:base] = False
    assert case.delta.has_new == case.found.any()
    query = case.rng.standard_normal((1, D)).astype(np.float32)
    allowed = case.rng.random(case.found.size) < 0.5 if filtered else None
    rows, scores = case.delta.search_new(query, k, allowed)
    may = np.flatnonzero(case.found if allowed is None else case.found & allowed)
    cosines = case.vectors[may] @ query[0] / np.maximum(np.linalg.norm(case.vectors[may], axis=1), 1e-9)
    found = rows[0] >= 0
    assert found.sum() == min(k, may.size)
    assert np.isin(rows[0][found], may).all()
    np.testing.assert_allclose(scores[0][found], np.sort(cosines)[::-1][: found.sum()], atol=2e-2)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 30), st.booleans())
def test_neighbours_are_the_new_rows_that_reach_as_far_as_a_query(seed: int, base: int, filtered: bool) -> None:
    rng = np.random.default_rng(seed)
    rows = np.unique(rng.integers(0, base + 9, 12)).astype(np.int32)
    vectors = some_vectors(rng, rows.size)
    reach = rng.choice([0.25, 0.5, 0.75, 1.0, np.inf], rows.size).astype(np.float32)
    delta = DeltaIndex(build_index(some_vectors(rng, base)), vectors, rows, EMPTY, base + 9, reach)
    queries = some_vectors(rng, 2)
    allowed = rng.random(base + 9) < 0.6 if filtered else None
    expected = {}
    for row, vector, least in zip(rows.tolist(), vectors, reach.tolist(), strict=True):
        if row >= base and (allowed is None or allowed[row]):
            cosine = max(_cosine(vector, query) for query in queries)
            if cosine >= least - 1e-5:
                expected[row] = cosine
    found = delta.neighbours(queries, allowed).tolist()
    assert sorted(found) == sorted(expected)
    np.testing.assert_allclose([expected[row] for row in found], sorted(expected.values(), reverse=True), atol=1e-6)


def test_without_a_reach_a_new_row_is_a_neighbour_of_nothing() -> None:
    vectors = np.ones((1, D), np.float32)
    delta = DeltaIndex(build_index(vectors), vectors, np.array([1], np.int32), EMPTY, 2)
    assert delta.has_new
    assert delta.neighbours(vectors).size == 0


def _cosine(one: Float32, other: Float32) -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else 0.0


def test_the_mask_that_is_handed_in_stays_as_it_is() -> None:
    case = a_case(3, 20, exact_rows_max=100)
    allowed = np.ones(case.found.size, dtype=np.bool_)
    allowed.setflags(write=False)
    case.delta.search(some_vectors(case.rng, 1), 5, allowed)


def test_a_mapped_index_may_be_the_base(tmp_path: Path) -> None:
    vectors = some_vectors(np.random.default_rng(1), 10)
    build_index(vectors).save(tmp_path / "index")
    delta = DeltaIndex(Index.load(tmp_path / "index"), 2 * vectors[:1] + 1, np.array([10], np.int32), EMPTY, 11)
    rows, _ = delta.search(2 * vectors[:1] + 1, 1)
    assert rows.tolist() == [[10]]


EMPTY = np.empty(0, np.int32)


@pytest.mark.parametrize(
    ("rows", "count", "row_count"), [([1, 1], 2, 5), ([2, 1], 2, 5), ([1], 2, 5), ([7], 1, 5), ([1], 1, 4)]
)
def test_rows_that_do_not_fit_are_refused(rows: list[int], count: int, row_count: int) -> None:
    base = build_index(np.ones((5, D), np.float32))
    with pytest.raises(ValueError, match="row"):
        DeltaIndex(base, np.ones((count, D), np.float32), np.array(rows, np.int32), EMPTY, row_count)


def test_a_mask_of_another_length_is_refused() -> None:
    case = a_case(3, 20, exact_rows_max=100)
    with pytest.raises(ValueError, match="allowed"):
        case.delta.search(some_vectors(case.rng, 1), 5, np.ones(case.found.size + 1, dtype=np.bool_))
