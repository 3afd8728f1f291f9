"""The entries that one round takes from one shard, sorted out by what becomes of them.

Knows nothing of states, features or Valkey.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

import polars as pl

from features import spec
from services.common.streams import EntryId, shard_of
from services.ingest import records
from services.ingest.records import Event, UnreadableEvent
from services.ingest.updater.numbered import hashes_of
from services.ingest.updater.shard_store import Entry, Letter
from services.ingest.updater.state import EVENTS_OF_STATE
from services.ingest.updater.state_cache import CachedState, StateCache


@dataclass(slots=True)
class Batch:
    """A shard's part of a round."""

    shard: int
    before: EntryId
    """Last entry of the round before."""
    position: EntryId
    """Last entry of this one."""
    entry_count: int
    counting: dict[str, list[tuple[Entry, Event]]] = field(default_factory=dict)
    """Shopper to events that features are made of."""
    others: dict[str, list[tuple[Entry, Event]]] = field(default_factory=dict)
    """Shopper to other events."""
    letters: list[Letter] = field(default_factory=list)
    left_out: list[EntryId] = field(default_factory=list)
    """Entries that name somebody who has opted out."""
    states: dict[str, bytes | CachedState] = field(default_factory=dict)
    """Shopper of `counting` to state."""
    stamp_us: int = 0
    """Time stamp of its rows; 0 as long as there is none."""

    @property
    def shoppers(self) -> list[str]:
        """All whom its events name: known shoppers, and visitors, also those beside a known shopper."""
        return list({name for found in self._events() for _, event in found for name in records.ids_of(event)})

    def _events(self) -> Iterable[list[tuple[Entry, Event]]]:
        return chain(self.counting.values(), self.others.values())

    def cached(self, cache: StateCache) -> dict[str, CachedState]:
        """The states of shoppers of `counting` that a cache can tell."""
        hashes = iter(hashes_of([event.event_id for found in self.counting.values() for _, event in found]))
        states = {}
        for shopper, found in self.counting.items():
            times, theirs = [records.time_us(event) for _, event in found], list(islice(hashes, len(found)))
            if (state := cache.get(shopper, times, theirs)) is not None:
                states[shopper] = state
        return states

    def leave_out(self, out: Collection[str]) -> None:
        """Take the events away that name, as shopper or as visitor beside, somebody who has opted out."""
        for events in (self.counting, self.others) if out else ():
            for shopper, found in list(events.items()):
                gone = {entry.id for entry, event in found if any(name in out for name in records.ids_of(event))}
                self.left_out += gone
                events[shopper] = [(entry, event) for entry, event in found if entry.id not in gone]
                if not events[shopper]:
                    del events[shopper]

    def bury(self, shopper: str, reason: str) -> None:
        """Make dead letters of a shopper's events."""
        self.letters += [Letter(entry, reason) for entry, _ in self.counting.pop(shopper)]
        del self.states[shopper]

    def frame(self) -> pl.DataFrame:
        """The events that features are made of, EVENTS_OF_STATE, in the stream's order within each shopper."""
        events = [(shopper, event) for shopper, found in self.counting.items() for _, event in found]
        times = pl.Series([records.time_us(event) for _, event in events], dtype=pl.Int64)
        columns = {
            "user_id": [shopper for shopper, _ in events],
            "item_id": [event.item_id for _, event in events],
            "event_id": [event.event_id for _, event in events],
            "event_type": [records.type_name(event) for _, event in events],
            "event_time": times.cast(EVENTS_OF_STATE["event_time"]),
            "price": [records.price_of(event) for _, event in events],
            "session_id": [event.session_id or None for _, event in events],
        }
        return pl.DataFrame(columns, schema=EVENTS_OF_STATE)


def sorted_out(shard: int, shards: int, before: EntryId, entries: Sequence[Entry]) -> Batch:
    """A batch of at least one entry; what cannot be read is a dead letter from the beginning."""
    batch = Batch(shard, before, entries[-1].id, len(entries))
    for entry in entries:
        try:
            event = records.parse(entry.event)
        except UnreadableEvent as error:
            batch.letters.append(Letter(entry, str(error)))
            continue
        shopper = records.shopper_of(event)
        if (theirs := shard_of(shopper, shards)) != shard:
            batch.letters.append(Letter(entry, f"belongs to shard {theirs}"))
        elif event.item_id and spec.EVENT_WEIGHTS.get(records.type_name(event), 0.0) > 0:
            batch.counting.setdefault(shopper, []).append((entry, event))
        else:
            batch.others.setdefault(shopper, []).append((entry, event))
    return batch
