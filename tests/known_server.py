"""`python -m tests.known_server PORT SERVERS SECONDS`: a recommendation service whose capacity is known exactly.

So many servers answer one call after the other, each in exactly so many seconds: a call's end is reckoned from the end
of the call before it, not measured, so that no timer that fires late and no core that is taken away makes the next call
later. While calls wait the servers are never idle: SERVERS / SECONDS calls a second are answered, and no more. It takes
next to no CPU. Calls that nobody waits for any more are worked off all the same.
"""

import argparse
import asyncio
import heapq
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import grpc.aio
from aisle.v1 import recommendation_service_pb2 as messages
from aisle.v1 import recommendation_service_pb2_grpc as stubs

from services.common.process import ManagedProcess, free_port

_READY_SECONDS = 30.0
_ITEMS = 20


class KnownServicer(stubs.RecommendationServiceServicer):
    """The queue and its servers."""

    def __init__(self, servers: int, seconds: float) -> None:
        """All servers are idle."""
        self._seconds = seconds
        self._free_at = [0.0] * servers
        results = [messages.RankedItem(item_id=str(number), score=1.0) for number in range(_ITEMS)]
        self._reply = messages.RecommendResponse(results=results, recommendation_id="0" * 32, bundle_version="known")

    async def Recommend(  # noqa: N802 - the rpc's name
        self,
        request: messages.RecommendRequest,
        context: grpc.aio.ServicerContext[messages.RecommendRequest, messages.RecommendResponse],  # noqa: ARG002
    ) -> messages.RecommendResponse:
        """The reply, once a server has been at it for its time; one that is only to be checked, at once."""
        if request.validate_only:
            return messages.RecommendResponse(bundle_version="known")
        now = asyncio.get_running_loop().time()
        end = max(now, heapq.heappop(self._free_at)) + self._seconds
        heapq.heappush(self._free_at, end)
        await asyncio.sleep(end - now)
        return self._reply


async def serve(port: int, servers: int, seconds: float) -> None:
    """Until the process is ended."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    stubs.add_RecommendationServiceServicer_to_server(KnownServicer(servers, seconds), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


@contextmanager
def known_server(servers: int, seconds: float, log: Path) -> Iterator[str]:
    """The server as a process of its own; its address."""
    port = free_port()
    command = [sys.executable, "-m", "tests.known_server", str(port), str(servers), str(seconds)]
    with ManagedProcess("known server", command, log_path=log):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(_READY_SECONDS)
        yield f"127.0.0.1:{port}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.known_server", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("servers", type=int)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.servers, options.seconds))
