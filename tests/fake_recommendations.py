"""A recommendation service that does what each test wants, for tests of servers and clients."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc.aio
from aisle.v1 import recommendation_service_pb2 as messages
from aisle.v1 import recommendation_service_pb2_grpc as stubs

SERVICE_NAME = "aisle.v1.RecommendationService"
Behavior = Callable[[messages.RecommendRequest], Awaitable[messages.RecommendResponse]]
Context = grpc.aio.ServicerContext[messages.RecommendRequest, messages.RecommendResponse]


async def answer(request: messages.RecommendRequest) -> messages.RecommendResponse:
    """One item, named after the shopper."""
    return messages.RecommendResponse(results=[messages.RankedItem(item_id=f"for {request.user_id}")])


class FakeRecommendations(stubs.RecommendationServiceServicer):
    """Answers Recommend with `behavior` and keeps what it was asked; the others are fixed."""

    def __init__(self, behavior: Behavior = answer) -> None:
        self.behavior = behavior
        self.requests: list[messages.RecommendRequest] = []
        self.seconds_left: list[float | None] = []

    async def Recommend(  # noqa: N802 - the rpc's name
        self, request: messages.RecommendRequest, context: Context
    ) -> messages.RecommendResponse:
        self.requests.append(request)
        self.seconds_left.append(context.time_remaining())
        return await self.behavior(request)

    async def Rank(  # noqa: N802
        self,
        request: messages.RankRequest,
        context: Context,  # noqa: ARG002
    ) -> messages.RankResponse:
        return messages.RankResponse(results=[messages.RankedItem(item_id=item_id) for item_id in request.item_ids])

    async def BatchRecommend(  # noqa: N802
        self,
        request: messages.BatchRecommendRequest,
        context: Context,  # noqa: ARG002
    ) -> messages.BatchRecommendResponse:
        return messages.BatchRecommendResponse(responses=[await answer(entry) for entry in request.requests])

    def register(self, server: grpc.aio.Server) -> list[str]:
        """For `running_server`."""
        stubs.add_RecommendationServiceServicer_to_server(self, server)
        return [SERVICE_NAME]


class Gate:
    """A behaviour that waits: tests see that a call is inside, and let it out when they want."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, request: messages.RecommendRequest) -> messages.RecommendResponse:
        self.entered.set()
        await self.opened.wait()
        return await answer(request)
