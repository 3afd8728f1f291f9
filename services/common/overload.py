"""Turns calls away before queues grow, so that those let in are answered in time.

Choices:
- A call is refused at once, with RESOURCE_EXHAUSTED and the advice when to come back (AIP-194), when as many as one
  core can answer in good time are being computed, wait for it, or are on their way. One that has long been waiting for
  a back end does not count: a stalled Triton is no overload.
- How many that is depends on whether the process has been busy all the time: a burst at half load is let in, a queue
  that would stand for ever is not (the distinction of Nichols and Jacobson, "Controlling queue delay", 2012). While
  another release is being loaded, late is better than refused.
- Refusing needs the event loop, which a computation of milliseconds holds up. So computations take turns, those of the
  call that came first before others, and before each one the loop lets in or turns away every call that has arrived
  meanwhile. Without that, calls wait unseen inside gRPC for seconds, refused ones too.
- Health and reflection are never refused.

Knows nothing of what is computed.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from typing import Any, Protocol

import grpc
import grpc.aio
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry, Counter

from services.common.errors import Overloaded, status_of
from services.common.occupancy import Occupancy
from services.common.oldest_first import OldestFirst

IN_FLIGHT_MAX = 256
"""Calls at a time at most, those that wait for a back end included."""
BURST = 4
"""How many times as long the queue may be where the process has not been busy all the time."""
PATIENCE = 64
"""The same while the process is busy with itself: as many as may be in flight."""

_OURS = "/aisle."
_BUSY = 0.95
"""Share of the time from which a process counts as busy all the time."""
_SECONDS_PER_PLACE = 0.0075
"""A call that has not come to its computation after this for each place of the queue is waiting for a back end: less
than a full queue takes would let in others meanwhile, without end."""
_QUIET_ROUNDS = 4
"""Rounds of the event loop without a new call after which none is waiting: gRPC needs two to hand one over."""


class Turns(Protocol):
    """Who may compute."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Around a computation that holds the event loop for long."""

    def patience(self) -> AbstractContextManager[None]:
        """Around work of the process's own that makes all calls slower."""


class _NoTurns:
    def turn(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    def patience(self) -> AbstractContextManager[None]:
        return nullcontext()


NO_TURNS: Turns = _NoTurns()
"""Everybody at once: where no server needs to stay able to answer."""


class Admission(grpc.aio.ServerInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    """Lets calls in or turns them away, and says whose turn it is to compute. For one event loop."""

    def __init__(self, queue_max: int, registry: CollectorRegistry) -> None:
        """Let `queue_max` calls, 1 or more, compute, wait for their turn or be on their way where the process is busy
        all the time, and more otherwise; counts the others in `aisle_refused_requests_total`."""
        self._queue_max = queue_max
        self._on_its_way_seconds = queue_max * _SECONDS_PER_PLACE
        self._refused = Counter("aisle_refused_requests_total", "Calls turned away: overload.", registry=registry)
        self._occupancy = Occupancy()
        self._arrived = 0
        self._in_flight = 0
        self._waiting = 0
        self._busy_with_itself = 0
        self._on_its_way_since: dict[asyncio.Task[Any] | None, float] = {}
        self._computing = OldestFirst()
        self._came: dict[asyncio.Task[Any] | None, float] = {}
        status = rpc_status.to_status(status_of(Overloaded()))
        self._refusal = (status.code, status.details, status.trailing_metadata)
        self._refuse = grpc.unary_unary_rpc_method_handler(self._refusing)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the handler of a call, or replaces it by a refusal that does not even read the request."""
        if not handler_call_details.method.startswith(_OURS):
            return await continuation(handler_call_details)
        self._arrived += 1
        if self._is_full():
            return self._refuse
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            self._counted(handler.unary_unary), handler.request_deserializer, handler.response_serializer
        )

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until no other call computes, none that came earlier wants to, and none waits to be let in or turned
        away."""
        call = asyncio.current_task()
        is_a_call = self._on_its_way_since.pop(call, None) is not None
        self._waiting += 1
        try:
            await self._computing.acquire(self._came.get(call, math.inf))
            try:
                if self._in_flight > 1:
                    await self._let_others_in()
                yield
            finally:
                self._computing.release()
        finally:
            self._waiting -= 1
            if is_a_call:
                self._on_its_way_since[call] = time.monotonic()

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Let a longer queue build up meanwhile."""
        self._busy_with_itself += 1
        try:
            yield
        finally:
            self._busy_with_itself -= 1

    async def _let_others_in(self) -> None:
        quiet = 0
        while quiet < _QUIET_ROUNDS:
            before = self._arrived
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._arrived == before else 0

    def _is_full(self) -> bool:
        now = time.monotonic()
        on_their_way = sum(started > now - self._on_its_way_seconds for started in self._on_its_way_since.values())
        return self._waiting + on_their_way >= self._limit(now) or self._in_flight >= IN_FLIGHT_MAX

    def _limit(self, now: float) -> int:
        if self._busy_with_itself:
            return PATIENCE * self._queue_max
        return self._queue_max if self._occupancy.share(now) > _BUSY else BURST * self._queue_max

    def _counted(self, behavior: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            if self._is_full():  # others came in while this one was being read
                return await self._refusing(request, context)
            call, now = asyncio.current_task(), time.monotonic()
            self._in_flight += 1
            self._occupancy.becomes(now, busy=True)
            self._came[call] = self._on_its_way_since[call] = now
            try:
                return await behavior(request, context)
            finally:
                self._in_flight -= 1
                self._occupancy.becomes(time.monotonic(), busy=self._in_flight > 0)
                self._on_its_way_since.pop(call, None)
                del self._came[call]

        return answer

    async def _refusing(self, _request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        self._refused.inc()
        return await context.abort(*self._refusal)
