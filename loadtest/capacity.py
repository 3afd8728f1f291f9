"""The knee: the highest rate of visits that a deployment takes without falling behind.

Choices: a rate is measured by a run at that constant rate and is healthy while calls are answered as fast as they come,
few fail, and the slow ones are not slower by far than a call to an idle server: a queue that grows shows in one of the
three. The rate doubles until it is not healthy, then the gap is halved (on a logarithmic scale) until it is narrow.
A rate that looks unhealthy is measured a second time, since a pause of the machine looks the same. Knows neither
Locust nor processes: `measure` makes the runs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from loadtest.figures import FAILED, OK

GROWTH = 2.0
_DOWN_MAX = 8
"""How often the first rate is halved in search of a healthy one."""
_CALLS_BEHIND = 3
"""By how many calls the answers may be behind the questions whatever the rate: some are always on their way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One run at a constant rate."""

    rate: float
    """Visits a second, as asked for."""
    due: int
    """Calls that should have been made within the judged seconds."""
    answered: int
    """Calls that were answered well within the judged seconds."""
    seconds: float
    """How long was judged."""
    failed: int
    p50_ms: float
    p99_ms: float
    """Of the calls that were answered well; infinite where none was."""
    generator_is_the_limit: bool = False
    """Whether the generator could not make the calls in time: then the run says nothing of the server."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """What a rate must keep to."""

    error_share_max: float = 0.01
    p99_over_unloaded_p50_max: float = 30.0
    """p99 over the p50 of the lowest rate: a queue in front of a busy server makes this grow without end."""
    answered_share_min: float = 0.98
    """Answers over questions, both within the judged seconds."""

    def complaint(self, step: Step, unloaded_p50_ms: float) -> str | None:
        """Why the rate is not healthy; None where it is."""
        if step.failed > self.error_share_max * step.due:
            return f"{step.failed} of {step.due} calls failed"
        if step.due - step.answered > (1.0 - self.answered_share_min) * step.due + _CALLS_BEHIND:
            return f"{step.answered} answers to {step.due} calls"
        if step.p99_ms > self.p99_over_unloaded_p50_max * unloaded_p50_ms:
            return f"p99 of {step.p99_ms:.1f} ms, {step.p99_ms / unloaded_p50_ms:.0f} times the unloaded p50"
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Knee:
    """What the search found."""

    rate: float
    """Visits a second: the highest healthy rate; 0 where none was."""
    calls_per_second: float
    """What was answered at that rate."""
    unhealthy_rate: float | None
    """The lowest rate that was too much; None where none was."""
    why: str
    """What was wrong at that rate, or why the search ended without one."""
    steps: tuple[Step, ...] = field(repr=False)
    """All runs in their order."""


def step_of(calls: pl.DataFrame, rate: float, from_s: float, until_s: float, *, generator_is_the_limit: bool) -> Step:
    """What the seconds from `from_s` until `until_s` of a run's CALLS say."""
    due = calls.filter(pl.col("due_s").is_between(from_s, until_s, closed="left"))
    done = calls.filter(pl.col("done_s").is_between(from_s, until_s, closed="left") & OK)
    good = due.filter(OK).select((pl.col("done_s") - pl.col("due_s")) * 1e3).to_series()
    return Step(
        rate=rate,
        due=due.height,
        answered=done.height,
        seconds=until_s - from_s,
        failed=due.filter(FAILED).height,
        p50_ms=_quantile(good, 0.5),
        p99_ms=_quantile(good, 0.99),
        generator_is_the_limit=generator_is_the_limit,
    )


def find_knee(
    measure: Callable[[float], Step],
    first_rate: float,
    *,
    health: Health | None = None,
    resolution: float = 1.05,
    rate_max: float = math.inf,
) -> Knee:
    """Search for the knee.

    Args:
        measure: Makes a run at a rate, visits a second.
        first_rate: Where to begin, visits a second: so low that the server is idle most of the time, since the p50 of
            the lowest rate is taken for that of an idle server.
        health: What a rate must keep to.
        resolution: The search ends when the lowest unhealthy rate is at most so many times the knee; above 1.
        rate_max: The search ends at this rate, healthy or not.
    """
    if first_rate <= 0 or resolution <= 1:
        raise ValueError(f"first_rate {first_rate:g} must be above 0 and resolution {resolution:g} above 1")
    search = _Search(measure, health or Health())
    low, high, rate = 0.0, math.inf, min(first_rate, rate_max)
    while True:
        healthy = search.is_healthy(rate)
        if search.generator_is_the_limit:
            break
        low, high = (rate, high) if healthy else (low, rate)
        if low >= rate_max or high <= low * resolution or high < first_rate / GROWTH**_DOWN_MAX:
            break
        rate = _next_rate(low, high, rate_max)
    return search.knee(low, high)


def _next_rate(low: float, high: float, rate_max: float) -> float:
    if math.isinf(high):
        return min(low * GROWTH, rate_max)
    return math.sqrt(low * high) if low else high / GROWTH


class _Search:
    """The runs made so far and what was wrong at each rate."""

    def __init__(self, measure: Callable[[float], Step], health: Health) -> None:
        self._measure, self._health = measure, health
        self._steps: list[Step] = []
        self._complaints: dict[float, str] = {}

    @property
    def generator_is_the_limit(self) -> bool:
        return bool(self._steps) and self._steps[-1].generator_is_the_limit

    def is_healthy(self, rate: float) -> bool:
        for _ in range(2):
            self._steps.append(self._measure(rate))
            unloaded = min(self._steps, key=lambda step: step.rate)
            complaint = self._health.complaint(self._steps[-1], unloaded.p50_ms)
            if complaint is None:
                return True
        self._complaints[rate] = complaint or ""
        return False

    def knee(self, low: float, high: float) -> Knee:
        best = [step for step in self._steps if step.rate == low]
        why = self._complaints.get(high, "the highest rate that was asked for is healthy")
        if self.generator_is_the_limit:
            why = f"at {self._steps[-1].rate:.1f} visits/s the generator is what is measured: give it more workers"
        return Knee(
            rate=low,
            calls_per_second=best[-1].answered / best[-1].seconds if best else 0.0,
            unhealthy_rate=None if math.isinf(high) else high,
            why=why,
            steps=tuple(self._steps),
        )


def _quantile(values: pl.Series, quantile: float) -> float:
    found = values.quantile(quantile, "linear")
    return math.inf if found is None else float(found)
