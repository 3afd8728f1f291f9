"""Events of shoppers' states as arrays of numbers, a record each.

Choices:
- Items are numbered as they come: their places in a catalogue change with every item that is added to it.
- A hash stands for an event's id and for a session, since these are only asked whether they are the same.

Knows nothing of streams, of what is kept, nor of features.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

import numpy as np
import polars as pl
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
"""As bytes records are joined at once, and not field by field."""


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
        if facts is not self._facts:
            self._facts, self._places = facts, np.empty(0, np.int64)
        if new := list(islice(self._numbers, len(self._places), None)):
            self._places = np.concatenate([self._places, facts.places_of(pl.Series(new, dtype=pl.String))])
        return self._places


def hashes_of(event_ids: Sequence[str]) -> list[int]:
    """What stands for events' ids."""
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
    """One after another."""
    return np.concatenate([np.empty(0, _BYTES), *(part.view(_BYTES) for part in parts)]).view(NUMBERED)


def merged(events: NumberedEvents, others: NumberedEvents) -> NumberedEvents:
    """In the order of time, of two that are; no instant is in both."""
    places = np.searchsorted(events["time_us"], others["time_us"])
    if places[0] == len(events):
        return joined([events, others])
    return np.insert(events.view(_BYTES), places, others.view(_BYTES)).view(NUMBERED)


def columns_of(events: NumberedEvents, places: NDArray[Any]) -> EventColumns:
    """Numbered events as features take them. Args: places: by number of the item."""
    names = ("type", "time_us", "price", "session")
    return EventColumns(places[events["item"]], *(np.ascontiguousarray(events[name]) for name in names))
