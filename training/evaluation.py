"""Offline evaluation: full ranking, the list a request would have been answered with, beside baselines on the same
shoppers, items and masks.

Knows how lists come about; what they are worth is judgement's business.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from features.vocab import NO_ROWS, Rows
from services.ranking.ordering import (
    CandidateLimits,
    Interest,
    Mask,
    OrderingModel,
    RankedList,
    Ranker,
    Rankers,
    mask_without,
    recommend,
)
from training.baselines import top
from training.judgement import HEADLINE, OURS, Comparison, Judgement, judge
from training.metrics import Doubles
from training.progress import track
from training.queries import Query, Window
from training.shopper_metrics import ALL, COLD, DRAWN, NEW, ItemFacts
from training.slices import Grouping

K = 20
"""Length of the lists."""
TASKS = (ALL, NEW)


class Scores(Protocol):
    """A baseline."""

    def scores(self, user_id: str) -> Doubles:
        """Score of every item for one shopper, float64 [N]."""


def excluded_rows(query: Query, task: str) -> Rows:
    """What a task masks for one shopper."""
    return NO_ROWS if task in (ALL, DRAWN) else query.seen


def ranker_of(rankers: Rankers, task: str) -> Ranker:
    """The one that answers a task."""
    return rankers.all_items if task in (ALL, DRAWN) else rankers.new_items


def model_lists(
    model: OrderingModel,
    rankers: Rankers,
    window: Window,
    interests: Sequence[Interest],
    limits: CandidateLimits,
    task: str,
    among: Sequence[Mask] | None = None,
) -> list[RankedList]:
    """The served list of every query, by the code that serves; of the rows in its mask bool [N] only, None: of all."""
    masks: Sequence[Mask | None] = among or [None] * len(window.queries)
    triples = list(zip(window.queries, interests, masks, strict=True))
    return [
        recommend(
            model,
            ranker_of(rankers, task),
            query.shopper,
            interest,
            limits,
            query.now_us,
            mask_without(mask, excluded_rows(query, task), model.item_count),
        ).head(K)
        for query, interest, mask in track(triples, f"lists: {task}")
    ]


def baseline_lists(
    baseline: Scores, queries: Sequence[Query], tasks: Sequence[str] = TASKS, name: str = "baseline"
) -> dict[str, list[Rows]]:
    """Task → a baseline's list of every query; scored once for all tasks."""
    found: dict[str, list[Rows]] = {task: [] for task in tasks}
    for query in track(queries, f"lists: {name}"):
        scores = baseline.scores(query.user_id)
        for task in tasks:
            found[task].append(top(scores, K, excluded_rows(query, task)))
    return found


def judge_model(
    model: OrderingModel,
    rankers: Rankers,
    window: Window,
    interests: Sequence[Interest],
    limits: CandidateLimits,
    baselines: Mapping[str, Mapping[str, Scores]],
    seed: int,
    *,
    facts: ItemFacts | None = None,
    cold_rows: Rows | None = None,
    groupings: Sequence[Grouping] = (),
    headline: str = HEADLINE,
) -> Judgement:
    """The served list as `aisle` beside every baseline.

    Args:
        model: The bundle in memory.
        rankers: The same bundle's.
        window: Queries against it.
        interests: Of the window's queries.
        limits: Of candidates.
        baselines: Task → name they are told under → baseline, tuned for that task or the same for both.
        seed: Of the resampling.
        facts: Of the model's items; None measures accuracy and coverage alone.
        cold_rows: Adds the task `cold`, in which only these count.
        groupings: Of the window's queries, for slices.
        headline: The metric that names the best baseline.
    """
    lists: dict[str, dict[str, list[Rows]]] = {
        task: {OURS: [ranked.rows for ranked in model_lists(model, rankers, window, interests, limits, task)]}
        for task in TASKS
    }
    for name, baseline, tasks in _once(baselines):
        for task, of_task in baseline_lists(baseline, window.queries, tasks, name).items():
            lists[task][name] = of_task
    if cold_rows is not None:
        lists[COLD] = lists[NEW]
    known = facts or ItemFacts(count=len(window.items.vocabulary))
    return judge(lists, window.queries, known, seed, cold_rows=cold_rows, groupings=groupings, headline=headline)


def compare(
    model: OrderingModel,
    rankers: Rankers,
    window: Window,
    interests: Sequence[Interest],
    limits: CandidateLimits,
    baselines: Mapping[str, Scores],
    seed: int,
) -> Comparison:
    """The means and intervals of `judge_model`, accuracy and coverage alone."""
    of_tasks = dict.fromkeys(TASKS, baselines)
    return judge_model(model, rankers, window, interests, limits, of_tasks, seed).tasks


def _once(baselines: Mapping[str, Mapping[str, Scores]]) -> list[tuple[str, Scores, list[str]]]:
    """Every distinct baseline with its name and the tasks it serves."""
    found: dict[tuple[str, int], tuple[str, Scores, list[str]]] = {}
    for task in TASKS:
        for name, baseline in baselines[task].items():
            found.setdefault((name, id(baseline)), (name, baseline, []))[2].append(task)
    return list(found.values())
