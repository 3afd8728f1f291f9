"""Stops asking a back end that keeps failing, and finds out by single probes when it answers again.

Choices: opens after a few failures in a row, so that replies no longer wait for what will not come; half open once the
pause is over, for one probe at a time, whose outcome closes it or starts the pause again (the pattern of Nygard,
"Release It!", 2007). For one event loop. Knows nothing of what is asked.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import partial

from prometheus_client import CollectorRegistry, Gauge

FAILURES_MAX = 5
"""Failures in a row that open it."""
PAUSE_SECONDS = 0.5
"""Between two probes."""


class BreakerOpen(Exception):  # noqa: N818 - named for the state, as gRPC's UNAVAILABLE
    """The back end has failed too often of late and is not asked."""


class State(Enum):
    """Whether calls pass."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Around the calls to one back end."""

    def __init__(
        self,
        *,
        failures_max: int = FAILURES_MAX,
        pause_seconds: float = PAUSE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Closed.

        Args:
            failures_max: failures in a row that open it, 1 or more.
            pause_seconds: how long it stays open before a probe.
            clock: monotonic seconds.
        """
        self._failures_max = failures_max
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._failures = 0
        self._probe_at = 0.0
        self._probing = False

    @property
    def state(self) -> State:
        """CLOSED: every call passes; OPEN: none; HALF_OPEN: the next one does, or one is under way."""
        if self._failures < self._failures_max:
            return State.CLOSED
        return State.HALF_OPEN if self._probing or self._clock() >= self._probe_at else State.OPEN

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Around one call, whose failure is an exception of whatever kind, giving up waiting included.

        Raises:
            BreakerOpen: instead of running the call.
        """
        probing = self.state is State.HALF_OPEN
        if self.state is State.OPEN or (probing and self._probing):
            raise BreakerOpen
        self._probing = self._probing or probing
        try:
            yield
        except BaseException:
            self._failures += 1
            self._probe_at = self._clock() + self._pause_seconds
            raise
        else:
            self._failures = 0
        finally:
            if probing:
                self._probing = False


def export_states(registry: CollectorRegistry, breakers: dict[str, Breaker]) -> None:
    """`aisle_breaker_state` by name of the back end: 0 closed, 1 half open, 2 open."""
    gauge = Gauge("aisle_breaker_state", "0 closed, 1 half open, 2 open.", ["back_end"], registry=registry)
    for name, breaker in breakers.items():
        gauge.labels(name).set_function(partial(_number, breaker))


def _number(breaker: Breaker) -> float:
    return float(breaker.state.value)
