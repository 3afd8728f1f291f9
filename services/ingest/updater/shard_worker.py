"""Rounds: new events of all owned shards in, feature rows out, then one commit per shard.

Choices:
- One computation over all shards: most of its cost is per call, not per shopper, as long as there are few.
- Rows are pushed before the commit. A crash in between repeats the push with a later stamp, and changes nothing.
- A shard that was lost on the way drops out of the round; nobody else's work is held up.
- States come from the cache where it can tell. Whenever a position is read anew, somebody else may have written, and
  the cache is emptied.

Knows nothing of leases' renewal, nor of files.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import polars as pl

from features.schema import INSTANT
from services.common.streams import EntryId
from services.ingest.updater.batches import Batch, sorted_out
from services.ingest.updater.catalogue_view import Catalogue
from services.ingest.updater.lease import Leases
from services.ingest.updater.metrics import UpdaterMetrics
from services.ingest.updater.rows import Update, update_isolated
from services.ingest.updater.shard_store import Commit, LeaseLost, ShardStore, StateChanged
from services.ingest.updater.state_cache import CachedState, StateCache

logger = logging.getLogger(__name__)

StoreOf = Callable[[int], ShardStore]
"""A shard's store."""


class RowWriter(Protocol):
    """Where rows go; `features.store.UserWriter` is one."""

    async def push(self, frame: pl.DataFrame) -> None:
        """Write rows."""


class ShardWorker:
    """Takes rounds, one after another."""

    def __init__(
        self,
        leases: Leases,
        store_of: StoreOf,
        writer: RowWriter,
        catalogue: Catalogue,
        now_us: Callable[[], int],
        metrics: UpdaterMetrics,
        cache: StateCache,
        *,
        shards: int,
        batch_events: int,
    ) -> None:
        """Args: now_us: the serving clock, by which rows are stamped. batch_events: the most that a round takes."""
        self._leases, self._store_of, self._writer, self._catalogue = leases, store_of, writer, catalogue
        self._now_us, self._metrics, self._cache = now_us, metrics, cache
        self._shards, self._batch_events = shards, batch_events
        self._positions: dict[int, EntryId] = {}

    def forget(self) -> None:
        """Read the shards' positions anew: somebody else may have moved them, or ourselves without an answer."""
        self._positions.clear()

    async def positions(self) -> dict[ShardStore, EntryId]:
        """How far features have come in each owned shard."""
        owned = self._leases.owned
        self._positions = {shard: self._positions[shard] for shard in owned if shard in self._positions}
        new = [shard for shard in owned if shard not in self._positions]
        self._cache.expire()
        if new:
            self._cache.clear()
        found = await _all(self._store_of(shard).positions() for shard in new)
        self._positions |= {shard: positions.features for shard, positions in zip(new, found, strict=True)}
        return {self._store_of(shard): position for shard, position in self._positions.items()}

    async def round(self) -> int:
        """Take what is new, at most `batch_events` of it.

        Returns:
            How many entries were taken; fewer than there are where a shard was lost or a shopper changed meanwhile.

        Raises:
            Unavailable: Valkey did not answer; `forget` before the next round.
            StoreUnavailable: the online store did not answer; likewise.
        """
        started = time.perf_counter()
        batches = await self._read()
        if not batches:
            return 0
        batches = await self._kept(batches, self._prepare)
        updates = await self._computed(batches)
        batches = [batch for batch in batches if self._leases.remaining(batch.shard) > 0]
        for rows in _stamped(updates, batches):
            await self._writer.push(rows)
        done = await self._kept(batches, lambda batch: self._commit(batch, updates))
        taken = sum(batch.entry_count for batch in done)
        self._metrics.events.inc(taken)
        self._metrics.dead_letters.inc(sum(len(batch.letters) for batch in done))
        self._metrics.batch_seconds.observe(time.perf_counter() - started)
        return taken

    async def _read(self) -> list[Batch]:
        positions = await self.positions()
        count = max(1, self._batch_events // max(1, len(positions)))
        found = await _all(store.entries(after, count) for store, after in positions.items())
        return [
            sorted_out(store.shard, self._shards, after, entries)
            for (store, after), entries in zip(positions.items(), found, strict=True)
            if entries
        ]

    async def _prepare(self, batch: Batch) -> None:
        store = self._store_of(batch.shard)
        batch.leave_out(await store.opted_out(batch.shoppers))
        if batch.counting:
            cached = batch.cached(self._cache)
            batch.states = cached | await store.states([name for name in batch.counting if name not in cached])
            batch.stamp_us = await store.reserve(self._now_us())

    async def _computed(self, batches: Sequence[Batch]) -> list[Update]:
        states = {shopper: state for batch in batches for shopper, state in batch.states.items()}
        if not states:
            return []
        new, facts = pl.concat(batch.frame() for batch in batches), await self._catalogue.facts()
        updates, failed = await asyncio.to_thread(update_isolated, states, new, facts, self._cache.items)
        for batch in batches:
            for shopper in batch.states.keys() & failed.keys():
                logger.error("made dead letters", extra={"user_id": shopper, "reason": failed[shopper]})
                batch.bury(shopper, failed[shopper])
        return updates

    async def _commit(self, batch: Batch, updates: Sequence[Update]) -> None:
        theirs = {
            shopper: (one.appended[shopper], one.events[shopper])
            for one in updates
            for shopper in one.appended.keys() & batch.states.keys()
        }
        lengths = {shopper: len(batch.states[shopper]) for shopper in theirs}
        appended = {shopper: lines for shopper, (lines, _) in theirs.items()}
        commit = Commit(batch.before, batch.position, batch.shoppers, lengths, appended, batch.letters, batch.left_out)
        await self._store_of(batch.shard).commit(commit)
        self._positions[batch.shard] = batch.position
        cached_count = sum(isinstance(state, CachedState) for state in batch.states.values())
        self._metrics.states.labels("cache").inc(cached_count)
        self._metrics.states.labels("store").inc(len(batch.states) - cached_count)
        for shopper, (lines, events) in theirs.items():
            self._cache.put(shopper, CachedState(events, lengths[shopper] + len(lines)))

    async def _kept(self, batches: Sequence[Batch], step: Callable[[Batch], Awaitable[None]]) -> list[Batch]:
        """The batches that go on after a step over all of them."""
        outcomes = await asyncio.gather(*map(step, batches), return_exceptions=True)
        kept = []
        for batch, outcome in zip(batches, outcomes, strict=True):
            match outcome:
                case None:
                    kept.append(batch)
                case LeaseLost():
                    logger.warning("lost a shard to another updater", extra={"shard": batch.shard})
                    self._leases.lost(batch.shard)
                case StateChanged():
                    self._positions.pop(batch.shard, None)
                case _:
                    raise outcome
        return kept


async def _all(calls: Any) -> list[Any]:
    """Every answer, once all calls have ended; or the first error."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return list(outcomes)


def _stamped(updates: Sequence[Update], batches: Sequence[Batch]) -> list[pl.DataFrame]:
    """The rows of the shoppers of some batches, with `event_timestamp`."""
    stamps = {shopper: batch.stamp_us for batch in batches for shopper in batch.states}
    shoppers = pl.DataFrame({"user_id": list(stamps), "stamp": list(stamps.values())}, schema=_STAMPS)
    stamped = [
        one.rows.join(shoppers, on="user_id", how="inner", maintain_order="left")
        .with_columns(event_timestamp=pl.col("stamp").cast(INSTANT))
        .drop("stamp")
        for one in updates
    ]
    return [rows for rows in stamped if rows.height]


_STAMPS: dict[str, Any] = {"user_id": pl.String, "stamp": pl.Int64}
