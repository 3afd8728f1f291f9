"""The rules about time, and about whether the run says anything. Pure.

Choices: refused is what surely lies beyond its bound: the whole interval does. What is near its bound passes, and the
report shows how near. What cannot be judged by so few calls is told, with the count that it would take.
"""

from collections.abc import Sequence

import polars as pl

from loadtest.comparison import Ratio, Timed
from loadtest.figures import ALL, OK, QUANTILES, grouped, shop_calls
from loadtest.findings import Finding, Unit, result_of
from loadtest.levels import Levels, Quantile
from loadtest.recording import Mark, RunFacts
from loadtest.resampling import interval_of

_GRACE_SECONDS = 1.0
"""A call that falls due as the run ends may be answered so much later."""
_UNSENT = "what passed before calls were sent"
_SAME_RATE = 0.1
"""Runs whose rates differ by a larger share are not compared."""


def latency(calls: pl.DataFrame, quantiles: Sequence[Timed], levels: Levels) -> list[Finding]:
    """Every quantile of every method that has a level."""
    known = {(one.method, one.quantile): one for one in quantiles if not one.stage}
    found = []
    for method, those in grouped(shop_calls(calls)).items():
        answered = those.filter(OK).height
        for quantile in QUANTILES:
            bound = levels.latency_of(method, quantile)
            if bound is not None:
                one = known.get((method, quantile))
                found.append(
                    _latency(one, bound, levels) if one else _too_few(method, quantile, bound, answered, levels)
                )
    return found


def _latency(one: Timed, bound: float, levels: Levels) -> Finding:
    interval = interval_of(one.draws, levels.confidence)
    return Finding(
        check="latency",
        method=one.method,
        figure=one.quantile,
        value=one.ms,
        unit="ms",
        bound=bound,
        interval=interval,
        calls=one.calls,
        result=result_of(failed=one.ms > bound and interval[0] > bound),
    )


def _too_few(method: str, quantile: Quantile, bound: float, answered: int, levels: Levels) -> Finding:
    needed = levels.calls_needed(1 - QUANTILES[quantile])
    return Finding(
        check="latency",
        method=method,
        figure=quantile,
        value=None,
        unit="ms",
        bound=bound,
        calls=answered,
        result="told",
        note=f"not judged: it takes {needed:,} answered calls, there were {answered:,}",
    )


def regression(compared: Sequence[Ratio], levels: Levels) -> list[Finding]:
    """Every quantile of every method that both runs have; stages are for the cause."""
    return [_regression(one, levels) for one in compared if not one.stage and one.quantile in levels.regression]


def _regression(one: Ratio, levels: Levels) -> Finding:
    tolerance = levels.regression[one.quantile]
    risen = one.now_ms - one.then_ms > tolerance.rise_ms
    return Finding(
        check="regression",
        method=one.method,
        figure=f"{one.quantile} over the accepted run's",
        value=one.ratio,
        unit="times",
        bound=tolerance.ratio,
        interval=one.interval,
        calls=one.calls,
        result=result_of(failed=risen and one.interval[0] > tolerance.ratio),
        note=f"{one.then_ms:.3g} ms became {one.now_ms:.3g} ms; less than {tolerance.rise_ms:g} ms more never refuses",
    )


def comparable(facts: RunFacts, accepted: RunFacts) -> str:
    """Why two runs cannot be compared; empty where they can."""
    for name in ("environment", "profile"):
        mine, theirs = getattr(facts, name), getattr(accepted, name)
        if mine != theirs:
            return f"the accepted run is of {name} {theirs}, this one of {mine}"
    rate, before = facts.visits_per_second, accepted.visits_per_second
    if abs(rate - before) > _SAME_RATE * before:
        return f"the accepted run let in {before:g} visits a second, this one {rate:g}"
    return ""


def throughput(calls: pl.DataFrame, facts: RunFacts, levels: Levels) -> list[Finding]:
    """Whether what fell due was answered while the run lasted, or piled up."""
    shop = shop_calls(calls).filter(pl.col("due_s") <= facts.seconds)
    if shop.is_empty():
        return []
    answered = shop.filter(OK & (pl.col("done_s") <= facts.seconds + _GRACE_SECONDS))
    share = answered.height / shop.height
    return [
        Finding(
            check="throughput",
            method=ALL,
            figure="answered in time",
            value=share,
            unit="share",
            bound=levels.throughput_share,
            calls=shop.height,
            result=result_of(failed=share < levels.throughput_share),
            note=f"{answered.height:,} of the {shop.height:,} that fell due were answered before the run ended",
        )
    ]


def recovery(marks: Sequence[Mark], levels: Levels) -> list[Finding]:
    """How long the deployment stayed the poorer for each fault."""
    return [
        Finding(
            check="recovery",
            method=mark.what,
            figure="recovery",
            value=mark.recovered_s,
            unit="s",
            bound=levels.recovery_s,
            result="told" if mark.recovered_s is None else result_of(failed=mark.recovered_s > levels.recovery_s),
            note=f"done to the deployment from {mark.at_s:.0f} s to {mark.until_s:.0f} s",
        )
        for mark in marks
    ]


def generator(calls: pl.DataFrame, facts: RunFacts, levels: Levels) -> list[Finding]:
    """Whether the generator kept up."""
    limits = levels.generator
    shop = shop_calls(calls)
    waited, unsent = (float((shop[end] - shop["due_s"]).to_numpy().sum()) for end in ("done_s", "sent_s"))
    busy, late = facts.generator_cpu_share, facts.late_p99_ms
    return [
        _of_generator("share of a core", busy, "share", limits.cpu_share, "the busiest worker's"),
        _of_generator("lateness p99", late, "ms", limits.late_p99_ms, "from when an arrival was due to its start"),
        _of_generator("share of all waiting", unsent / (waited or 1.0), "share", limits.waiting_share, _UNSENT),
    ]


def _of_generator(figure: str, value: float, unit: Unit, bound: float, note: str) -> Finding:
    return Finding(
        check="generator",
        method="the generator's",
        figure=figure,
        value=value,
        unit=unit,
        bound=bound,
        result=result_of(failed=value > bound),
        note=note,
    )


def measured(calls: pl.DataFrame) -> list[Finding]:
    """Whether there is anything to judge."""
    if not shop_calls(calls).is_empty():
        return []
    note = "no call fell due after the warm-up and outside faults"
    return [Finding(check="measured", method=ALL, figure="count", value=None, unit="share", result="failed", note=note)]
