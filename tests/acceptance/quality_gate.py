"""Line 11 of AREA=quality: the gate lets an equal bundle through, refuses damaged ones and says by which metric, and
refuses one that raises the exposure of flagged items beyond the limit.

On the synthetic shop, where which items are flagged can be chosen; the candidates are the trained bundle with some of
its files changed and sealed anew, valid by every hash.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import polars as pl

from features.bundle import Bundle
from features.schema import Dataset
from tests.acceptance.rows import Row, holds
from tests.damaged_bundles import as_it_is, pushing, resealed, with_rankers_upside_down, with_shuffled_vectors
from tests.trained_shop import train_shop
from training.gate import judge_bundles
from training.verdict import GateLimits, Verdict

_WEEKS = 2
_BONUS = 5.0
_PUSHED = slice(10, 16)
"""Places in the order of popularity: items that are candidates of everybody, but not at the top of every list."""


def gate() -> list[Row]:
    """Line 11: what is refused, and why."""
    with tempfile.TemporaryDirectory() as folder:
        trained = train_shop(Path(folder))
        data, serving, bundles = trained.shop.dataset, trained.bundle, Path(folder) / "candidates"
        equal = _verdict(data, resealed(serving, bundles, "equal", as_it_is), serving)
        upside_down = _verdict(data, resealed(serving, bundles, "ranker", with_rankers_upside_down), serving)
        shuffled = _verdict(data, resealed(serving, bundles, "vectors", with_shuffled_vectors), serving)
        pushed = data.events["item_id"].value_counts(sort=True)["item_id"][_PUSHED].to_list()
        flagged = replace(data, items=data.items.with_columns(sensitive=pl.col("item_id").is_in(pushed)))
        exposing = _verdict(flagged, resealed(serving, bundles, "exposing", pushing(pushed, _BONUS)), serving)
    return [
        holds("an_equal_bundle_passes", value=equal.passed),
        _refused("negated_ranker_refused_for_recall", upside_down, "accuracy", "recall@20"),
        _refused("negated_ranker_refused_for_ndcg", upside_down, "accuracy", "ndcg@20"),
        _refused("shuffled_vectors_refused_for_accuracy", shuffled, "accuracy", ""),
        _refused("flagged_items_pushed_refused_for_exposure", exposing, "exposure", "flagged@20"),
    ]


def _verdict(data: Dataset, candidate: Bundle, serving: Bundle) -> Verdict:
    return judge_bundles(data, candidate, serving, _WEEKS, GateLimits(), seed=0)[0]


def _refused(name: str, verdict: Verdict, check: str, metric: str) -> Row:
    """Met where a refusal of this check names the metric; its words are the value."""
    reasons = [str(found) for found in verdict.refusals if found.check == check and found.metric.startswith(metric)]
    return Row(
        name, reasons[0] if reasons else "not refused", f"refused, naming {check} {metric}".strip(), bool(reasons)
    )
