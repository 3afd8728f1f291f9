"""A lock that goes to whoever came to the house first, not to whoever asked for it first.

Work that takes the lock several times is then finished before younger work is begun. For one event loop.
"""

import asyncio
import heapq
import itertools


class OldestFirst:
    """The lock."""

    def __init__(self) -> None:
        """Free."""
        self._taken = False
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    async def acquire(self, since: float) -> None:
        """Wait for it, before all who came later than `since` (monotonic seconds) and wait as well."""
        if not self._taken:
            self._taken = True
            return
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (since, next(self._order), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was given to one who had just left
                self.release()
            raise

    def release(self) -> None:
        """Give it to the oldest who still waits."""
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._taken = False
