"""What happened on the way to one answer: time left, time spent, and what it had to do without.

Knows nothing of how an answer comes about.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum


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


@dataclass(slots=True)
class Trace:
    """What happened on the way to one answer."""

    deadline: float
    """Monotonic seconds at which the caller stops waiting."""
    degradations: set[Degradation] = field(default_factory=set)
    timings_ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage; one that is entered again goes on."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - started)

    def add(self, name: str, seconds: float) -> None:
        """Time spent on a stage, beside what it has taken before."""
        self.timings_ms[name] = self.timings_ms.get(name, 0.0) + seconds * 1000.0

    def at_most(self, budget_seconds: float) -> float:
        """The budget, or half of what is left if that is less: the answer must still be put together afterwards."""
        return max(min(budget_seconds, (self.deadline - time.monotonic()) / 2.0), 0.001)
