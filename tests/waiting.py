"""Waiting for what another process does."""

import time
from collections.abc import Callable

_POLL_SECONDS = 0.05


def wait_until(condition: Callable[[], bool], timeout_seconds: float) -> None:
    """Return as soon as `condition` holds.

    Raises:
        AssertionError: the time is over.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"nothing came of it within {timeout_seconds} s")
        time.sleep(_POLL_SECONDS)
