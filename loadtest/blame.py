"""Which stage of the service made calls slow. Pure.

Choices:
- Where the typical call became slow, stages are told apart by their fastest tenth: work that was added is in every
  call, while waiting for others (a busy event loop, a busy core) is not in the lucky ones. Where only the tail is slow,
  by the median of the calls in that tail.
- With an accepted run the stage that grew most is to blame, without one the stage that takes most.
- `queue` and `outside` are where calls wait, not why: the stage of work that grew is named beside them.
"""

from dataclasses import dataclass

import polars as pl

from loadtest.figures import OK, OUTSIDE, QUANTILES, TOTAL, WAITED_MS, stage_times
from loadtest.levels import Quantile

WAITING = ("queue", OUTSIDE)
_FASTEST = 0.1
_GREW = 1.5
_LEAST_MS = 1.0
"""Where calls wait, a stage of work is named that took 1.5 times the accepted run's and so much more."""

Profile = dict[str, float]
"""Stage → milliseconds; `total` is what the caller waited."""


@dataclass(frozen=True, slots=True)
class Blame:
    """A stage, and what it took."""

    stage: str
    waiting: str
    """Where calls wait because of it; empty where they wait in the stage itself."""
    text: str


def blame(now: pl.DataFrame, then: pl.DataFrame | None, quantile: Quantile) -> Blame | None:
    """The stage to blame for a slow quantile; None where replies tell no stages.

    Args:
        now: CALLS of one method.
        then: those of the accepted run, None without one.
        quantile: the slow one; the lowest of several.
    """
    profile, before, which = _profiles(now, then, quantile)
    stages = [stage for stage in profile if stage != TOTAL]
    if not stages:
        return None
    worst = max(stages, key=lambda stage: _rise(stage, profile, before))
    text = f"{_change(worst, profile, before, known=then is not None)} in {which}"
    work = [stage for stage in stages if stage not in WAITING]
    if worst not in WAITING or not work:
        return Blame(worst, "", f"stage {worst}, {text}")
    lead = max(work, key=lambda stage: _rise(stage, profile, before))
    rise, was = _rise(lead, profile, before), before.get(lead, 0.0)
    if rise < _LEAST_MS or profile[lead] < _GREW * was:
        return Blame(worst, "", f"stage {worst}, {text}; no stage of work took longer")
    behind = _change(lead, profile, before, known=then is not None)
    return Blame(lead, worst, f"stage {lead}, {behind}; calls wait for it in {worst}, {text}")


def _profiles(now: pl.DataFrame, then: pl.DataFrame | None, quantile: Quantile) -> tuple[Profile, Profile, str]:
    """Of both runs (nothing without an accepted one), and of which calls, in words."""
    if quantile == "p50":
        fast, was = _fastest(now), _fastest(then)
        work = [_rise(stage, fast, was) for stage in fast if stage not in (TOTAL, *WAITING)]
        if max(work, default=0.0) >= _LEAST_MS:
            return fast, was, "the fastest tenth of its calls"
    return _slowest(now, quantile), _slowest(then, quantile), f"its calls beyond {quantile}"


def _fastest(calls: pl.DataFrame | None) -> Profile:
    """The tenth percentile of every stage."""
    times = _table(calls)
    return {} if times.is_empty() else times.quantile(_FASTEST, "higher").row(0, named=True)


def _slowest(calls: pl.DataFrame | None, quantile: Quantile) -> Profile:
    """The median of every stage among the calls beyond a quantile."""
    times = _table(calls)
    if times.is_empty():
        return {}
    slow = pl.col(TOTAL) >= pl.col(TOTAL).quantile(QUANTILES[quantile], "equiprobable")
    return times.filter(slow).median().row(0, named=True)


def _table(calls: pl.DataFrame | None) -> pl.DataFrame:
    """A row per answered call, a column per stage, milliseconds; 0 where a call did not go through it."""
    if calls is None:
        return pl.DataFrame()
    waited = calls.filter(OK).with_row_index("call").select("call", waited=WAITED_MS)
    times = stage_times(calls).filter(pl.col("stage") != TOTAL).pivot("stage", index="call", values="ms")
    return waited.join(times, on="call", how="left").fill_null(0.0).drop("call").rename({"waited": TOTAL})


def _rise(stage: str, now: Profile, then: Profile) -> float:
    return now[stage] - then.get(stage, 0.0)


def _change(stage: str, now: Profile, then: Profile, *, known: bool) -> str:
    text = f"{now[stage]:.1f} ms"
    return f"{text} ({then.get(stage, 0.0):.1f} ms in the accepted run)" if known else text
