"""Aisle's vector index beside exact searches and graphs, at equal recall, one thread each.

A graph's effort is raised until it finds as much of the true hundred as Aisle does, or 99; then one query after another
is timed, and all of them in one call. Recall is by true score in float32, so that items of equal score count as one
another. Vectors are exact in half precision, so no side loses anything by how it keeps them.

Sizes: the items of the serving bundle, a shop's real ones; 200,000 made ones, as many as the graphs can be built over
within the bench's time; a million made ones beside exact searches alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.clustered import clustered_vectors
from benchmarks.indexes import Float32, Searcher, aisle, exact_faiss, exact_numpy, graph_hnswlib, graph_usearch
from benchmarks.pairs import alternated, compared, compared_row, p50_ms, seconds
from benchmarks.recall import K, Tuned, interests, least_scores, tuned
from benchmarks.rows import Row
from features.bundle import ITEM_VECTORS, open_bundle, serving_path

MIDDLE, LARGE = 200_000, 1_000_000
BUNDLES = Path("bundles")

_ENOUGH = 0.99
"""Recall that counts as all, in favour of graphs: some never find the very last of an exact search's."""


@dataclass(frozen=True, slots=True)
class Size:
    """One catalogue and how it is asked."""

    name: str
    vectors: Float32
    rivals: Sequence[Callable[[Float32], Searcher]]
    query_count: int
    rounds: int
    build_compared: bool
    """Whether building and bytes make rows as well."""


def rows() -> list[Row]:
    """All sizes, one after another."""
    return [row for size in sizes() for row in compared_at(size)]


def sizes() -> Iterator[Size]:
    """Each made when it is asked for, so that only one is held."""
    exact, graphs = [exact_numpy, exact_faiss], [graph_hnswlib, graph_usearch]
    bundle = open_bundle(serving_path(BUNDLES))
    real = np.load(bundle.root / ITEM_VECTORS).astype(np.float32)
    yield Size(f"{len(real) // 1000}k", real, [*exact, *graphs], 100, 7, build_compared=False)
    yield Size("200k", made_vectors(MIDDLE), graphs, 200, 7, build_compared=True)
    yield Size("1m", made_vectors(LARGE), exact, 20, 5, build_compared=False)


def made_vectors(count: int) -> Float32:
    """Vectors around centres."""
    return clustered_vectors(count, np.random.default_rng(0), 1)[0]


def compared_at(size: Size) -> list[Row]:
    """Aisle beside each rival over one catalogue."""
    queries = interests(size.vectors, size.query_count)
    least = least_scores(size.vectors, queries)
    ours = tuned(aisle(size.vectors), size.vectors, queries, least, 0.0)
    others = [
        tuned(build(size.vectors), size.vectors, queries, least, min(ours.recall, _ENOUGH)) for build in size.rivals
    ]
    sides = [ours, *others]
    one = alternated({side.name: _one_by_one(side, queries) for side in sides}, size.rounds)
    batch = alternated({side.name: _all_at_once(side, queries) for side in sides}, size.rounds)
    method = _method(size, ours, queries)
    found = []
    for other in others:
        label = f"retrieval.{size.name}.{other.searcher.name.split()[0].lower()}"
        found += [
            compared_row(
                f"{label}.p50",
                compared(one[ours.name], one[other.name]),
                unit="ms a query",
                rival=other.name,
                method=f"{method} One query at a time, p50 of a round.",
                behind=_behind(ours, other),
            ),
            compared_row(
                f"{label}.batch",
                compared(batch[ours.name], batch[other.name], more_is_better=True),
                unit="queries/s",
                rival=other.name,
                method=f"{method} All queries in one call.",
                behind=f"{_behind(ours, other)} A request asks with one to a few interest vectors, never with so many.",
            ),
        ]
        found += _building(label, size, ours, other) if size.build_compared else []
    return found


def _one_by_one(side: Tuned, queries: Float32) -> Callable[[], float]:
    search = side.searcher.search
    calls = [lambda query=query: search(query, K) for query in queries[:, np.newaxis]]
    return lambda: p50_ms(calls)


def _all_at_once(side: Tuned, queries: Float32) -> Callable[[], float]:
    return lambda: len(queries) / seconds(lambda: side.searcher.search(queries, K))


def _building(label: str, size: Size, ours: Tuned, other: Tuned) -> list[Row]:
    """What an index costs before it is asked anything; built once, so without an interval."""
    ours_built, other_built = ours.searcher, other.searcher
    method = f"{len(size.vectors):,} vectors, each index built once."
    facts = [
        ("build", "s", ours_built.build_seconds, other_built.build_seconds, "Aisle on one thread, the graph on all."),
        ("bytes", "bytes an item", ours_built.bytes_per_item, other_built.bytes_per_item, "As saved, with vectors."),
    ]
    return [
        Row(
            name=f"{label}.{what}",
            value=round(theirs / our, 3),
            bound="> 1",
            met=theirs > our,
            ours=float(f"{our:.4g}"),
            theirs=float(f"{theirs:.4g}"),
            unit=unit,
            rival=other_built.name,
            method=f"{method} {how}",
            reason="" if theirs > our else f"{other_built.name} spends less here; the other rows say what it buys.",
        )
        for what, unit, our, theirs, how in facts
    ]


def _method(size: Size, ours: Tuned, queries: Float32) -> str:
    kind = "exact" if len(size.vectors) < MIDDLE else "the nearest lists"
    return (
        f"{len(size.vectors):,} vectors of {size.vectors.shape[1]}, {len(queries)} interests, best {K}, one thread. "
        f"Aisle reads float16, {kind}, recall {ours.recall:.4f}; a graph's ef is the least whose recall is that or "
        f"{_ENOUGH:g}. {size.rounds} rounds in turns."
    )


def _behind(ours: Tuned, other: Tuned) -> str:
    """What the other side pays, or gives, for being faster."""
    if other.effort:
        more = other.searcher.bytes_per_item - ours.searcher.bytes_per_item
        longer = other.searcher.build_seconds / max(ours.searcher.build_seconds, 1e-9)
        return (
            f"A graph reads fewer vectors a query. It keeps {more:.0f} bytes more an item, was {longer:.1f} times as "
            "long in building, on all cores, and cannot skip what a filter excludes without walking through it."
        )
    more = other.searcher.bytes_per_item - ours.searcher.bytes_per_item
    return (
        f"Both read every vector. The other keeps {more:.0f} bytes more an item, which it need not convert, and in a "
        "batch reads each once for all queries; it leaves to chance which of equal scores it lists."
    )
