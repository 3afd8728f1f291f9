"""Shoppers' states as numbers, kept between rounds: who was here a minute ago is neither read nor parsed again.

Choices:
- It is an answer only for events with instants and ids of their own, which have one place in the order of time. Where
  events of one instant must be put in the order of their ids, or one comes twice, the text is read.
- A look-alike of an event's id, whose hash is the same, costs a reading.
- It is true as long as nobody else changes states. A commit compares the length of the text, so that a state that was
  purged or cut meanwhile is noticed; whoever gets a shard starts with an empty cache.
- Nothing stays for longer than some minutes after its last use: a shopper who was purged is forgotten here too.
- Whatever id an event names gets a number, whether there is such an item or not. All of it begins anew where there are
  too many of them: states hold numbers.

Knows nothing of streams, nor of features.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cachetools import TTLCache

from services.ingest.updater.numbered import ItemNumbers, NumberedEvents

_SECONDS = 600.0
_SHOPPER_BYTES = 400
"""What a shopper takes besides events: id, array and the cache's own entries."""
_ITEMS_MAX = 2_000_000
"""Numbered items from which it begins anew: more than a catalogue has."""


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

    def expire(self) -> None:
        """Forget who has done nothing for some minutes, and everybody where too many items are numbered; to be called
        now and then between rounds, also where nobody does anything."""
        self._states.expire()
        if self.items.count > _ITEMS_MAX:
            self.clear()

    def clear(self) -> None:
        """Keep nothing: somebody else may have changed states."""
        self._states.clear()
        if self.items.count > _ITEMS_MAX:
            self.items = ItemNumbers()


def _size(state: CachedState) -> int:
    return state.events.nbytes + _SHOPPER_BYTES
