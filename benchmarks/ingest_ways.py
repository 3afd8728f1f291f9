"""Three ways of taking an event in: `WriteEvents`, Feast's push, XADD. What is sent is made before it is timed."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import grpc
import polars as pl
import redis
from aisle.v1 import event_service_pb2 as messages
from aisle.v1.event_service_pb2_grpc import EventServiceStub

from features.feast_repo import view_name

_CALL_SECONDS = 10.0
_STREAM = "bench:events"

Calls = list[Callable[[], Any]]


def made_events(shoppers: Sequence[str], items: Sequence[str]) -> Iterator[messages.Event]:
    """Clicks without end, each with an id of its own."""
    pairs = zip(itertools.cycle(shoppers), itertools.cycle(items), strict=True)
    for number, (user_id, item_id) in enumerate(pairs):
        yield messages.Event(
            event_id=f"bench-{number}",
            event_type=messages.EVENT_TYPE_CLICK,
            user_id=user_id,
            item_id=item_id,
            price=2.5,
        )


class WrittenEvents:
    """Events by `EventService.WriteEvents`."""

    def __init__(self, address: str, events: Iterator[messages.Event]) -> None:
        """Connects at the first call."""
        self._channel, self._events = grpc.insecure_channel(address), events
        self._stub = EventServiceStub(self._channel)

    def calls(self, count: int, batch: int) -> Calls:
        """Calls with so many events each, every one of which must be ACCEPTED."""
        requests = [messages.WriteEventsRequest(events=itertools.islice(self._events, batch)) for _ in range(count)]
        return [partial(self._write, request) for request in requests]

    def _write(self, request: messages.WriteEventsRequest) -> None:
        reply = self._stub.WriteEvents(request, timeout=_CALL_SECONDS)
        if any(result.status != messages.EVENT_STATUS_ACCEPTED for result in reply.results):
            raise ValueError(f"not accepted: {reply.results[0]}")

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()


class PushedRows:
    """Feature rows by Feast's `push`, as of the event that changed them."""

    def __init__(self, store: Any, users: pl.DataFrame) -> None:
        """Args:
        store: Feast's.
        users: `user_id` and the USER_FEATURES, which somebody has recomputed after each event.
        """
        self._store, self._users = store, users
        self._next, self._stamp, self._last = 0, datetime.now(UTC), ""

    def calls(self, count: int, batch: int) -> Calls:
        """Pushes of so many rows each, later than all before."""
        frames = [self._frame(batch) for _ in range(count)]
        return [partial(self._store.push, view_name("user_push"), frame) for frame in frames]

    def _frame(self, batch: int) -> Any:
        places = [(self._next + place) % self._users.height for place in range(batch)]
        self._next, self._stamp = self._next + batch, self._stamp + timedelta(milliseconds=1)
        stamp = pl.lit(self._stamp, dtype=pl.Datetime("us", "UTC"))
        frame = self._users[places].with_columns(event_timestamp=stamp, created=stamp)
        self._last = frame["user_id"][-1]
        return frame.to_pandas()

    def check(self) -> None:
        """Raises ValueError where the last row that was pushed cannot be read."""
        answer = self._store.get_online_features(
            features=[f"{view_name('user_live')}:event_count"], entity_rows=[{"user_id": self._last}]
        ).to_dict()
        if answer["event_count"] == [None]:
            raise ValueError(f"shopper {self._last}: pushed, and not in the store")


class StreamedEvents:
    """Events by XADD, each as its bytes in one field."""

    def __init__(self, address: str, events: Iterator[messages.Event]) -> None:
        """Args: address: Valkey's host:port."""
        host, _, port = address.partition(":")
        self._client, self._events = redis.Redis(host=host, port=int(port)), events

    def calls(self, count: int, batch: int) -> Calls:
        """One XADD each, or pipelines of so many."""
        entries = [[event.SerializeToString() for event in itertools.islice(self._events, batch)] for _ in range(count)]
        if batch == 1:
            return [partial(self._client.xadd, _STREAM, {"e": entry}) for [entry] in entries]
        return [partial(self._add, some) for some in entries]

    def _add(self, entries: Sequence[bytes]) -> None:
        with self._client.pipeline(transaction=False) as pipe:
            for entry in entries:
                pipe.xadd(_STREAM, {"e": entry})
            pipe.execute()
