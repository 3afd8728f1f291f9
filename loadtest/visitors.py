"""All visitors of one generator process, as one Locust user.

Choices: arrivals are counted, not users. The user's only task lets visits in when they are due, each in a greenlet of
its own, whatever is still under way. A visit is late by what the loop needs to come round to it; `sent_s - due_s` says
by how much. Every visit has a random generator of its own, so the same seed makes the same visits in whatever order
they run.
"""

import time
from contextlib import suppress

import gevent
import numpy as np
from gevent import monkey
from gevent.event import Event
from gevent.pool import Group
from locust import User, task
from locust.exception import StopUser
from numpy.typing import NDArray

from loadtest.shopping import Visit

_TIMER_SECONDS = 0.001
"""libev waits for whole milliseconds, rounded up."""
_native_sleep = monkey.get_original("time", "sleep")


class Visitors(User):
    """The Locust user; `environment.visits` is what it does."""

    @task
    def let_in(self) -> None:
        """Everything, once."""
        self.environment.visits()
        raise StopUser


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

    def __init__(self, clock: Clock, visit: Visit, *, seconds: float, think_seconds: float, seed: list[int]) -> None:
        """Closed until `open`.

        Args:
            clock: of the run.
            visit: what a visitor does.
            seconds: nothing is due after this.
            think_seconds: mean of the exponentially distributed time between a page and the next.
            seed: of all visits.
        """
        self._clock, self._visit = clock, visit
        self._seconds, self._think_seconds, self._seed = seconds, think_seconds, seed
        self._over, self._inside = Event(), Group()

    def open(self, arrivals: NDArray[np.float64]) -> None:
        """Let every arrival in, in time; return after the last one, or once `close` has been called."""
        for number, due in enumerate(arrivals.tolist()):
            if not self._wait_until(due):
                break
            self._inside.spawn(self._visited, number, due)
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

    def _visited(self, number: int, due: float) -> None:
        rng = np.random.default_rng([*self._seed, number])

        def pause() -> float:
            following = self._clock() + rng.exponential(self._think_seconds)
            if following >= self._seconds or not self._wait_until(following):
                raise RunOver
            return following

        with suppress(RunOver):
            self._visit(rng, due, pause)

    def _wait_until(self, due: float) -> bool:
        """Whether the doors are still open then. Others run meanwhile, even where it is late already."""
        early = due - self._clock() - _TIMER_SECONDS
        if self._over.wait(max(early, 0.0)):
            return False
        if (rest := due - self._clock()) > 0:
            if early > 0:  # there is time to be exact, by a thread
                gevent.get_hub().threadpool.apply(_native_sleep, (rest,))
            else:
                gevent.sleep(rest)
        return not self._over.is_set()
