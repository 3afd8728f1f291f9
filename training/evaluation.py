"""Offline evaluation: full ranking, the list a request would have been answered with, beside baselines on the same
shoppers.

Two tasks: `all` items, and `new` ones, where what the shopper had engaged with before is masked for every system.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np

from features.vocab import Rows
from services.ranking.ordering import NO_ROWS, CandidateLimits, Interest, OrderingModel, RankedList, Ranker, recommend
from training.baselines import top
from training.metrics import Doubles, bootstrap_interval, coverage_at, ndcg_at, recall_at
from training.progress import track
from training.queries import Query, Window

Comparison: TypeAlias = dict[str, dict[str, dict[str, object]]]
"""task → system → metric → value."""

K = 20
TASKS = ("all", "new")


class Scores(Protocol):
    """A baseline."""

    def scores(self, user_id: str) -> Doubles:
        """Score of every item for one shopper, float64 [N]."""


def excluded_rows(query: Query, task: str) -> Rows:
    """What a task masks for one shopper."""
    return query.seen if task == "new" else NO_ROWS


def model_lists(
    model: OrderingModel,
    ranker: Ranker,
    window: Window,
    interests: Sequence[Interest],
    limits: CandidateLimits,
    task: str,
) -> list[RankedList]:
    """The served list of every query, by the code that serves."""
    pairs = list(zip(window.queries, interests, strict=True))
    return [
        recommend(model, ranker, query.shopper, interest, limits, window.now_us, excluded_rows(query, task)).head(K)
        for query, interest in track(pairs, f"lists: {task}")
    ]


def baseline_lists(baseline: Scores, queries: Sequence[Query], task: str) -> list[Rows]:
    """A baseline's list of every query."""
    return [top(baseline.scores(query.user_id), K, excluded_rows(query, task)) for query in queries]


def per_shopper(lists: Sequence[Rows], queries: Sequence[Query], task: str) -> dict[str, Doubles]:
    """Recall@K and NDCG@K of every query, float64 [U]; NaN where the task leaves a shopper no truth."""
    truths = [np.setdiff1d(query.truth, excluded_rows(query, task)) for query in queries]
    pairs = list(zip(lists, truths, strict=True))
    return {
        f"recall@{K}": np.array([recall_at(rows, truth, K) for rows, truth in pairs]),
        f"ndcg@{K}": np.array([ndcg_at(rows, truth, K) for rows, truth in pairs]),
    }


def summary(values: Mapping[str, Doubles], lists: Sequence[Rows], item_count: int, seed: int) -> dict[str, object]:
    """Means over shoppers with a truth, their bootstrap intervals, and coverage."""
    result: dict[str, object] = {}
    for name, column in values.items():
        known = column[~np.isnan(column)]
        result[name] = float(known.mean()) if known.size else None
        if known.size:
            result[f"{name}_interval"] = bootstrap_interval(known, np.random.default_rng(seed))
        result["shoppers"] = int(known.size)
    result[f"coverage@{K}"] = coverage_at(lists, K, item_count)
    return result


def compare(
    model: OrderingModel,
    ranker: Ranker,
    window: Window,
    interests: Sequence[Interest],
    limits: CandidateLimits,
    baselines: Mapping[str, Scores],
    seed: int,
) -> Comparison:
    """Metrics per task and system: the served list as `aisle`, and every baseline."""
    result: Comparison = {}
    count = len(window.items.vocabulary)
    for task in TASKS:
        served = [ranked.rows for ranked in model_lists(model, ranker, window, interests, limits, task)]
        systems = {"aisle": served}
        systems |= {name: baseline_lists(baseline, window.queries, task) for name, baseline in baselines.items()}
        result[task] = {
            name: summary(per_shopper(rows, window.queries, task), rows, count, seed) for name, rows in systems.items()
        }
    return result
