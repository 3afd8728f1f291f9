"""What made-up shoppers do, as events: the same seed gives the same events in the same order.

All kinds of events are among them, known and anonymous shoppers, prices and none, times given and left to the server.
Knows nothing of how events are sent.
"""

import random
from collections.abc import Iterator, Sequence
from datetime import datetime

import polars as pl
from aisle.v1 import event_service_pb2 as messages
from aisle.v1 import recommendation_service_pb2 as shared

from features import bundle as files
from features.bundle import Bundle
from features.clock import to_us

_WEIGHTS = {
    messages.EVENT_TYPE_VIEW: 60,
    messages.EVENT_TYPE_CLICK: 20,
    messages.EVENT_TYPE_ADD_TO_CART: 6,
    messages.EVENT_TYPE_REMOVE_FROM_CART: 1,
    messages.EVENT_TYPE_PURCHASE: 6,
    messages.EVENT_TYPE_REVIEW: 1,
    messages.EVENT_TYPE_SHARE: 1,
    messages.EVENT_TYPE_SEARCH: 2,
    messages.EVENT_TYPE_IMPRESSION: 3,
}
_SHOWN = 10
_PAST_SECONDS = 30 * 86_400
_KNOWN_SHARE, _TIMED_SHARE, _PRICED_SHARE = 0.8, 0.8, 0.7


class Traffic:
    """A stream of events without end."""

    def __init__(
        self, prefix: str, shoppers: Sequence[str], item_ids: Sequence[str], now: datetime, seed: int = 0
    ) -> None:
        """Args:
        prefix: of the events' ids, which are `<prefix>-<number from 0>`.
        shoppers: ids; which of them are known and which anonymous follows from the id.
        item_ids: of the catalogue.
        now: the serving clock's; times that are given lie in the month before.
        seed: of everything drawn.
        """
        self._random = random.Random(seed)  # noqa: S311 - draws a load, no secret
        self._prefix, self._shoppers, self._item_ids = prefix, list(shoppers), list(item_ids)
        self._now_us = to_us(now)
        self._types, self._weights = list(_WEIGHTS), list(_WEIGHTS.values())
        self.count = 0

    def batch(self, size: int) -> list[messages.Event]:
        """The next events."""
        return [self._next() for _ in range(size)]

    def batches(self, size: int) -> Iterator[list[messages.Event]]:
        """Batches of one size, for ever."""
        while True:
            yield self.batch(size)

    def _next(self) -> messages.Event:
        draw = self._random.random
        (event_type,) = self._random.choices(self._types, self._weights)
        shopper = self._random.choice(self._shoppers)
        event = messages.Event(event_id=f"{self._prefix}-{self.count}", event_type=event_type)
        self.count += 1
        if is_known(shopper):
            event.user_id = shopper
        else:
            event.visitor_id = shopper
        if draw() < _TIMED_SHARE:
            event.event_time.FromMicroseconds(self._now_us - int(draw() * _PAST_SECONDS * 1e6))
        if draw() < 0.5:
            event.session_id = f"{shopper}, visit {int(draw() * 3)}"
        if event_type == messages.EVENT_TYPE_SEARCH:
            event.search_query = f'something "{int(draw() * 100)}", or other\nand more'
        elif event_type == messages.EVENT_TYPE_IMPRESSION:
            event.impression_item_ids.extend(self._random.sample(self._item_ids, min(_SHOWN, len(self._item_ids))))
            event.placement = shared.PLACEMENT_RECOMMENDED_FOR_YOU
        else:
            event.item_id = self._random.choice(self._item_ids)
            if draw() < _PRICED_SHARE:
                event.price = round(draw() * 50, 2)
        return event


def is_known(shopper: str) -> bool:
    """Whether a shopper of the traffic has signed in; four of five have."""
    return random.Random(shopper).random() < _KNOWN_SHARE  # noqa: S311 - as above


def item_ids(bundle: Bundle, count: int, seed: int = 0) -> list[str]:
    """So many of a bundle's items, or all of them; the same for one seed."""
    ids = pl.read_parquet(bundle.path(files.ITEMS), columns=["item_id"])["item_id"]
    chosen: list[str] = ids.sample(min(count, ids.len()), seed=seed).to_list()
    return chosen
