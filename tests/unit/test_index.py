"""The vector index against brute force in NumPy."""

from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.retrieval.index import EXACT_ROWS_MAX, MISSING_ROW, Float32, Index, Int32, Mask, build_index

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


def brute_force(vectors: Float32, queries: Float32, k: int, mask: Mask | None = None) -> tuple[Int32, Float32]:
    """What `Index.search` promises, in the plainest way."""
    rows = np.full((len(queries), k), MISSING_ROW, dtype=np.int32)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    allowed = np.arange(len(vectors)) if mask is None else np.flatnonzero(mask)
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
    kept_share=st.sampled_from([None, 0.0, 0.1, 0.7, 1.0]),
    exact_rows_max=st.sampled_from([EXACT_ROWS_MAX, 0]),
)
def test_search_returns_what_brute_force_returns(
    *, seed: int, row_count: int, distinct: int, query_count: int, k: int, kept_share: float | None, exact_rows_max: int
) -> None:
    """Lists as well, as long as all of them are read."""
    rng = np.random.default_rng(seed)
    vectors, queries = whole_vectors(rng, row_count, distinct), whole_vectors(rng, query_count)
    allowed = None if kept_share is None else rng.random(row_count) < kept_share
    rows, scores = build_index(vectors, exact_rows_max=exact_rows_max).search(queries, k, allowed)
    expected_rows, expected_scores = brute_force(vectors, queries, k, allowed)
    assert rows.dtype == np.int32
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(scores, expected_scores)


@pytest.mark.parametrize("exact_rows_max", [EXACT_ROWS_MAX, 10])
@pytest.mark.parametrize("k", [7, 150, 600])
def test_equal_scores_beyond_the_end_of_the_list_are_decided_by_the_lowest_row(k: int, exact_rows_max: int) -> None:
    """FAISS alone keeps any of the equal ones, and most products share their vector with another."""
    rng = np.random.default_rng(5)
    vectors, queries = whole_vectors(rng, 5000, distinct=20), whole_vectors(rng, 30)
    index = build_index(vectors, exact_rows_max=exact_rows_max)
    for found, expected in zip(index.search(queries, k), brute_force(vectors, queries, k), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("exact_rows_max", [EXACT_ROWS_MAX, 10])
def test_a_query_gets_the_same_scores_alone_and_among_others(
    exact_rows_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.retrieval.index.READ_ROWS", 600)
    monkeypatch.setattr("services.retrieval.index.READ_ROWS_PER_RESULT", 1)
    rng = np.random.default_rng(6)
    index, queries = build_index(unit_vectors(rng, 3000), exact_rows_max=exact_rows_max), unit_vectors(rng, 100)
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


ROWS = 30_000


@pytest.fixture(scope="module")
def many_vectors() -> Float32:
    """Vectors as a bundle has them, around 300 centres."""
    rng = np.random.default_rng(8)
    vectors = unit_vectors(rng, 300)[rng.integers(0, 300, size=ROWS)] + 0.08 * rng.standard_normal((ROWS, WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16).astype(np.float32)


@pytest.fixture(scope="module")
def lists(many_vectors: Float32) -> Index:
    return build_index(many_vectors, exact_rows_max=ROWS - 1)


@pytest.fixture
def read_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A query reads a fifteenth of the rows, about as many for its results as with a million rows."""
    monkeypatch.setattr("services.retrieval.index.READ_ROWS", ROWS // 15)
    monkeypatch.setattr("services.retrieval.index.READ_ROWS_PER_RESULT", 1)


def filters(vectors: Float32) -> dict[str, Mask]:
    """A tenth and a hundredth of the rows, drawn at random or lying on one side."""
    chances, side = np.random.default_rng(12).random(ROWS), vectors @ vectors[0]
    return {
        f"{name} {share}": mask
        for share in (0.1, 0.01)
        for name, mask in (("any", chances < share), ("side", side > np.quantile(side, 1 - share)))
    }


def test_the_kind_of_index_follows_the_number_of_rows(lists: Index, many_vectors: Float32) -> None:
    assert lists.kind == "lists"
    assert build_index(many_vectors, exact_rows_max=ROWS).kind == "flat"


@pytest.mark.usefixtures("read_little")
def test_the_lists_find_nearly_all_that_brute_force_finds(lists: Index, many_vectors: Float32) -> None:
    queries = many_vectors[::300]
    for name, allowed in {"all": None, **filters(many_vectors)}.items():
        rows, scores = lists.search(queries, 100, allowed)
        expected, best = brute_force(many_vectors, queries, 100, allowed)
        found = np.mean([len(np.intersect1d(a, b)) / 100 for a, b in zip(rows, expected, strict=True)])
        assert found > 0.95, name
        assert lists.recall_at(queries, 100, allowed) == pytest.approx(found, abs=2e-3)
        assert allowed is None or allowed[rows].all()
        np.testing.assert_allclose(scores[:, 0], best[:, 0], atol=1e-6)


@pytest.mark.usefixtures("read_little")
def test_a_strict_filter_makes_the_search_exact(lists: Index, many_vectors: Float32) -> None:
    allowed = np.random.default_rng(11).random(ROWS) < 1 / 20
    queries = many_vectors[:20]
    for found, expected in zip(
        lists.search(queries, 100, allowed), brute_force(many_vectors, queries, 100, allowed), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_where_the_nearest_lists_hold_too_few_allowed_rows_all_lists_are_read(
    lists: Index, many_vectors: Float32, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.retrieval.index.READ_ROWS", 1)
    monkeypatch.setattr("services.retrieval.index.READ_ROWS_PER_RESULT", 1)
    queries = many_vectors[:3]
    nearness = np.max(many_vectors @ queries.T, axis=1)
    allowed = nearness < np.quantile(nearness, 0.2)  # none in the lists that lie around the queries
    _, scores = lists.search(queries, 1000, allowed)
    np.testing.assert_allclose(scores, brute_force(many_vectors, queries, 1000, allowed)[1], atol=1e-6)


def test_the_measured_recall_falls_when_the_lists_are_searched_carelessly(
    lists: Index, many_vectors: Float32, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.retrieval.index.READ_ROWS", 1)
    monkeypatch.setattr("services.retrieval.index.READ_ROWS_PER_RESULT", 1)
    assert lists.recall_at(many_vectors[::300], 100) < 0.95


def test_an_exact_index_has_full_recall(many_vectors: Float32) -> None:
    assert build_index(many_vectors).recall_at(many_vectors[:50], 10) == 1.0


def test_the_same_vectors_build_the_same_lists(tmp_path: Path, lists: Index, many_vectors: Float32) -> None:
    lists.save(tmp_path / "first")
    build_index(many_vectors, exact_rows_max=10).save(tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_wrong_shapes_are_refused_by_name() -> None:
    index = build_index(np.zeros((3, WIDTH), dtype=np.float32))
    with pytest.raises(ValueError, match=r"queries: shape \(1, 5\), expected \(Q, 128\)"):
        index.search(np.zeros((1, 5), dtype=np.float32), 1)
    with pytest.raises(ValueError, match="k: 0"):
        index.search(np.zeros((1, WIDTH), dtype=np.float32), 0)
    with pytest.raises(ValueError, match=r"allowed: shape \(2,\), expected \(3,\)"):
        index.search(np.zeros((1, WIDTH), dtype=np.float32), 1, np.ones(2, dtype=np.bool_))
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
    faiss.write_index(faiss.IndexHNSWFlat(WIDTH, 4, faiss.METRIC_INNER_PRODUCT), str(tmp_path / "graph"))
    with pytest.raises(ValueError, match="IndexHNSWFlat"):
        Index.load(tmp_path / "graph")
