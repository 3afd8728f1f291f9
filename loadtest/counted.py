"""The rules about shares: calls that failed, events that came late or had to be sent again, replies that did without
something. Pure.

Choices:
- Errors and late events are counted and judged exactly (Clopper & Pearson 1934): each is one too many, and a burst of
  them is not excused by being one.
- Degraded replies, and calls whose events were deferred, are judged by blocks of time (resampling.py): a service is
  built to degrade for as long as a machine has a bad moment, and one such moment proves nothing.
- p99 of freshness is at most so many seconds if at most a hundredth of the events took longer; those that never showed
  took longer. So a handful of probes can be judged too.
"""

import polars as pl
from scipy.stats import binom, binomtest

from loadtest import recording
from loadtest.figures import ALL, DEFERRED, FAILED, OK, RANKED, grouped, probes, shop_calls
from loadtest.findings import Finding, result_of
from loadtest.levels import DEFAULT, Levels
from loadtest.resampling import Blocks, Flags, Interval, interval_of

FRESHNESS_FIGURE = "p99 until a list shows them"
_FRESHNESS_BEYOND = 0.01
_WRITE_EVENTS = "WriteEvents"


def errors(calls: pl.DataFrame, levels: Levels) -> list[Finding]:
    """Of all calls and of each method, faults or none."""
    shop = shop_calls(calls)
    groups = {ALL: shop, **grouped(shop)}
    return [_errors(method, those, levels) for method, those in groups.items() if not those.is_empty()]


def _errors(method: str, calls: pl.DataFrame, levels: Levels) -> Finding:
    failed, size = calls.filter(FAILED).height, calls.height
    interval, least = exactly(failed, size, levels.error_share, levels.confidence)
    return Finding(
        check="errors",
        method=method,
        figure="error share",
        value=failed / size,
        unit="share",
        bound=levels.error_share,
        interval=interval,
        calls=size,
        result=result_of(failed=failed >= least),
        note=f"{failed:,} of {size:,} calls failed, {least:,} or more refuse",
    )


def lost(calls: pl.DataFrame) -> list[Finding]:
    """Events that nobody took in: a single one is too many, however many calls there were; nothing where there is
    none, which the errors say."""
    written = calls.filter(pl.col("method") == _WRITE_EVENTS)
    count = written.filter(pl.col("code") == recording.LOST).height
    if not count:
        return []
    return [
        Finding(
            check="errors",
            method=_WRITE_EVENTS,
            figure="share of lost events",
            value=count / written.height,
            unit="share",
            bound=0.0,
            calls=written.height,
            result="failed",
            note=f"{count:,} of {written.height:,} calls were of events that nobody took in, one refuses",
        )
    ]


def exactly(hits: int, size: int, bound: float, confidence: float) -> tuple[Interval, int]:
    """The exact interval of a share of so many, and the least count whose whole interval lies beyond the bound."""
    interval = binomtest(hits, size).proportion_ci(confidence, "exact")
    least = int(binom.isf((1 - confidence) / 2, size, bound)) + 1
    return (float(interval.low), float(interval.high)), least


def freshness(calls: pl.DataFrame, levels: Levels) -> list[Finding]:
    """From an event's acknowledgement to a list; told only where the run wrote no events."""
    bound, asked = levels.freshness_p99_s, probes(calls)
    if bound is None:
        return []
    if asked.is_empty():
        return [_no_probe(bound, written=bool((calls["method"] == _WRITE_EVENTS).any()))]
    took = asked.select(s=pl.when(OK).then(pl.col("done_s") - pl.col("due_s")).otherwise(float("inf")))["s"]
    late, never = int((took > bound).sum()), int(took.is_infinite().sum())
    _, least = exactly(late, asked.height, _FRESHNESS_BEYOND, levels.confidence)
    p99 = took.quantile(1 - _FRESHNESS_BEYOND, "equiprobable")
    return [
        Finding(
            check="freshness",
            method="events",
            figure=FRESHNESS_FIGURE,
            value=p99,
            unit="s",
            bound=bound,
            calls=asked.height,
            result=result_of(failed=late >= least),
            note=f"{late} of {asked.height} probes took longer than {bound:g} s, {never} never ended ({least} refuse)",
        )
    ]


def _no_probe(bound: float, *, written: bool) -> Finding:
    return Finding(
        check="measured" if written else "freshness",
        method="events",
        figure=FRESHNESS_FIGURE,
        value=None,
        unit="s",
        bound=bound,
        result="failed" if written else "told",
        note="events were written, but no probe followed one" if written else "the run wrote no events",
    )


def degraded(calls: pl.DataFrame, levels: Levels) -> list[Finding]:
    """Of all ranked replies, every kind that has a level; of each method too, the kinds that its replies named."""
    ranked = shop_calls(calls).filter(RANKED)
    if ranked.is_empty():
        return []
    blocks = Blocks.draw(ranked["due_s"].to_numpy(), seed=2)
    found = []
    for method, those in {ALL: ranked, **grouped(ranked)}.items():
        kinds = set(those["degradations"].list.explode(empty_as_null=True).drop_nulls().to_list())
        if method == ALL:
            kinds |= set(levels.degraded) - {DEFAULT}
        name = "all ranked replies" if method == ALL else method
        for kind in sorted(kinds):
            flags = those["degradations"].list.contains(kind).to_numpy()
            found.append(_share(name, kind, those, flags, blocks, levels))
    return found


def deferred(calls: pl.DataFrame, levels: Levels) -> list[Finding]:
    """Of the calls that wrote events, those whose events had to be sent again."""
    written = calls.filter(pl.col("method") == _WRITE_EVENTS)
    if written.is_empty():
        return []
    flags = written.select(DEFERRED).to_series().to_numpy()
    blocks = Blocks.draw(written["due_s"].to_numpy(), seed=3)
    return [_share(_WRITE_EVENTS, recording.DEFERRED, written, flags, blocks, levels)]


def _share(method: str, kind: str, calls: pl.DataFrame, flags: Flags, blocks: Blocks, levels: Levels) -> Finding:
    bound = levels.degraded_of(kind)
    interval = interval_of(blocks.shares(calls["due_s"].to_numpy(), flags), levels.confidence)
    return Finding(
        check="degraded",
        method=method,
        figure=kind,
        value=float(flags.mean()),
        unit="share",
        bound=bound,
        interval=interval,
        calls=calls.height,
        result="told" if bound is None else result_of(failed=interval[0] > bound),
        note=f"{int(flags.sum()):,} of {calls.height:,}",
    )
