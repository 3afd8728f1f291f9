"""Lines 1 and 2 of AREA=quality: the served list against every tuned baseline, on both data sets, by the same code."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from features.adapters import load
from features.bundle import Bundle, open_bundle, serving_path
from features.schema import Dataset
from tests.acceptance.beauty import beauty, target_on_another_day
from tests.acceptance.rows import Row, at_least
from training.evaluate import WEEKS, examine, judge_bundle, rivals_of, run_facts, seen_by
from training.judgement import OURS, Judgement
from training.metrics import Paired
from training.recipes import RECIPES
from training.report import report_of, write_report
from training.splits import Protocol
from training.train import Folders, train

STORE = Path("build/accept/quality")
BEAUTY = Path(os.environ.get("AISLE_AMAZON_BEAUTY", "build/data/amazon-beauty"))
"""Where Amazon Beauty lies, which cannot be shipped; without it its rows say met: null."""
_SEED = 0


def complete_journey() -> list[Row]:
    """Line 1: the bundle of the laptop recipe on the weeks after its cutoff."""
    data, bundle = load("complete-journey", Path("build/data")), open_bundle(serving_path(Path("bundles")))
    judgement = _judged(data, bundle, "time", k=20, name="complete-journey")
    rows = []
    for task, least in (("all", 1.05), ("new", 1.15)):
        found = judgement.by_task[task]
        pair = _against_best(judgement, task, "recall@20")
        rows += [
            Row(f"{task}_items_best_baseline", f"{found.best} {_mean(judgement, task, found.best, 20)}", "told", True),
            Row(f"{task}_items_recall@20", _mean(judgement, task, OURS, 20), "told", True),
            at_least(f"{task}_items_over_best_baseline", round(pair.ratio, 4), least),
            _above(f"{task}_items_lower_bound_over_best_baseline", pair),
        ]
    return rows


def amazon_beauty() -> list[Row]:
    """Line 2: leave-one-out, ties shuffled and as shipped, by the recipe for sequences."""
    if not BEAUTY.exists():
        return [Row("amazon_beauty", f"no data at {BEAUTY}", "the data set", None)]
    shuffled = _beauty_judged("shuffled")
    recall, ndcg = (_against_best(shuffled, "new", metric) for metric in ("recall@10", "ndcg@10"))
    other = target_on_another_day(beauty(BEAUTY, STORE, "shuffled"))
    apart = shuffled.shoppers.filter(task="new", system=OURS).filter(
        [user in other for user in shuffled.shoppers.filter(task="new", system=OURS)["user_id"]]
    )
    shipped = _beauty_judged("shipped").by_task["new"].systems[OURS]
    return [
        at_least("shuffled_recall@10", round(recall.mean_a, 4), 0.095),
        at_least("shuffled_ndcg@10", round(ndcg.mean_a, 4), 0.055),
        Row("shuffled_best_baseline", f"{shuffled.by_task['new'].best} {recall.mean_b:.4f}", "told", True),
        _above("shuffled_recall@10_lower_bound_over_best_baseline", recall),
        _above("shuffled_ndcg@10_lower_bound_over_best_baseline", ndcg),
        Row("another_day_recall@10", round(float(np.nanmean(apart["recall@10"].to_numpy())), 4), "told", True),
        Row("another_day_ndcg@10", round(float(np.nanmean(apart["ndcg@10"].to_numpy())), 4), "told", True),
        at_least("shipped_recall@10_over_published", round(shipped["recall@10"], 4), 0.0928),
        at_least("shipped_ndcg@10_over_published", round(shipped["ndcg@10"], 4), 0.0523),
    ]


def _beauty_judged(order: str) -> Judgement:
    data, version = beauty(BEAUTY, STORE, order), f"beauty-{order}"
    folders = Folders(STORE / "bundles", STORE / "checkpoints")
    if not (folders.bundles / version).exists():
        as_of = data.calendar.week_end(data.calendar.week_of(data.events["event_time"].max()))  # type: ignore[arg-type]
        train(data, RECIPES["sequence"](), as_of, _SEED, folders, version, "leave-one-out")
    named = replace(data, name=f"amazon-beauty, {order}")
    return _judged(named, open_bundle(folders.bundles / version), "leave-one-out", k=10, name=version)


def _judged(data: Dataset, bundle: Bundle, protocol: Protocol, k: int, name: str) -> Judgement:
    """The bundle beside all tuned baselines; the report page lies beside the figures."""
    examined = examine(data, bundle, WEEKS, protocol)
    rivals = rivals_of(seen_by(data, bundle, WEEKS, protocol), bundle, _SEED, examined.items, "all", k)
    judgement = judge_bundle(data, bundle, _SEED, examined, rivals, headline=f"recall@{k}")
    run = run_facts(data, bundle, _SEED, WEEKS, examined.window, rivals, protocol)
    write_report(STORE / f"{name}.json", report_of(run, judgement), judgement)
    return judgement


def _against_best(judgement: Judgement, task: str, metric: str) -> Paired:
    return judgement.by_task[task].against_best[OURS][metric]


def _mean(judgement: Judgement, task: str, system: str | None, k: int) -> float:
    return round(float(judgement.by_task[task].systems[str(system)][f"recall@{k}"]), 4)


def _above(name: str, pair: Paired) -> Row:
    """The paired interval of the difference lies above zero."""
    lower = pair.difference_interval[0]
    return Row(name, round(lower, 5), "> 0", lower > 0)
