"""Comparisons at a small size, with the libraries and the servers that they are made with."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import features, recall, retrieval, triton
from benchmarks.indexes import Float32, Rows, Searcher, aisle, exact_faiss, exact_numpy, graph_hnswlib, graph_usearch
from benchmarks.page import RunOfBench, page
from benchmarks.pandas_items import pandas_item_features
from benchmarks.pandas_tables import Tables
from benchmarks.pandas_users import pandas_user_features
from benchmarks.towers import opened
from features.adapters import load
from features.transforms import item_features, known_events, user_features
from tests.integration.conftest import TRITON_VENV
from tests.tiny_bundle import write_tiny_bundle

RUN = RunOfBench(measured="", machine="", seconds={})
GRAPHS = (partial(graph_hnswlib, threads=1), partial(graph_usearch, threads=1))
"""The same graphs each time, however many cores there are."""
EVERY_INDEX = (aisle, exact_numpy, exact_faiss, *GRAPHS)


def vectors_of_unequal_length(count: int) -> Float32:
    """As a trained shop's are."""
    lengths = np.random.default_rng(8).uniform(0.7, 3.0, (count, 1))
    return (retrieval.made_vectors(count) * lengths).astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("make", [retrieval.made_vectors, vectors_of_unequal_length])
def test_every_index_finds_the_best_when_it_makes_an_effort(make: object) -> None:
    vectors: Float32 = make(3000)  # type: ignore[operator]
    queries = recall.interests(vectors, 20)
    least = recall.least_scores(vectors, queries)
    for build in EVERY_INDEX:
        found = recall.tuned(build(vectors), vectors, queries, least, 1.0)
        assert found.recall > 0.95, found.name
        assert found.searcher.search(queries, recall.K).shape == (20, recall.K)
        exact = found.searcher.set_effort is None
        assert (found.effort == 0) is exact
        assert not exact or found.recall == 1.0


def test_a_graph_is_given_the_least_effort_that_is_enough() -> None:
    vectors = retrieval.made_vectors(3000)
    queries = recall.interests(vectors, 20)
    least = recall.least_scores(vectors, queries)
    graph = GRAPHS[0](vectors)
    easy, unreachable = (recall.tuned(graph, vectors, queries, least, target) for target in (0.5, 2.0))
    assert easy.effort == recall.K
    assert easy.effort < unreachable.effort < len(vectors)
    assert easy.recall + 0.01 < unreachable.recall <= 1.0


def test_recall_counts_true_scores_and_no_row_twice() -> None:
    vectors = retrieval.made_vectors(500)
    queries = recall.interests(vectors, 5)
    least = recall.least_scores(vectors, queries)
    best: Rows = np.argsort(-(queries @ vectors.T), axis=1)[:, : recall.K]
    assert recall.recall(best, vectors, queries, least) == 1.0
    half = best.copy()
    half[:, recall.K // 2 :] = best[:, :1]
    assert recall.recall(half, vectors, queries, least) == 0.5
    worst: Rows = np.argsort(queries @ vectors.T, axis=1)[:, : recall.K]
    assert recall.recall(worst, vectors, queries, least) == 0.0


def test_retrieval_rows_make_a_page() -> None:
    rivals = (exact_numpy, exact_faiss, graph_hnswlib, graph_usearch)
    size = retrieval.Size("3k", retrieval.made_vectors(3000), rivals, 10, 2, build_compared=True)
    rows = retrieval.compared_at(size)
    names = [row.name for row in rows]
    assert len(names) == 4 * len(rivals)
    assert "retrieval.3k.hnswlib.p50" in names
    page(rows, RUN)


def test_features_rows_make_a_page_and_pandas_finds_the_same_values() -> None:
    rows = features.compared_on(load("synthetic:seed=1,user_count=40", Path("unused")), 1)
    assert [row.name for row in rows] == ["features.users", "features.items"]
    page(rows, RUN)


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("discount_share", pl.col("discount_share") + 0.01),
        ("history_item_ids", pl.col("history_item_ids").list.reverse()),
        ("repeat_gap_days", pl.col("repeat_gap_days").list.head(1)),
        ("leaf_names", pl.col("leaf_names").list.reverse()),
    ],
)
def test_a_feature_that_differs_is_named(column: str, change: pl.Expr) -> None:
    data = load("synthetic:seed=1,user_count=20", Path("unused"))
    as_of = data.events.select(pl.col("event_time").max()).item()
    known = known_events(data.events, as_of)
    tables = Tables.of(known, data.items, data.promotions)
    ours = user_features(known, data.items)
    features.require_equal(ours, pandas_user_features(tables))
    with pytest.raises(ValueError, match=column):
        features.require_equal(ours.with_columns(change.alias(column)), pandas_user_features(tables))
    items = item_features(known, data.items, data.promotions, as_of)
    with pytest.raises(ValueError, match="item_trend"):
        features.require_equal(
            items.with_columns(item_trend=-pl.col("item_trend")), pandas_item_features(tables, as_of)
        )


def test_triton_rows_make_a_page_and_the_vectors_of_both_sides_are_alike(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "bundle", "tiny.1", seed=1)
    texts = [f"{colour} {what}" for colour in ("red", "white") for what in ("milk", "bread", "wine")]
    with opened(tmp_path / "bundle", "tiny.1", TRITON_VENV) as ways:
        rows = triton.compared_on(ways, texts, 1)
        for way in (ways.at_once, ways.unbatched):
            np.testing.assert_allclose(way(texts), ways.in_process(texts), atol=1e-5)
    assert [row.name.partition(".")[0] for row in rows] == ["triton"] * 4
    page(rows, RUN)


def test_vectors_that_are_not_alike_are_refused() -> None:
    ours = np.eye(4, dtype=np.float32)
    triton.require_alike(ours, 2 * ours)
    theirs: Sequence[Float32] = [*ours[:3], ours[0]]
    with pytest.raises(ValueError, match="least cosine"):
        triton.require_alike(ours, np.array(theirs))


def test_an_effort_that_is_more_than_enough_is_taken_back() -> None:
    """A graph that finds 60 of 100 whatever its effort is compared at its least."""
    vectors = retrieval.made_vectors(500)
    queries = recall.interests(vectors, 5)
    best: Rows = np.argsort(-(queries @ vectors.T), axis=1)[:, : recall.K]
    best[:, 60:] = best[:, :1]
    efforts: list[int] = []
    graph = Searcher("graph 1", lambda _queries, _k: best, 1.0, 1.0, efforts.append)
    found = recall.tuned(graph, vectors, queries, recall.least_scores(vectors, queries), 0.9)
    assert (found.effort, found.recall) == (recall.K, 0.6)
    assert max(efforts) == len(vectors)
    assert efforts[-1] == recall.K


def test_a_searcher_names_what_it_was_tuned_to() -> None:
    searcher = Searcher("graph 1", lambda queries, k: np.zeros((len(queries), k), np.int64), 1.0, 1.0, print)
    assert recall.Tuned(searcher, 128, 0.98765).name == "graph 1, ef 128, recall 0.9877"
