"""The share of the time in which something was under way, of late."""

import math

MEMORY_SECONDS = 0.1
"""After so long the past counts 1/e of the present."""


class Occupancy:
    """An exponentially weighted mean of "busy"."""

    def __init__(self, memory_seconds: float = MEMORY_SECONDS) -> None:
        """Idle so far."""
        self._memory_seconds = memory_seconds
        self._share = 0.0
        self._busy = False
        self._since = 0.0

    def becomes(self, now: float, *, busy: bool) -> None:
        """Say at `now` (monotonic seconds) what holds from then on."""
        self._share = self.share(now)
        self._since = now
        self._busy = busy

    def share(self, now: float) -> float:
        """The mean as of `now`, 0 to 1."""
        kept = math.exp(min(self._since - now, 0.0) / self._memory_seconds)
        return kept * self._share + (1.0 - kept) * self._busy
