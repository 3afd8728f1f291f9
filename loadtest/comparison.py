"""A run beside the last accepted one: ratios of quantiles, per method and stage, with intervals. Pure.

Choices: both runs are resampled on their own, since nothing pairs their calls; a ratio is told wherever both runs have
the calls for it, and whether it is a regression is for the rules to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from loadtest.figures import OK, QUANTILES, WAITED_MS, grouped, shop_calls, stage_times
from loadtest.levels import Levels, Quantile
from loadtest.resampling import Blocks, Doubles, Interval, interval_of

_SEEDS = {"run": 0, "accepted": 1}


@dataclass(frozen=True, slots=True)
class Timed:
    """One quantile of a method, or of a stage of its replies, and its resamples."""

    method: str
    stage: str
    """Empty for the call as a whole."""
    quantile: Quantile
    ms: float
    calls: int
    draws: Doubles
    """[R]."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A quantile in two runs."""

    method: str
    stage: str
    quantile: Quantile
    now_ms: float
    then_ms: float
    calls: int
    """Of the run that has fewer."""
    ratio: float
    interval: Interval


def timed(calls: pl.DataFrame, levels: Levels, run: str = "run") -> list[Timed]:
    """Every quantile that has enough calls.

    Args:
        calls: CALLS.
        levels: say how many are enough.
        run: `run` or `accepted`; the two draw differently.
    """
    shop = shop_calls(calls)
    if shop.is_empty():
        return []
    blocks = Blocks.draw(shop["due_s"].to_numpy(), _SEEDS[run])
    found: list[Timed] = []
    for method, those in grouped(shop).items():
        whole = those.filter(OK).select("due_s", stage=pl.lit(""), ms=WAITED_MS)
        times = pl.concat([whole, stage_times(those).select("due_s", "stage", "ms")])
        for (stage,), part in sorted(times.group_by("stage"), key=lambda group: str(group[0][0])):
            found += _of_one(method, str(stage), part, blocks, levels)
    return found


def ratios(now: list[Timed], then: list[Timed], confidence: float) -> list[Ratio]:
    """Of what both runs have."""
    before = {(one.method, one.stage, one.quantile): one for one in then}
    pairs = [(one, before.get((one.method, one.stage, one.quantile))) for one in now]
    return [_ratio(one, other, confidence) for one, other in pairs if other is not None]


def _of_one(method: str, stage: str, times: pl.DataFrame, blocks: Blocks, levels: Levels) -> list[Timed]:
    wanted: Mapping[Quantile, float] = {
        name: share for name, share in QUANTILES.items() if times.height >= levels.calls_needed(1 - share)
    }
    if not wanted:
        return []
    ms = times["ms"].to_numpy()
    draws = blocks.quantiles(times["due_s"].to_numpy(), ms, list(wanted.values()))
    values = np.quantile(ms, list(wanted.values()), method="inverted_cdf")
    return [
        Timed(method, stage, name, float(values[place]), times.height, draws[:, place])
        for place, name in enumerate(wanted)
    ]


def _ratio(now: Timed, then: Timed, confidence: float) -> Ratio:
    least = 1e-3  # a stage that took nothing, milliseconds
    ratio = max(now.ms, least) / max(then.ms, least)
    interval = interval_of(now.draws / then.draws, confidence)
    calls = min(now.calls, then.calls)
    return Ratio(now.method, now.stage, now.quantile, now.ms, then.ms, calls, ratio, interval)
