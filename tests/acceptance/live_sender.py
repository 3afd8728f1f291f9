"""A shop's writer of events: it keeps each event until it is told what became of it."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import grpc.aio
from aisle.v1 import event_service_pb2 as messages
from aisle.v1.event_service_pb2_grpc import EventServiceStub

CALL_SECONDS = 5.0
RETRY_SECONDS = 0.05
_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
]
_RETRIED = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"}
"""How a call ends when the server, or the connection to it, ends."""
_ACKNOWLEDGED = (messages.EVENT_STATUS_ACCEPTED, messages.EVENT_STATUS_DUPLICATE)


class Milestones:
    """How many there have been, for whoever waits for the next; between threads."""

    def __init__(self) -> None:
        """None yet."""
        self.count = 0
        self._changed = threading.Condition()
        self._error: BaseException | None = None

    def add(self, count: int) -> None:
        """There were more."""
        with self._changed:
            self.count += count
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """There will be no more."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def wait_for(self, count: int, seconds: float) -> None:
        """Until there have been so many.

        Raises:
            TimeoutError: not within `seconds`; says how many there were.
            RuntimeError: whoever makes them has failed.
        """
        with self._changed:
            came = self._changed.wait_for(lambda: self._error is not None or self.count >= count, seconds)
            if self._error is not None:
                raise RuntimeError("the writer has failed") from self._error
            if not came:
                raise TimeoutError(f"{self.count} of {count} within {seconds:g} s")


@dataclass(slots=True)
class Written:
    """What became of the events so far."""

    acknowledged: set[str] = field(default_factory=set)
    """Ids of the events that are ACCEPTED, or DUPLICATE of what an earlier try wrote."""
    statuses: Counter[str] = field(default_factory=Counter)
    """Name of status to how often it was given."""
    failed_calls: Counter[str] = field(default_factory=Counter)
    """Name of gRPC status to how often a call ended so."""
    seconds: list[float] = field(default_factory=list)
    """Of each call that was answered."""


class Sender:
    """Writes batches to the event service, again and again if need be. For one event loop; an `async with` block."""

    def __init__(self, address: str, *, connections: int = 1) -> None:
        """Connects at the first call."""
        self._channels = [grpc.aio.insecure_channel(address, options=_OPTIONS) for _ in range(connections)]
        self._stubs = [EventServiceStub(channel) for channel in self._channels]
        self._calls = 0
        self.written = Written()
        self.milestones = Milestones()

    async def deliver(self, events: Sequence[messages.Event]) -> None:
        """Return when every event has a status other than UNAVAILABLE."""
        left = list(events)
        while left:
            results = await self.once(left)
            left = [event for event, status in zip(left, results, strict=True) if not _is_final(status)]
            if left:
                await asyncio.sleep(RETRY_SECONDS)

    async def once(self, events: Sequence[messages.Event]) -> "list[messages.EventStatus]":
        """One call: the status of each event; all UNAVAILABLE where the call failed as calls do when a server ends.

        Raises:
            AioRpcError: it failed otherwise.
        """
        stub = self._stubs[self._calls % len(self._stubs)]
        self._calls += 1
        started = time.perf_counter()
        try:
            reply = await stub.WriteEvents(messages.WriteEventsRequest(events=events), timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            self.written.failed_calls[error.code().name] += 1
            if error.code().name not in _RETRIED:
                raise
            return [messages.EVENT_STATUS_UNAVAILABLE] * len(events)
        self.written.seconds.append(time.perf_counter() - started)
        statuses = [result.status for result in reply.results]
        self._write_down(events, statuses)
        return statuses

    def _write_down(self, events: Sequence[messages.Event], statuses: "Sequence[messages.EventStatus]") -> None:
        before = len(self.written.acknowledged)
        for event, status in zip(events, statuses, strict=True):
            self.written.statuses[messages.EventStatus.Name(status).removeprefix("EVENT_STATUS_")] += 1
            if status in _ACKNOWLEDGED:
                self.written.acknowledged.add(event.event_id)
        self.milestones.add(len(self.written.acknowledged) - before)

    async def __aenter__(self) -> Self:
        """The sender itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends the connections."""
        for channel in self._channels:
            await channel.close(None)


def _is_final(status: "messages.EventStatus") -> bool:
    return status not in {messages.EVENT_STATUS_UNAVAILABLE, messages.EVENT_STATUS_UNSPECIFIED}
