"""Calls of the ranking service as bytes: what is sent need not be a message.

Choices: no retries, so that nothing a server answered is hidden; channels share no connection.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import grpc
import grpc.aio
from aisle.v1 import recommendation_service_pb2 as messages
from google.protobuf.message import Message

from services.common.errors import STATUS_CODES
from services.ranking.app import SERVICE_NAME

KINDS: dict[str, type[Message]] = {
    "Recommend": messages.RecommendRequest,
    "Rank": messages.RankRequest,
    "BatchRecommend": messages.BatchRecommendRequest,
}
"""Method to what it awaits."""
REPLIES: dict[str, type[Message]] = {
    "Recommend": messages.RecommendResponse,
    "Rank": messages.RankResponse,
    "BatchRecommend": messages.BatchRecommendResponse,
}
"""Method to what it answers."""
DOCUMENTED = {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED, *STATUS_CODES.values()}
"""What a call may be answered with. RESOURCE_EXHAUSTED is gRPC's own word for a message over its size limit."""
_OPTIONS = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
_CHANNELS = 4
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Call:
    """What is sent."""

    method: str
    """A key of `KINDS`."""
    payload: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back."""

    code: grpc.StatusCode
    details: str
    reply: bytes
    """Empty where the code is not OK."""


async def ask_all(
    address: str, calls: Iterable[Call], heard: Callable[[Call, Answer], None], in_flight: int = 4
) -> None:
    """Send every call, `in_flight` at a time, and hand over each answer as it comes."""
    waiting = iter(calls)

    async def ask(channel: grpc.aio.Channel) -> None:
        methods = {name: channel.unary_unary(f"/{SERVICE_NAME}/{name}", None, None) for name in KINDS}
        for call in waiting:
            try:
                reply = await methods[call.method](call.payload, timeout=_TIMEOUT_SECONDS)
                answer = Answer(grpc.StatusCode.OK, "", bytes(reply))
            except grpc.aio.AioRpcError as error:
                answer = Answer(error.code(), error.details() or "", b"")
            heard(call, answer)

    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address, _OPTIONS)) for _ in range(_CHANNELS)
        ]
        await asyncio.gather(*(ask(channels[number % _CHANNELS]) for number in range(in_flight)))
