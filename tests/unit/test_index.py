"""The vector index against brute force in NumPy."""

from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.retrieval.index import MISSING_ROW, Float32, Index, Int32, build_index

WIDTH = 128


def whole_vectors(rng: np.random.Generator, count: int, distinct: int = 0) -> Float32:
    """Vectors of small whole numbers: their dot products are exact in float32, so equal scores are really equal."""
    vectors = rng.integers(-2, 3, size=(count, WIDTH)).astype(np.float32)
    return vectors[rng.integers(0, min(distinct, count), size=count)] if distinct and count else vectors


def unit_vectors(rng: np.random.Generator, count: int) -> Float32:
    """Vectors like the towers': of length 1, around 20 centres."""
    centres = rng.normal(size=(20, WIDTH))
    vectors = centres[rng.integers(0, 20, size=count)] + 0.7 * rng.normal(size=(count, WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


def brute_force(vectors: Float32, queries: Float32, k: int, excluded: Int32) -> tuple[Int32, Float32]:
    """What `Index.search` promises, in the plainest way."""
    rows = np.full((len(queries), k), MISSING_ROW, dtype=np.int32)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    allowed = np.setdiff1d(np.arange(len(vectors)), excluded)
    for position, query in enumerate(queries):
        products = vectors[allowed] @ query
        best = np.lexsort((allowed, -products))[:k]
        rows[position, : len(best)] = allowed[best]
        scores[position, : len(best)] = products[best]
    return rows, scores


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    row_count=st.integers(0, 300),
    distinct=st.sampled_from([0, 1, 3]),
    query_count=st.integers(0, 40),
    k=st.integers(1, 400),
    excluded=st.lists(st.integers(-5, 310), max_size=320),
)
def test_search_returns_what_brute_force_returns(
    *, seed: int, row_count: int, distinct: int, query_count: int, k: int, excluded: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    vectors, queries = whole_vectors(rng, row_count, distinct), whole_vectors(rng, query_count)
    excluded_rows = np.array(excluded, dtype=np.int32)
    rows, scores = build_index(vectors).search(queries, k, excluded_rows)
    expected_rows, expected_scores = brute_force(vectors, queries, k, excluded_rows)
    assert rows.dtype == np.int32
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(scores, expected_scores)


@pytest.mark.parametrize("k", [7, 150, 600])
def test_equal_scores_beyond_the_end_of_the_list_are_decided_by_the_lowest_row(k: int) -> None:
    """FAISS alone keeps any of the equal ones, and most products share their vector with another."""
    rng = np.random.default_rng(5)
    vectors, queries = whole_vectors(rng, 5000, distinct=20), whole_vectors(rng, 30)
    nothing = np.empty(0, dtype=np.int32)
    for found, expected in zip(
        build_index(vectors).search(queries, k), brute_force(vectors, queries, k, nothing), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_a_query_gets_the_same_scores_alone_and_among_others() -> None:
    rng = np.random.default_rng(6)
    index, queries = build_index(unit_vectors(rng, 3000)), unit_vectors(rng, 100)
    rows, scores = index.search(queries, 50)
    for position in range(100):
        alone_rows, alone_scores = index.search(queries[position : position + 1], 50)
        np.testing.assert_array_equal(alone_rows[0], rows[position])
        np.testing.assert_array_equal(alone_scores[0], scores[position])


@pytest.mark.parametrize("exact_rows_max", [10_000, 10])
def test_a_saved_index_answers_as_before(tmp_path: Path, exact_rows_max: int) -> None:
    rng = np.random.default_rng(7)
    index, queries = build_index(unit_vectors(rng, 1500), exact_rows_max=exact_rows_max), unit_vectors(rng, 20)
    index.save(tmp_path / "index.faiss")
    loaded = Index.load(tmp_path / "index.faiss")
    assert (loaded.kind, loaded.row_count, loaded.dimension) == (index.kind, 1500, WIDTH)
    for before, after in zip(index.search(queries, 30), loaded.search(queries, 30), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.fixture(scope="module")
def graph_vectors() -> Float32:
    return unit_vectors(np.random.default_rng(8), 3000)


@pytest.fixture(scope="module")
def graph(graph_vectors: Float32) -> Index:
    return build_index(graph_vectors, exact_rows_max=2999)


def test_the_kind_of_index_follows_the_number_of_rows(graph: Index, graph_vectors: Float32) -> None:
    assert graph.kind == "hnsw"
    assert build_index(graph_vectors, exact_rows_max=3000).kind == "flat"


def test_the_graph_finds_nearly_all_that_brute_force_finds(graph: Index, graph_vectors: Float32) -> None:
    queries = unit_vectors(np.random.default_rng(9), 200)
    rows, _ = graph.search(queries, 20)
    expected, _ = brute_force(graph_vectors, queries, 20, np.empty(0, dtype=np.int32))
    found = np.mean([len(np.intersect1d(a, b)) / 20 for a, b in zip(rows, expected, strict=True)])
    assert found > 0.97
    assert graph.recall_at(queries, 20) == pytest.approx(found, abs=1e-3)


def test_the_measured_recall_falls_when_the_graph_is_searched_carelessly(
    graph: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.retrieval.index.HNSW_SEARCH_WIDTH", 1)
    monkeypatch.setattr("services.retrieval.index._EXTRA_RESULTS", 0)
    assert graph.recall_at(unit_vectors(np.random.default_rng(10), 200), 1) < 0.97


def test_an_exact_index_has_full_recall(graph_vectors: Float32) -> None:
    assert build_index(graph_vectors).recall_at(graph_vectors[:50], 10) == 1.0


def test_the_graph_still_finds_every_row_that_a_strict_filter_leaves(graph: Index, graph_vectors: Float32) -> None:
    allowed = np.random.default_rng(11).choice(3000, size=12, replace=False)
    excluded = np.setdiff1d(np.arange(3000), allowed).astype(np.int32)
    queries = graph_vectors[:5]
    rows, scores = graph.search(queries, 20, excluded)
    expected_rows, expected_scores = brute_force(graph_vectors, queries, 20, excluded)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)


def test_the_same_vectors_build_the_same_graph(tmp_path: Path, graph: Index, graph_vectors: Float32) -> None:
    graph.save(tmp_path / "first")
    build_index(graph_vectors, exact_rows_max=10).save(tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_wrong_shapes_are_refused_by_name() -> None:
    index = build_index(np.zeros((3, WIDTH), dtype=np.float32))
    with pytest.raises(ValueError, match=r"queries: shape \(1, 5\), expected \(Q, 128\)"):
        index.search(np.zeros((1, 5), dtype=np.float32), 1)
    with pytest.raises(ValueError, match="k: 0"):
        index.search(np.zeros((1, WIDTH), dtype=np.float32), 0)
    with pytest.raises(ValueError, match="vectors: shape"):
        build_index(np.zeros(WIDTH, dtype=np.float32))


def test_a_vector_that_is_not_finite_is_refused_by_its_row() -> None:
    vectors = np.zeros((3, WIDTH), dtype=np.float32)
    vectors[2, 7] = np.nan
    with pytest.raises(ValueError, match="row 2"):
        build_index(vectors)


def test_files_that_are_not_our_kind_of_index_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not an index, but long enough to be read as one")
    with pytest.raises(ValueError, match="not a FAISS index"):
        Index.load(tmp_path / "text")
    faiss.write_index(faiss.IndexFlatL2(WIDTH), str(tmp_path / "distance"))
    with pytest.raises(ValueError, match="IndexFlat"):
        Index.load(tmp_path / "distance")
