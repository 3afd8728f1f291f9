"""Whether a shopper's features know of what the shopper has just done.

Choices: asked for all shards once a second rather than for a shopper while they wait. A shard whose updater has never
committed anything is not behind: a shop may do without live events. While Valkey does not answer, what it said last
stands: replies say by themselves that features are missing.

Knows nothing of how events become features.
"""

import asyncio
import logging

from services.common.freshness import lags
from services.common.streams import Client, ShardKeys, Unavailable, one_error, shard_of

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0


class Freshness:
    """The shards whose features are behind; for one event loop."""

    def __init__(self, client: Client, shards: int, stale_after_seconds: float) -> None:
        """None is known to be behind.

        Args:
            client: From `streams.connect`.
            shards: How many there are.
            stale_after_seconds: Age of the oldest event unknown to a shard's features from which they are stale.
        """
        self._client = client
        self._shards = shards
        self._stale_after_seconds = stale_after_seconds
        self._behind: frozenset[int] = frozenset()

    def is_stale(self, shopper: str) -> bool:
        """Whether the features of this shopper are behind."""
        return bool(self._behind) and shard_of(shopper, self._shards) in self._behind

    async def poll(self) -> None:
        """Ask now.

        Raises:
            Unavailable: Valkey did not answer.
        """
        ages = await lags(self._client, self._shards)
        late = [shard for shard, age in enumerate(ages) if age > self._stale_after_seconds]
        self._behind = frozenset([shard for shard in late if await self._has_begun(shard)])

    async def follow(self) -> None:
        """Ask every so often, until cancelled."""
        said = False
        while True:
            try:
                await self.poll()
                said = False
            except Exception as error:  # whatever it is, what is late afterwards should still be said
                if not said:
                    unforeseen = not isinstance(error, Unavailable)
                    logger.error("freshness is not known", exc_info=unforeseen, extra={"reason": repr(error)})
                said = True
            await asyncio.sleep(POLL_SECONDS)

    async def _has_begun(self, shard: int) -> bool:
        """Whether an updater has ever committed anything of the shard."""
        with one_error():
            return bool(await self._client.hexists(ShardKeys(shard).progress, "features"))
