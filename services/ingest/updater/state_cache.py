"""Shoppers' states as numbers, kept between rounds: who was here a minute ago is neither read nor parsed again.

Choices:
- It is an answer only for events with instants and ids of their own, which have one place in the order of time. Where
  events of one instant must be put in the order of their ids, or one comes twice, the text is read.
- A hash stands for an id, since it is only asked whether an event may be there already; a look-alike costs a reading.
- It is true as long as nobody else changes states. A commit compares the length of the text, so that a state that was
  purged or cut meanwhile is noticed; whoever gets a shard starts with an empty cache.
- Nothing stays for longer than some minutes after its last use: a shopper who was purged is forgotten here too.

Knows nothing of streams, nor of features.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from cachetools import TTLCache
from numpy.typing import NDArray

from features.transforms import EventColumns, ItemFacts, numbers_of

NUMBERED: Final = np.dtype(
    [
        ("time_us", np.int64),
        ("price", np.float64),
        ("session", np.uint64),
        ("event_id", np.uint64),
        ("item", np.int32),
        ("type", np.uint8),
    ],
    align=True,
)
"""An event: EventColumns, but its item is one of ItemNumbers, and the hash of its id."""
NumberedEvents = NDArray[np.void]
"""NUMBERED, in the order of `known_events`."""

_BYTES = np.dtype((np.void, NUMBERED.itemsize))
_SECONDS = 600.0
_SHOPPER_BYTES = 400
"""What a shopper takes besides events: id, array and the cache's own entries."""
_ITEMS_MAX = 2_000_000


@dataclass(frozen=True, slots=True)
class CachedState:
    """A shopper's state as it was last committed."""

    events: NumberedEvents
    length: int
    """Of its text, bytes."""

    def __len__(self) -> int:
        return self.length

    def has_place_for(self, times_us: Sequence[int], ids: Sequence[int]) -> bool:
        """Whether no event that it holds has one of these times or hashed ids."""
        mine_us, mine = self.events["time_us"], self.events["event_id"]
        return not any((mine_us == one).any() for one in times_us) and not any((mine == one).any() for one in ids)

    def with_more(self, events: NumberedEvents) -> NumberedEvents:
        """Its events and others that it has place for, in order."""
        places = np.searchsorted(self.events["time_us"], events["time_us"])
        if places[0] == len(self.events):
            return joined([self.events, events])
        return np.insert(self.events.view(_BYTES), places, events.view(_BYTES)).view(NUMBERED)


class StateCache:
    """The latest used states, up to a size."""

    def __init__(self, bytes_max: int, timer: Callable[[], float] = time.monotonic) -> None:
        """Args: bytes_max: about how much memory; 0 keeps nothing. timer: seconds."""
        self._bytes_max = bytes_max
        self._states: TTLCache[str, CachedState] = TTLCache(bytes_max, _SECONDS, timer, getsizeof=_size)
        self.items = ItemNumbers()

    def get(self, shopper: str, times_us: Sequence[int], ids: Sequence[int]) -> CachedState | None:
        """A shopper's state, if it is here and has place for these events."""
        state: CachedState | None = self._states.get(shopper)
        return state if state is not None and state.has_place_for(times_us, ids) else None

    def put(self, shopper: str, state: CachedState) -> None:
        """Keep a state that has been committed, unless it has no events or is too large."""
        self._states.pop(shopper, None)
        if len(state.events) and _size(state) <= self._bytes_max:
            self._states[shopper] = CachedState(state.events.copy(), state.length)  # else it holds a whole round's

    def clear(self) -> None:
        """Keep nothing: somebody else may have changed states."""
        self._states.clear()
        if self.items.count > _ITEMS_MAX:
            self.items = ItemNumbers()


class ItemNumbers:
    """Numbers for items' ids, from 0, in the order in which they are first asked for."""

    def __init__(self) -> None:
        """None yet."""
        self._numbers: dict[str, int] = {}
        self._facts: ItemFacts | None = None
        self._places: NDArray[np.int64] = np.empty(0, np.int64)

    @property
    def count(self) -> int:
        """Items that have a number."""
        return len(self._numbers)

    def of(self, item_ids: pl.Series) -> NDArray[np.int32]:
        """The numbers of some items."""
        distinct = item_ids.unique()
        numbers = [self._numbers.setdefault(name, len(self._numbers)) for name in distinct.to_list()]
        return item_ids.replace_strict(distinct, numbers, return_dtype=pl.Int32).to_numpy()

    def places_in(self, facts: ItemFacts) -> NDArray[np.int64]:
        """By number, the item's place in some facts; -1 for one that is not there."""
        if facts is not self._facts or len(self._places) != self.count:
            self._facts, self._places = facts, facts.places_of(pl.Series(list(self._numbers), dtype=pl.String))
        return self._places


def hashes_of(event_ids: Sequence[str]) -> list[int]:
    """Events' ids as CachedState compares them."""
    return pl.Series(event_ids, dtype=pl.String).hash().to_list()


def numbered(events: pl.DataFrame, items: ItemNumbers) -> NumberedEvents:
    """Events as NUMBERED.

    Args:
        events: At least the columns of EVENTS_OF_STATE, which all count.
        items: Numbers their items.
    """
    out = np.empty(events.height, NUMBERED)
    out["type"], out["time_us"], out["price"], out["session"] = numbers_of(events)
    out["event_id"] = events["event_id"].hash().to_numpy()
    out["item"] = items.of(events["item_id"])
    return out


def joined(parts: Sequence[NumberedEvents]) -> NumberedEvents:
    """One after another. As bytes, since NumPy joins records field by field."""
    return np.concatenate([np.empty(0, _BYTES), *(part.view(_BYTES) for part in parts)]).view(NUMBERED)


def columns_of(events: NumberedEvents, places: NDArray[Any]) -> EventColumns:
    """Numbered events as features take them. Args: places: by number of the item."""
    names = ("type", "time_us", "price", "session")
    return EventColumns(places[events["item"]], *(np.ascontiguousarray(events[name]) for name in names))


def _size(state: CachedState) -> int:
    return state.events.nbytes + _SHOPPER_BYTES
