"""Bounds the memory that requests take: a call is read once there is room for the largest there may be.

Choices:
- Before it is read nobody knows a call's size, so that one that is being read counts as the largest; once it is here,
  as what it is. Many small batches go side by side, and few large ones.
- Who has to wait does so unread: gRPC's flow control holds the bytes back at the caller. Who would wait long, or behind
  many, is turned away with RESOURCE_EXHAUSTED.
- What a call holds is given back when its task ends, however it ends: a caller may hang up before anything is read.
- Health and reflection are never held up.

Must stand outside of whatever decodes, since it measures bytes. Knows nothing of what is asked for.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry, Counter, Gauge

from services.common.errors import Overloaded, status_of

CALLS_MAX = 256
"""Calls at a time, those that wait included."""

_OURS = "/aisle."
_WAIT_SECONDS = 1.0

_Call = asyncio.Task[Any]


class MemoryGate(grpc.aio.ServerInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    """Lets calls in as far as their bytes have room. For one event loop."""

    def __init__(self, bytes_max: int, request_bytes_max: int, registry: CollectorRegistry) -> None:
        """Counts the calls turned away in `aisle_refused_requests_total`.

        Args:
            bytes_max: What the requests in this process may come to; `request_bytes_max` or more.
            request_bytes_max: What the server reads of one.
            registry: Where the metrics go.
        """
        self._bytes_max = bytes_max
        self._request_bytes_max = request_bytes_max
        self._refused = Counter("aisle_refused_requests_total", "Calls turned away: overload.", registry=registry)
        Gauge("aisle_request_bytes", "Room taken by requests.", registry=registry).set_function(lambda: self._taken)
        self._taken = 0
        self._held: dict[_Call, int] = {}
        self._waiting: deque[tuple[_Call, asyncio.Future[None]]] = deque()
        status = rpc_status.to_status(status_of(Overloaded()))
        self._refusal = (status.code, status.details, status.trailing_metadata)
        self._refuse = grpc.unary_unary_rpc_method_handler(self._refusing)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Waits for room, then wraps the handler, or replaces it by a refusal that does not read the request."""
        if not handler_call_details.method.startswith(_OURS):
            return await continuation(handler_call_details)
        if not await self._has_room():
            return self._refuse
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            self._measured(handler.unary_unary), handler.request_deserializer, handler.response_serializer
        )

    async def _has_room(self) -> bool:
        """Takes room for the largest request; False: there is none in good time."""
        call = asyncio.current_task()
        if call is None or len(self._held) + len(self._waiting) >= CALLS_MAX:
            return False
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, given))
        call.add_done_callback(self._give_back)
        self._hand_out()
        if not given.done():
            await asyncio.wait([given], timeout=_WAIT_SECONDS)
        if given.done():
            return True
        self._waiting.remove((call, given))
        return False

    def _hand_out(self) -> None:
        """Gives room to those who wait, the first first."""
        while self._waiting and self._taken + self._request_bytes_max <= self._bytes_max:
            call, given = self._waiting.popleft()
            self._held[call] = self._request_bytes_max
            self._taken += self._request_bytes_max
            given.set_result(None)

    def _give_back(self, call: _Call) -> None:
        self._waiting = deque(entry for entry in self._waiting if entry[0] is not call)
        self._taken -= self._held.pop(call, 0)
        self._hand_out()

    def _measured(self, behavior: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
        async def answer(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            call = asyncio.current_task()
            if call in self._held:
                self._taken += len(request) - self._held[call]
                self._held[call] = len(request)
                self._hand_out()
            return await behavior(request, context)

        return answer

    async def _refusing(self, _request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        self._refused.inc()
        return await context.abort(*self._refusal)
