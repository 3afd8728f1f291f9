"""How much of the true best an index finds, and how much effort it takes a graph to find as much as another one.

Recall is by true score in float32: items of equal score count as one another.
"""

from dataclasses import dataclass

import numpy as np

from benchmarks.indexes import Float32, Rows, Searcher

K = 100
"""Results of a query."""

_EFFORT_STEP = 1.25
_MOST_EFFORT = 8000
_AS_GOOD = 0.001
_BLOCK = 50_000
_ROUNDING = 1e-5
_SEED = 3


@dataclass(frozen=True, slots=True)
class Tuned:
    """An index that finds as much as is asked of it, or as much as it can."""

    searcher: Searcher
    effort: int
    """0 where there is no such setting."""
    recall: float

    @property
    def name(self) -> str:
        """With what it was tuned to."""
        tuned = f", ef {self.effort}" if self.effort else ""
        return f"{self.searcher.name}{tuned}, recall {self.recall:.4f}"


def tuned(searcher: Searcher, vectors: Float32, queries: Float32, least: Float32, target: float) -> Tuned:
    """The smallest effort whose recall reaches the target; if none does, the smallest that finds what the most does."""
    if searcher.set_effort is None:
        return Tuned(searcher, 0, recall(searcher.search(queries, K), vectors, queries, least))
    tried: list[Tuned] = []
    most = min(_MOST_EFFORT, len(vectors))
    while not tried or (tried[-1].recall < target and tried[-1].effort < most):
        effort = min(round(K * _EFFORT_STEP ** len(tried)), most)
        searcher.set_effort(effort)
        tried.append(Tuned(searcher, effort, recall(searcher.search(queries, K), vectors, queries, least)))
    enough = min(target, max(one.recall for one in tried) - _AS_GOOD)
    chosen = next(one for one in tried if one.recall >= enough)
    searcher.set_effort(chosen.effort)
    return chosen


def recall(found: Rows, vectors: Float32, queries: Float32, least: Float32) -> float:
    """Share of the true K best, 0 to 1; rows of equal score count as one another, a row found twice once."""
    hits = 0
    for rows_of_one, query, bound in zip(found, queries, least, strict=True):
        distinct = np.unique(rows_of_one)
        hits += int((vectors[distinct] @ query >= bound - _ROUNDING).sum())
    return hits / found.size


def least_scores(vectors: Float32, queries: Float32) -> Float32:
    """The K-th best dot product of each query, float32 [Q], by reading every vector."""
    best = np.full((len(queries), K), -np.inf, dtype=np.float32)
    for start in range(0, len(vectors), _BLOCK):
        scores = queries @ vectors[start : start + _BLOCK].T
        best = -np.partition(-np.hstack([best, scores]), K - 1, axis=1)[:, :K]
    least: Float32 = best.min(axis=1)
    return least


def interests(vectors: Float32, count: int) -> Float32:
    """Queries of length one: each an item's vector and, every second one, its mean with that of any other item."""
    rng = np.random.default_rng(_SEED)
    one, other = (vectors[rng.integers(0, len(vectors), count)] for _ in range(2))
    queries = one + other * (np.arange(count)[:, np.newaxis] % 2)
    units: Float32 = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
    return units
