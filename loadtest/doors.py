"""Lets visits in when they are due, whatever is still under way.

Choices: every visit is a greenlet of its own. One is late by what the loop needs to come round to it; `sent_s - due_s`
says by how much. Every visit has a random generator of its own, so a seed makes the same visits in whatever order
they run; Python's, since NumPy's takes tens of microseconds of every visit. Knows nothing of Locust, nor of what a
visit is.
"""

import time
from contextlib import suppress
from random import Random

import gevent
import numpy as np
from gevent import monkey
from gevent.event import Event
from gevent.pool import Group
from numpy.typing import NDArray

from loadtest.shopping import Visit

_TIMER_SECONDS = 0.001
"""libev waits for whole milliseconds, rounded up."""
_native_sleep = monkey.get_original("time", "sleep")


class RunOver(Exception):  # noqa: N818 - no error
    """A visit's next page would be due after the end of the run."""


class Clock:
    """Seconds since a run began; negative before."""

    def __init__(self) -> None:
        """Stand at minus infinity until `set`."""
        self._zero = np.inf

    def set(self, began: float) -> None:
        """Say when time 0 is, as Unix time. Later steps of the system's clock change nothing."""
        self._zero = time.perf_counter() + began - time.time()

    def __call__(self) -> float:
        """The time."""
        return time.perf_counter() - self._zero


class Doors:
    """Lets visits in at their times, and sees them out."""

    def __init__(self, clock: Clock, *, seconds: float, think_seconds: float) -> None:
        """Closed until `open`.

        Args:
            clock: of the run.
            seconds: nothing is due after this.
            think_seconds: mean of the exponentially distributed time between a page and the next.
        """
        self._clock, self._seconds, self._think_seconds = clock, seconds, think_seconds
        self._over, self._inside = Event(), Group()

    def open(self, arrivals: NDArray[np.float64], visit: Visit, seed: str) -> None:
        """Let every arrival in, in time; return at the end of the run, or once `close` has been called.

        Args:
            arrivals: [arrivals] seconds since the run began, rising.
            visit: what each does.
            seed: with the number of the arrival, the seed of a visit.
        """
        for number, due in enumerate(arrivals.tolist()):
            if not self._wait_until(due):
                break
            self._inside.spawn(self._visited, visit, due, f"{seed} {number}")
        self._wait_until(self._seconds)

    def close(self) -> None:
        """Nobody comes in any more, and whoever is inside makes no further call."""
        self._over.set()

    def empty(self, timeout_seconds: float) -> int:
        """Wait until everybody has left; who has not by then is thrown out.

        Returns:
            How many were.
        """
        self._inside.join(timeout_seconds)
        left = len(self._inside)
        self._inside.kill()
        return left

    def _visited(self, visit: Visit, due: float, seed: str) -> None:
        rng = Random(seed)

        def pause() -> float:
            following = self._clock() + self._think_seconds * rng.expovariate(1.0)
            if following >= self._seconds or not self._wait_until(following):
                raise RunOver
            return following

        with suppress(RunOver):
            visit(rng, due, pause)

    def _wait_until(self, due: float) -> bool:
        """Whether the doors are still open then. Others run meanwhile, even where it is late already."""
        wait = due - self._clock()
        if wait <= _TIMER_SECONDS:
            gevent.sleep(max(wait, 0.0))
        elif not self._over.wait(wait - _TIMER_SECONDS) and (rest := due - self._clock()) > 0:
            gevent.get_hub().threadpool.apply(_native_sleep, (rest,))  # there is time to be exact
        return not self._over.is_set()
