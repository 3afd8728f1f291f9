"""Systems beside each other on the same shoppers: every metric with its interval, paired against the best baseline.

Protocol-neutral: gets ordered lists of rows, what was asked and what is known of the items; where they come from is the
caller's business.

Choices:
- Accuracy is a mean over shoppers for whom the task leaves a truth; what lists do beside it is a mean over all of them.
- All systems share their resamples of shoppers, so that differences between them are paired.
- The best baseline of a task is the one with the highest headline metric on these very shoppers: the hardest to beat.

U shoppers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from features.vocab import Rows
from training.exposure import Exposure, exposure_of
from training.list_metrics import coverage_at
from training.metrics import Flags, Paired, paired_bootstrap
from training.resampled import Resampled
from training.shopper_metrics import KS, Asked, Columns, ItemFacts, accuracy_columns, list_columns, truths_of
from training.slices import MIN_SHOPPERS, Grouping

Comparison: TypeAlias = dict[str, dict[str, dict[str, Any]]]
"""task → system → metric → value; `METRIC_interval` beside a metric, None where it has no meaning."""

HEADLINE = "recall@20"
OURS = "aisle"


@dataclass(frozen=True, slots=True)
class Slice:
    """One group of shoppers under one task, told in the headline metric."""

    dimension: str
    group: str
    shoppers: int
    """For whom the task leaves a truth."""
    too_small: bool
    """Fewer than MIN_SHOPPERS: means without intervals, nothing to conclude from."""
    systems: dict[str, dict[str, Any]]
    """System → `mean`, and `interval` unless too small."""
    paired: Paired | None
    """Ours as a against the task's best baseline as b; None without a baseline or where too small."""


@dataclass(frozen=True, slots=True)
class TaskJudgement:
    """Everything about one task."""

    systems: dict[str, dict[str, Any]]
    """System → metric → value, `…_interval`, and `shoppers`, the number for whom the task leaves a truth."""
    best: str | None
    """The best baseline; None without one."""
    against_best: dict[str, dict[str, Paired]]
    """System → accuracy metric → the system as a against the best baseline as b."""
    slices: list[Slice]
    exposure: Exposure


@dataclass(frozen=True, slots=True)
class Judgement:
    """All tasks; the table of shoppers is for whoever compares two runs shopper by shopper."""

    headline: str
    ours: str
    by_task: dict[str, TaskJudgement]
    shoppers: pl.DataFrame
    """task, system, user_id, every metric (null where it has no meaning), and a column `group: …` per grouping."""

    @property
    def tasks(self) -> Comparison:
        """The means alone."""
        return {task: found.systems for task, found in self.by_task.items()}

    def beside(self, other: "Judgement") -> "Judgement":
        """This one's tasks and those of another of the same shoppers."""
        shoppers = pl.concat([self.shoppers, other.shoppers])
        return Judgement(self.headline, self.ours, {**self.by_task, **other.by_task}, shoppers)

    def as_json(self) -> dict[str, Any]:
        """Everything but the table of shoppers: `tasks` as above, the rest of each task under `details`; null in place
        of what is not a number."""
        details = {task: asdict(found) for task, found in self.by_task.items()}
        for found in details.values():
            del found["systems"]
        found_json = {"headline": self.headline, "ours": self.ours, "tasks": self.tasks, "details": details}
        plain: dict[str, Any] = _plain(found_json)
        return plain


def judge(
    lists: Mapping[str, Mapping[str, Sequence[Rows]]],
    queries: Sequence[Asked],
    facts: ItemFacts,
    seed: int,
    *,
    cold_rows: Rows | None = None,
    groupings: Sequence[Grouping] = (),
    ks: Sequence[int] = KS,
    headline: str = HEADLINE,
    ours: str = OURS,
) -> Judgement:
    """Judge every system on every task.

    Args:
        lists: Task → system → a list of rows per query, best first, ties broken.
        queries: The U shoppers.
        facts: Of the items.
        seed: Of the resampling.
        cold_rows: What counts under the task `cold`.
        groupings: Of the same U shoppers, for slices.
        ks: List lengths; what is beside accuracy is told at the longest.
        headline: The metric that names the best baseline and that slices are told in.
        ours: The system that slices set against the best baseline; all others are baselines.
    """
    by_task: dict[str, TaskJudgement] = {}
    tables: list[pl.DataFrame] = []
    for task, systems in lists.items():
        truths = truths_of(queries, task, cold_rows)
        right = {name: accuracy_columns(rows, truths, ks) for name, rows in systems.items()}
        shape = {name: list_columns(rows, queries, facts, max(ks)) for name, rows in systems.items()}
        asked = np.array([truth.size > 0 for truth in truths], dtype=np.bool_)
        accuracy, beside = Resampled.draw(right, asked, seed), Resampled.draw(shape, np.ones_like(asked), seed)
        best = accuracy.best(headline, besides=ours)
        by_task[task] = TaskJudgement(
            systems={
                name: accuracy.summary(name)
                | {"shoppers": accuracy.shoppers}
                | {f"coverage@{k}": coverage_at(rows, k, facts.count) for k in ks}
                | beside.summary(name)
                for name, rows in systems.items()
            },
            best=best,
            against_best={name: accuracy.against(name, best) for name in systems} if best else {},
            slices=_slices(right, asked, groupings, headline, ours, best, seed),
            exposure=exposure_of(systems, queries, facts, max(ks), ours),
        )
        tables.extend(_shopper_table(task, name, queries, right[name] | shape[name], groupings) for name in systems)
    return Judgement(headline, ours, by_task, pl.concat(tables) if tables else pl.DataFrame())


def _slices(
    columns: Mapping[str, Columns],
    asked: Flags,
    groupings: Sequence[Grouping],
    headline: str,
    ours: str,
    best: str | None,
    seed: int,
) -> list[Slice]:
    """Of every group with at least one shopper."""
    told = {name: {headline: of_system[headline]} for name, of_system in columns.items()}
    found = []
    for grouping in groupings:
        for code, group in enumerate(grouping.groups):
            kept = asked & (grouping.codes == code)
            if kept.any():
                resampled = Resampled.draw(told, kept, seed)
                found.append(_slice(resampled, grouping.dimension, group, headline, ours, best))
    return found


def _slice(resampled: Resampled, dimension: str, group: str, headline: str, ours: str, best: str | None) -> Slice:
    too_small = resampled.shoppers < MIN_SHOPPERS
    systems = {}
    for name in resampled.systems:
        summary = resampled.summary(name)
        systems[name] = {"mean": summary[headline]}
        if not too_small:
            systems[name]["interval"] = summary[f"{headline}_interval"]
    pair = None
    if not too_small and best is not None and ours in systems:
        pair = resampled.against(ours, best)[headline]
    return Slice(dimension, group, resampled.shoppers, too_small, systems, pair)


def _shopper_table(
    task: str, system: str, queries: Sequence[Asked], columns: Columns, groupings: Sequence[Grouping]
) -> pl.DataFrame:
    groups = {f"group: {grouping.dimension}": [grouping.groups[c] for c in grouping.codes] for grouping in groupings}
    table = pl.DataFrame({"user_id": [query.user_id for query in queries], **columns, **groups})
    return table.select(pl.lit(task).alias("task"), pl.lit(system).alias("system"), pl.all()).fill_nan(None)


def compare_shoppers(
    a: pl.DataFrame, b: pl.DataFrame, task: str, metric: str, rng: np.random.Generator, system: str = OURS
) -> Paired:
    """Two runs' tables of shoppers, paired by user id.

    Raises:
        ValueError: if no shopper stands in both tables with a value.
    """
    of_run = [run.filter(task=task, system=system).select("user_id", metric) for run in (a, b)]
    both = of_run[0].join(of_run[1], on="user_id", suffix="_b").sort("user_id")
    columns = [both[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in (metric, f"{metric}_b")]
    return paired_bootstrap(columns[0], columns[1], rng)


def _plain(value: Any) -> Any:
    """Only what JSON knows."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
