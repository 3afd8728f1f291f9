"""Shards taken from the updaters for a while, so that nothing of a shopper is under way while it is removed.

An updater holds entries of a round in memory: it could push a row or write a file just after the store was cleaned. So
who removes something asks for the shard (WANTED), its updater gives it back between two rounds, when nothing is under
way, and no updater takes it until it is given back. A shard that nobody owns is taken at once. While a shard is away,
events are accepted as ever and only counted later.

Knows nothing of what is done with the shards.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from services.common.streams import WANTED, Client, ShardKeys, Unavailable, one_error

_ASK = """
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], 'GT', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1], ARGV[2])
"""
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
_POLL_SECONDS = 0.02
_RENEWALS_PER_LEASE = 5


class ShardLost(Unavailable):
    """A shard that was held went to somebody else: this process stood still for longer than a lease."""


class Handover:
    """Takes shards and gives them back."""

    def __init__(self, client: Client, lease_seconds: float, wait_seconds: float) -> None:
        """Set the times.

        Args:
            client: From streams.connect.
            lease_seconds: How long a shard stays taken after this process has died.
            wait_seconds: How long an updater may take to give a shard back; more than its own lease.
        """
        self._client, self._lease_ms, self._wait = client, int(lease_seconds * 1000), wait_seconds

    @asynccontextmanager
    async def holding(self, shards: Iterable[int]) -> AsyncIterator[None]:
        """Own shards for the length of the block; in ascending order, so that two who want several do not block.

        Raises:
            Unavailable: Valkey does not answer, a shard was not given back in time, or was lost within the block.
        """
        token, wanted, taken = secrets.token_hex(16), sorted(set(shards)), list[int]()
        keeper = asyncio.create_task(self._keep(token, wanted, taken))
        try:
            for shard in wanted:
                await self._take(token, shard)
                taken.append(shard)
            yield
            if keeper.done():
                await keeper
            if not all(await self._each(_RENEW, taken, token, self._lease_ms)):
                raise ShardLost("a shard was lost while it was held")
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            await self._each(_RELEASE, taken, token)
            with one_error():
                await self._client.zrem(WANTED, *map(str, wanted))

    async def _take(self, token: str, shard: int) -> None:
        try:
            async with asyncio.timeout(self._wait):
                while not await self._try(token, shard):
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError as error:
            raise Unavailable(f"shard {shard} was not given back within {self._wait} s") from error

    async def _try(self, token: str, shard: int) -> bool:
        with one_error():
            return bool(await self._client.set(ShardKeys(shard).owner, token, nx=True, px=self._lease_ms))

    async def _keep(self, token: str, wanted: list[int], taken: list[int]) -> None:
        """Say what is wanted and renew what is taken, until cancelled."""
        while True:
            with one_error():
                for shard in wanted:
                    await self._client.eval(_ASK, 1, WANTED, self._lease_ms, shard)
            if not all(await self._each(_RENEW, list(taken), token, self._lease_ms)):
                raise ShardLost("a shard was lost while it was held")
            await asyncio.sleep(self._lease_ms / 1000 / _RENEWALS_PER_LEASE)

    async def _each(self, script: str, shards: list[int], *arguments: str | int) -> list[int]:
        with one_error():
            calls = (self._client.eval(script, 1, ShardKeys(shard).owner, *arguments) for shard in shards)
            return list(await asyncio.gather(*calls))
