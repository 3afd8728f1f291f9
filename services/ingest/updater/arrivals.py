"""Waiting for new entries in several streams at once.

Choice: one blocking read per shard, since a cluster answers none over several. Knows nothing of what is done with them.
"""

import asyncio
from collections.abc import Mapping

from services.common.streams import EntryId
from services.ingest.updater.shard_store import ShardStore


class Arrivals:
    """Waits for new entries in several shards at once; what no entry ended goes on waiting for the next call."""

    def __init__(self) -> None:
        """Waits for nothing yet."""
        self._waiting: dict[int, asyncio.Task[bool]] = {}

    async def wait(self, stores: Mapping[ShardStore, EntryId], seconds: float) -> bool:
        """Until a shard has an entry after the given one, or the time is over; whether one may have.

        Raises:
            Unavailable: Valkey did not answer.
        """
        tasks = []
        for store, after in stores.items():
            task = self._waiting.get(store.shard)
            if task is None or task.done():
                task = self._waiting[store.shard] = asyncio.create_task(store.wait(after, seconds))
            tasks.append(task)
        if not tasks:
            await asyncio.sleep(seconds)
            return False
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        found = [task.result() for task in done]  # every one, or an error in the second would never be seen
        return any(found)

    async def close(self) -> None:
        """Let the waiting end."""
        await asyncio.gather(*self._waiting.values(), return_exceptions=True)
