"""Who is left out of all that learns, and how that is said to those who must know.

Choices: Valkey says it to whoever takes in events (`opted_out` of every shard, since a visitor's id is kept beside
known shoppers' in their shards), a list beside the log to training (features/left_out.py); both hold keyed hashes, so
that an opt-out outlives a purge. On the way out Valkey is first: nothing new is stored from then on. On the way in it
is last. Older opt-outs are in the set of the shopper's own shard only: they count there, and are taken back there.

Events that were in no file yet when a shopper opted out are removed with the state. Files keep what they have: training
does not see it, and the shopper may still ask for it or have it purged.
"""

import asyncio
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from features.left_out import leave_out, leave_out_until
from features.shopper_digest import LEFT_OUT_FOLDER
from services.common.streams import Client, all_shards, one_error
from services.ingest.privacy.disk import using
from services.ingest.privacy.shopper import Shopper


class OptOuts:
    """The two lists."""

    def __init__(self, client: Client, shards: int, live_dir: Path) -> None:
        """Args: shards: as for every process. live_dir: likewise."""
        self._client, self._shards, self._live_dir = client, shards, live_dir

    async def add(self, shopper: Shopper) -> None:
        """Leave a shopper out.

        Raises:
            Unavailable: Valkey does not answer; or the list cannot be written, and events are refused all the same.
        """
        await self._each("sadd", *shopper.digests)
        with using(self._live_dir / LEFT_OUT_FOLDER):
            await asyncio.to_thread(leave_out, self._live_dir, shopper.digests_of_names)

    async def drop(self, shopper: Shopper, now: datetime) -> bool:
        """Take a shopper in again, beginning with nothing; whether anything changed.

        Raises:
            Unavailable: Valkey does not answer, or the list cannot be written; the shopper is still left out.
        """
        if not await self.holds(shopper):
            return False
        await self._leave_out_until(shopper, now, keep_opted_out=False)
        await self._each("srem", *shopper.digests)
        return True

    async def forget_past(self, shopper: Shopper, now: datetime) -> None:
        """See to it that what the shop's own data says of a shopper is not used any more; opt-outs stay.

        Raises:
            Unavailable: the list cannot be written.
        """
        await self._leave_out_until(shopper, now, keep_opted_out=True)

    async def holds(self, shopper: Shopper) -> bool:
        """Whether one of the shopper's ids is left out, in whatever shard.

        Raises:
            Unavailable: Valkey does not answer.
        """
        return any(map(any, await self._each("smismember", list(shopper.digests))))

    async def _leave_out_until(self, shopper: Shopper, now: datetime, *, keep_opted_out: bool) -> None:
        change = partial(leave_out_until, keep_opted_out=keep_opted_out)
        with using(self._live_dir / LEFT_OUT_FOLDER):
            await asyncio.to_thread(change, self._live_dir, shopper.digests_of_names, now)

    async def _each(self, command: str, *arguments: Any) -> list[Any]:
        """The answer of every shard's set."""
        with one_error():
            calls = (getattr(self._client, command)(keys.opted_out, *arguments) for keys in all_shards(self._shards))
            return list(await asyncio.gather(*calls))
