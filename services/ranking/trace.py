"""What happened on the way to one answer: time left, time spent, what it was made of and had to do without.

Knows nothing of how an answer comes about.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

STAGES = (
    "total",
    "features",
    "interest",
    "candidates",
    "retrieval",
    "queue",
    "ranking",
    "shaping",
    "explanation",
)
"""What an answer's time is spent on; `total` holds the others."""


class Degradation(IntEnum):
    """What a reply had to do without; names and numbers are those of the API."""

    INTEREST_FALLBACK = 1
    USER_FEATURES_FALLBACK = 2
    RETRIEVAL_FALLBACK = 3
    POPULARITY_ONLY = 4
    STALE_FEATURES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Budgets:
    """The most each step outside this process may take, seconds."""

    features: float = 0.05
    interest: float = 0.1
    retrieval: float = 0.05


class Step(NamedTuple):
    """One stretch of a stage; times are seconds of `time.perf_counter`."""

    stage: str
    started: float
    ended: float


@dataclass(slots=True)
class Trace:
    """What happened on the way to one answer."""

    deadline: float
    """Monotonic seconds at which the caller stops waiting."""
    bundle_version: str = ""
    """The bundle that the answer comes from."""
    recommendation_id: str = ""
    """Empty until the answer has one."""
    degradations: set[Degradation] = field(default_factory=set)
    timings_ms: dict[str, float] = field(default_factory=dict)
    """Time per stage, however often it was entered."""
    steps: list[Step] = field(default_factory=list)
    """The same, one by one, in the order in which they ended."""
    candidates: dict[int, int] = field(default_factory=dict)
    """Number of a source to how many items of the whole list, all its pages, it proposed; none of a list that was made
    for an earlier page."""
    shown: dict[int, int] = field(default_factory=dict)
    """Number of a source to how many items of the answer it proposed."""
    user_features_age_seconds: float | None = None
    """Of the shopper's stored row, on the serving clock; None without one."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage; one that is entered again goes on."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, started)

    def add(self, name: str, started: float) -> None:
        """Time spent on a stage since `started`, seconds of `time.perf_counter`, beside what it has taken before."""
        ended = time.perf_counter()
        self.timings_ms[name] = self.timings_ms.get(name, 0.0) + (ended - started) * 1000.0
        self.steps.append(Step(name, started, ended))

    def at_most(self, budget_seconds: float) -> float:
        """The budget, or half of what is left if that is less: the answer must still be put together afterwards."""
        return max(min(budget_seconds, (self.deadline - time.monotonic()) / 2.0), 0.001)


def tally(counts: dict[int, int], sources: npt.NDArray[np.uint8]) -> None:
    """Add to `counts` how often each source occurs."""
    for source, count in enumerate(np.bincount(sources).tolist()):
        if count:
            counts[source] = counts.get(source, 0) + count
