"""`python -m tests.stalling_server PORT CALL SECONDS`: answers at once, but for one stall at the call of that number.

The whole process stands still then, as one does whose memory is full or whose disk is away: calls that come meanwhile
wait as well. Answers Recommend with one item.
"""

import asyncio
import itertools
import sys
import time

import grpc.aio
from aisle.v1 import recommendation_service_pb2 as messages
from aisle.v1 import recommendation_service_pb2_grpc as stubs

_REPLY = messages.RecommendResponse(results=[messages.RankedItem(item_id="1", score=1.0)], bundle_version="none")


class StallingServicer(stubs.RecommendationServiceServicer):
    """One item, always the same."""

    def __init__(self, at_call: int, seconds: float) -> None:
        """Count calls from 1."""
        self._numbers, self._at_call, self._seconds = itertools.count(1), at_call, seconds

    async def Recommend(  # noqa: N802 - the rpc's name
        self,
        request: messages.RecommendRequest,  # noqa: ARG002 - looked at by nobody
        context: grpc.aio.ServicerContext[messages.RecommendRequest, messages.RecommendResponse],  # noqa: ARG002
    ) -> messages.RecommendResponse:
        """The reply."""
        if next(self._numbers) == self._at_call:
            time.sleep(self._seconds)  # the stall itself: not awaited, so that nobody is answered
        return _REPLY


async def serve(port: int, at_call: int, seconds: float) -> None:
    """Until the process is ended."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    stubs.add_RecommendationServiceServicer_to_server(StallingServicer(at_call, seconds), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print("up", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
