"""One figure of a run and what became of it, in fields and in words. Knows no rule."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isinf, isnan
from typing import Literal, TypeAlias

from loadtest.resampling import Interval

Check: TypeAlias = Literal[
    "generator", "measured", "errors", "freshness", "degraded", "recovery", "latency", "regression", "throughput"
]
Result: TypeAlias = Literal["passed", "failed", "told"]
Unit: TypeAlias = Literal["ms", "s", "share", "times"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One figure and what became of it."""

    check: Check
    method: str
    """Of which calls; words where it is no method."""
    figure: str
    """`p99`, `error share`, `STALE_FEATURES`."""
    value: float | None
    """None where nothing could be measured."""
    unit: Unit
    bound: float | None = None
    """None where nothing was promised."""
    interval: Interval | None = None
    calls: int = 0
    """By how many observations."""
    result: Result
    note: str = ""
    """Why it is only told, or what the figures do not say."""

    def __str__(self) -> str:
        """The finding as a sentence, without its full stop."""
        return _SENTENCES[self.check](self)


def _bounded(finding: Finding, verb: str) -> str:
    least = "at least" if finding.check == "throughput" else "at most"
    return f"{verb} {said(finding.value, finding.unit)}, {least} {said(finding.bound, finding.unit)} is asked for"


def _regression(finding: Finding) -> str:
    text = f"{finding.method} {finding.figure} by {said(finding.value, 'times')}"
    return f"{text}, at most {said(finding.bound, 'times')} is let pass: {finding.note}"


_SENTENCES: dict[Check, Callable[[Finding], str]] = {
    "generator": lambda one: f"the generator's {one.figure} {_bounded(one, 'was')}",
    "measured": lambda one: one.note,
    "errors": lambda one: f"of {one.method} {said(one.value, 'share')} failed, at most {said(one.bound, 'share')} may",
    "freshness": lambda one: f"what shoppers do reaches their lists too late: {one.note}",
    "degraded": lambda one: f"{one.figure}: {one.method} that say so {_bounded(one, 'are')}",
    "recovery": lambda one: f"after {one.method} the recovery {_bounded(one, 'took')}",
    "latency": lambda one: f"{one.method} {one.figure} {_bounded(one, 'is')}",
    "regression": _regression,
    "throughput": lambda one: f"of {one.method} the share that was answered in time {_bounded(one, 'is')}",
}


def result_of(*, failed: bool) -> Result:
    """Of a figure that was judged."""
    return "failed" if failed else "passed"


def said(value: float | None, unit: str) -> str:
    """A figure for people."""
    if value is None or isnan(value):
        return "nothing"
    if isinf(value):
        return "never"
    if unit == "share":
        return f"{100 * value:.3g} %"
    if unit == "times":
        return f"{value:.2f} times"
    return f"{value:.3g} {unit}" if value < 100 else f"{value:,.0f} {unit}"
