"""The log of events: what features know of a shard becomes a file now and then, and leaves the stream.

Choices:
- Entries are read from the stream again when a file is due, rather than kept since their round: memory stays bounded,
  and whoever takes the shard over goes on from what the files' names say.
- An updater's shards wait for different times, half of the longest to all of it: files of all of them at once would
  make features wait.
- Only entries that features know are written, so the stream can be cut at what is written.
- Before each file: the lease must have more than a second left. Should two owners write the same entries all the same,
  readers take each entry once.

Knows nothing of features, nor of how files are called.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from features.event_log import LOGGED, logged_until, split_by_day, write_part
from features.pseudonyms import with_pseudonyms
from services.common.streams import EntryId, Unavailable
from services.ingest import records
from services.ingest.records import Event, UnreadableEvent
from services.ingest.updater.lease import Leases
from services.ingest.updater.shard_store import Entry, LeaseLost, ShardStore

logger = logging.getLogger(__name__)

_PAGE = 500
_LEASE_SECONDS_MIN = 1.0
_TICK_SECONDS = 1.0


class LogWriter:
    """Writes the files of the owned shards."""

    def __init__(
        self,
        folder: Path,
        leases: Leases,
        store_of: Callable[[int], ShardStore],
        *,
        seconds: float,
        events: int,
        pseudonym_key: bytes | None = None,
    ) -> None:
        """Args: folder: the live folder. seconds: the longest that an event waits. events: the most in a file."""
        self._folder, self._leases, self._store_of = folder, leases, store_of
        self._seconds, self._events, self._key = seconds, events, pseudonym_key
        self._logged: dict[int, EntryId] = {}
        self._waiting_since: dict[int, float] = {}

    async def keep(self) -> None:
        """Write what is due, until cancelled."""
        while True:
            try:
                await self.write()
            except (Unavailable, OSError) as error:
                logger.error("the log waits", extra={"reason": str(error)})
            await asyncio.sleep(_TICK_SECONDS)

    async def write(self, *, everything: bool = False) -> None:
        """Write what is due, or everything that features know; one shard after another.

        Raises:
            Unavailable: Valkey did not answer.
            OSError: a file cannot be written.
        """
        owned = self._leases.owned
        for shard in self._logged.keys() - set(owned):
            del self._logged[shard]
            self._waiting_since.pop(shard, None)
        for place, shard in enumerate(owned):
            seconds = 0.0 if everything else self._seconds * (1.0 - 0.5 * place / len(owned))
            try:
                with self._leases.using(shard):
                    await self._write_shard(self._store_of(shard), seconds)
            except LeaseLost:
                logger.warning("left a file to a shard's new owner", extra={"shard": shard})

    async def _write_shard(self, store: ShardStore, seconds: float) -> None:
        """Write what has waited for so long, or is enough for a file."""
        features, mirrored = await store.positions()
        logged = self._logged.get(store.shard)
        if logged is None or logged < mirrored:  # new here
            named = await asyncio.to_thread(logged_until, self._folder, store.shard)
            logged = self._logged[store.shard] = max(EntryId.parse(named), mirrored)
        if logged >= features:
            self._waiting_since.pop(store.shard, None)
            return
        since = self._waiting_since.setdefault(store.shard, time.monotonic())
        is_due = time.monotonic() - since >= seconds or await store.length() >= self._events
        while is_due and logged < features:
            logged = self._logged[store.shard] = await self._write_file(store, logged, features)
            self._waiting_since.pop(store.shard, None)

    async def _write_file(self, store: ShardStore, after: EntryId, features: EntryId) -> EntryId:
        """Files of the next entries, one per day; the last entry that they hold."""
        frames, count, read = [LOGGED.to_frame()], 0, after
        while count < self._events:
            page = min(_PAGE, self._events - count)
            entries = await store.entries(read, page, features)
            events = await asyncio.to_thread(_parsed, entries)
            out = await store.opted_out(list({name for _, event in events for name in records.ids_of(event)}))
            kept = [(entry, event) for entry, event in events if out.isdisjoint(records.ids_of(event))]
            frames.append(await asyncio.to_thread(records.logged_frame, store.shard, kept))
            count += len(entries)
            if len(entries) < page:
                read = features
                break
            read = entries[-1].id
        frame = pl.concat(frames)
        if self._key is not None:
            frame = with_pseudonyms(frame, self._key)
        for part_after, part_last, rows in split_by_day(str(after), str(read), frame):
            if self._leases.remaining(store.shard) <= _LEASE_SECONDS_MIN:
                raise LeaseLost
            await asyncio.to_thread(write_part, self._folder, store.shard, part_after, part_last, rows)
            await store.logged(EntryId.parse(part_last))
        return read


def _parsed(entries: list[Entry]) -> list[tuple[EntryId, Event]]:
    events = []
    for entry in entries:
        try:
            events.append((entry.id, records.parse(entry.event)))
        except UnreadableEvent:  # only what somebody else wrote after the round: a dead letter leaves the stream
            logger.exception("left an entry out of the log", extra={"entry": str(entry.id)})
    return events
