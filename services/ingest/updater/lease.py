"""Which shards this updater owns: leases in Valkey that expire when they are not renewed.

Choices:
- A random token per updater: who does not hold it can neither renew nor release, and no commit of theirs is accepted.
- Updaters announce themselves, and each takes its fair share, the number of shards over that of updaters, rounded up:
  one that comes later waits until the others give away what is above their share.
- A shard that somebody wants (WANTED) is given back, and taken again only when nobody wants it any more.
- Renewing goes on beside a long computation; taking and giving away happen between rounds, when nothing is under way. A
  shard that is in use even then, because a file of it is being written, is given away a little later.
- What is held is judged by this machine's monotonic clock from before the renewal was sent: too early, never too late.

Knows nothing of what a shard holds.
"""

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from services.common.streams import UPDATERS, WANTED, Client, ShardKeys, Unavailable, one_error

logger = logging.getLogger(__name__)

_ANNOUNCE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
return {redis.call('ZCARD', KEYS[1]), redis.call('ZRANGE', KEYS[2], 0, -1)}
"""
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
_RENEWALS_PER_LEASE = 10


class Leases:
    """The shards that this updater owns."""

    def __init__(
        self, client: Client, shards: int, seconds: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Args: seconds: how long a lease lasts without a renewal."""
        self._client, self._shards, self._seconds, self._monotonic = client, shards, seconds, monotonic
        self._until: dict[int, float] = {}
        self._updaters = 0  # not known before the first renewal
        self._wanted: set[int] = set()
        self._in_use: set[int] = set()
        self.token = secrets.token_hex(16)

    @property
    def owned(self) -> tuple[int, ...]:
        """The shards whose lease has not run out."""
        return tuple(shard for shard in sorted(self._until) if self.remaining(shard) > 0)

    def remaining(self, shard: int) -> float:
        """For how long a shard is surely ours, seconds; 0 where it is not."""
        return max(0.0, self._until.get(shard, 0.0) - self._monotonic())

    @contextmanager
    def using(self, shard: int) -> Iterator[None]:
        """Within the block the shard is not given away."""
        self._in_use.add(shard)
        try:
            yield
        finally:
            self._in_use.discard(shard)

    def lost(self, shard: int) -> None:
        """Valkey has said that somebody else owns it."""
        self._until.pop(shard, None)

    async def keep(self) -> None:
        """Announce this updater and renew what it owns, until cancelled."""
        while True:
            try:
                await self.renew()
            except Unavailable as error:
                logger.warning("leases were not renewed", extra={"reason": str(error)})
            await asyncio.sleep(self._seconds / _RENEWALS_PER_LEASE)

    async def renew(self) -> None:
        """Announce this updater and renew what it owns, once.

        Raises:
            Unavailable: Valkey did not answer.
        """
        milliseconds, sent = int(self._seconds * 1000), self._monotonic()
        held = list(self._until)
        with one_error():
            told = await self._client.eval(_ANNOUNCE, 2, UPDATERS, WANTED, self.token, milliseconds)
            kept = await self._each(held, _RENEW, milliseconds)
        self._updaters, self._wanted = int(told[0]), set(map(int, told[1]))
        for shard, is_ours in zip(held, kept, strict=True):
            if shard not in self._until:  # given back meanwhile
                continue
            if not is_ours:
                logger.warning("a lease has run out", extra={"shard": shard})
                self.lost(shard)
            else:
                self._until[shard] = sent + self._seconds

    async def rebalance(self) -> None:
        """Give away what others want and what is above this updater's share, or take what nobody owns up to it.

        Nothing before the first renewal, which says how many updaters there are.

        Raises:
            Unavailable: Valkey did not answer.
        """
        share = math.ceil(self._shards / self._updaters) if self._updaters else 0
        for shard in [shard for shard in self._until if not self.remaining(shard)]:
            self.lost(shard)
        kept = [shard for shard in self._until if shard not in self._wanted][:share]
        await self.release(self._until.keys() - kept - self._in_use)
        start = int(self.token[:8], 16)  # updaters that start together look at different shards first
        for place in range(self._shards):
            if len(self._until) >= share:
                return
            shard = (start + place) % self._shards
            if shard not in self._until and shard not in self._wanted:
                await self._take(shard)

    async def release(self, shards: Iterable[int]) -> None:
        """Give shards back, so that nobody has to wait for their leases to run out.

        Raises:
            Unavailable: Valkey did not answer.
        """
        given = list(shards)
        for shard in given:
            self.lost(shard)
        if given:
            with one_error():
                await self._each(given, _RELEASE)

    async def leave(self) -> None:
        """Give everything back and be no longer counted.

        Raises:
            Unavailable: Valkey did not answer.
        """
        await self.release(list(self._until))
        with one_error():
            await self._client.zrem(UPDATERS, self.token)

    async def _take(self, shard: int) -> None:
        sent = self._monotonic()
        with one_error():
            taken = await self._client.set(ShardKeys(shard).owner, self.token, nx=True, px=int(self._seconds * 1000))
        if taken:
            logger.info("took a shard", extra={"shard": shard})
            self._until[shard] = sent + self._seconds

    async def _each(self, shards: list[int], script: str, *arguments: int) -> list[int]:
        calls = (self._client.eval(script, 1, ShardKeys(shard).owner, self.token, *arguments) for shard in shards)
        return list(await asyncio.gather(*calls))
