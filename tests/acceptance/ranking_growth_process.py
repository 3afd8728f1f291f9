"""A ranking process of its own for ranking_growth: opens the bundle as serving does and answers commands, a line each.

Commands: `recommend` (a round of requests, answers the milliseconds of each), `memory` (PSS in bytes), `search` (recall
and milliseconds of the index under several filters). Answers are JSON, a line each. The store and the towers are fakes:
what they cost does not depend on how many items there are.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from aisle.v1 import recommendation_service_pb2 as messages

from features.clock import Clock, to_us
from features.encode import Floats
from features.vectors import Vectors
from services.common.towers import FloatArray, IntArray
from services.ranking.answers import House, recommend
from services.ranking.ordering import Conditions, Mask, wanted
from services.ranking.pipeline import Pipeline
from services.ranking.release import Release, open_release
from services.ranking.retriever import LocalRetriever
from services.ranking.trace import Budgets, Trace
from tests.fakes import FakeScorer, FakeUsers

ROUND = 50
"""Requests of one `recommend`."""
PAGE_SIZE = 20
QUERIES = 200
RESULTS = 100

_BLOCK = 50_000
FILTERS = {
    "unfiltered": Conditions(allow_sensitive=True),
    "any_tenth": Conditions(allow_sensitive=True, include_brands=tuple(f"brand {number}" for number in range(10))),
    "any_hundredth": Conditions(allow_sensitive=True, include_brands=("brand 0",)),
    "category_tenth": Conditions(allow_sensitive=True, include_categories=("department 0", "department 1")),
    "category_hundredth": Conditions(
        allow_sensitive=True, include_categories=tuple(f"kind {number}" for number in range(5))
    ),
}
"""Brands are spread over all items, categories hold neighbours."""


def main(bundles: Path, shoppers: Path) -> None:
    """Answer commands until there are no more."""
    release = open_release(bundles)
    users = json.loads(shoppers.read_text())
    pipeline = _pipeline(release, users)
    answered = 0
    for line in sys.stdin:
        command = line.strip()
        answer: Any = None
        if command == "recommend":
            answer = asyncio.run(_recommend(pipeline, list(users), answered))
            answered += ROUND
        elif command == "memory":
            answer = proportional_set_bytes()
        elif command == "search":
            answer = {name: _search(release, conditions) for name, conditions in FILTERS.items()}
        print(json.dumps(answer), flush=True)


def proportional_set_bytes() -> int:
    """PSS of this process: its own pages, and of shared ones its part."""
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return int(rollup.split("\nPss:")[1].split()[0]) * 1024


def _pipeline(release: Release, users: dict[str, dict[str, Any]]) -> Pipeline:
    return Pipeline(
        release=release,
        users=FakeUsers(users),
        scorer=FakeScorer(_mean_of_history, lambda _: np.zeros(128, np.float32)),
        retriever=LocalRetriever(release.model.index),
        clock=Clock(0, lambda: to_us(release.as_of)),
        budgets=Budgets(),
        stale_after_us=2**62,
    )


def _mean_of_history(history_vectors: FloatArray, event_types: IntArray, ages_days: FloatArray) -> FloatArray:
    mean: FloatArray = history_vectors[-10:].mean(axis=0, keepdims=True)
    return mean / np.linalg.norm(mean)


async def _recommend(pipeline: Pipeline, user_ids: list[str], answered: int) -> list[float]:
    """Milliseconds of each request of a round."""
    spent = []
    for number in range(answered, answered + ROUND):
        request = messages.RecommendRequest(
            user_id=user_ids[number % len(user_ids)],
            placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU,
            page_size=PAGE_SIZE,
        )
        started = time.perf_counter()
        trace = Trace(deadline=time.monotonic() + 60.0)
        reply, _ = await recommend(pipeline, request, House(), trace, lambda: "x")
        spent.append(1000.0 * (time.perf_counter() - started))
        if len(reply.results) < min(PAGE_SIZE, pipeline.release.model.item_count // 2) or reply.degradations:
            raise RuntimeError(f"request {number}: {len(reply.results)} items, {list(reply.degradations)}")
    return spent


def _search(release: Release, conditions: Conditions) -> dict[str, float]:
    """Recall against exact, the share that the filter keeps, and milliseconds of a search, median."""
    model, allowed = release.model, wanted(release.model.facets, conditions)
    queries = _queries(model.vectors)
    found, spent = [], []
    for query in queries:
        started = time.perf_counter()
        _, scores = model.index.search(query[np.newaxis], RESULTS, allowed)
        spent.append(1000.0 * (time.perf_counter() - started))
        found.append(scores[0])
    least = _exact_scores(model.vectors, queries, allowed)[:, -1:]
    recall = float((np.array(found) >= least - 1e-6).mean())
    return {"recall": recall, "kept": float(allowed.mean()), "p50_ms": float(np.median(spent))}


def _queries(vectors: Vectors) -> Floats:
    """Interests: each the mean of an item and, half the time, of another one anywhere, of length one."""
    rng = np.random.default_rng(3)
    one, other = (vectors[rng.integers(0, len(vectors), QUERIES)] for _ in range(2))
    queries = one + other * (np.arange(QUERIES)[:, np.newaxis] % 2)
    units: Floats = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
    return units


def _exact_scores(vectors: Vectors, queries: Floats, allowed: Mask) -> npt.NDArray[np.float32]:
    """The best `RESULTS` scores of each query by reading every allowed row, best first, float32 [Q, RESULTS]."""
    best = np.full((len(queries), RESULTS), -np.inf, dtype=np.float32)
    rows = np.flatnonzero(allowed)
    for start in range(0, rows.size, _BLOCK):
        scores = queries @ vectors[rows[start : start + _BLOCK]].T
        best = -np.partition(-np.hstack([best, scores]), RESULTS - 1, axis=1)[:, :RESULTS]
    return -np.sort(-best, axis=1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
