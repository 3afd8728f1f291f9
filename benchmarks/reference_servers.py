"""`python -m benchmarks.reference_servers empty|full PORT`: what the ranking service is measured against.

`empty` answers Recommend with the same twenty items: a call of gRPC and nothing else. `full` has Aisle's own admission
with all its places taken for ever: every call is refused, which is what a refusal costs.
"""

import argparse
import asyncio

import grpc.aio
from aisle.v1 import recommendation_service_pb2 as messages
from aisle.v1 import recommendation_service_pb2_grpc as stubs
from prometheus_client import CollectorRegistry

from services.common.overload import BURST, Admission

ITEMS = 20
_SOURCE = messages.CANDIDATE_SOURCE_INTEREST


class EmptyServicer(stubs.RecommendationServiceServicer):
    """Twenty items, always the same."""

    def __init__(self) -> None:
        """Make the reply once."""
        results = [
            messages.RankedItem(item_id=f"{1_000_000 + number}", score=1.0, interest_score=0.5, source=_SOURCE)
            for number in range(ITEMS)
        ]
        self._reply = messages.RecommendResponse(results=results, recommendation_id="0" * 32, bundle_version="none")

    async def Recommend(  # noqa: N802 - the rpc's name
        self,
        request: messages.RecommendRequest,  # noqa: ARG002 - looked at by nobody
        context: grpc.aio.ServicerContext[messages.RecommendRequest, messages.RecommendResponse],  # noqa: ARG002
    ) -> messages.RecommendResponse:
        """The reply."""
        return self._reply


async def serve(kind: str, port: int) -> None:
    """Until the process is ended."""
    interceptors = []
    async with asyncio.TaskGroup() as group:
        if kind == "full":
            admission = Admission(1, CollectorRegistry())
            for _ in range(BURST):
                group.create_task(_take_the_place(admission))
            interceptors.append(admission)
        server = grpc.aio.server(interceptors=interceptors, options=[("grpc.so_reuseport", 0)])
        stubs.add_RecommendationServiceServicer_to_server(EmptyServicer(), server)
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        await server.wait_for_termination()


async def _take_the_place(admission: Admission) -> None:
    async with admission.turn():
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reference_servers", description=__doc__)
    parser.add_argument("kind", choices=("empty", "full"))
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    asyncio.run(serve(options.kind, options.port))
