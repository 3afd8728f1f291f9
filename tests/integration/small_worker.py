"""`python -m tests.integration.small_worker`: a worker that answers with its pid, for tests of workers."""

import asyncio
import os
import sys

import grpc.aio
from aisle.v1 import recommendation_service_pb2 as messages
from aisle.v1 import recommendation_service_pb2_grpc as stubs

from services.common.server import serve
from services.common.settings import ServiceSettings
from services.common.workers import worker_number


class PidServicer(stubs.RecommendationServiceServicer):
    """Says who answers."""

    async def Recommend(  # noqa: N802 - the rpc's name
        self,
        request: messages.RecommendRequest,  # noqa: ARG002
        context: grpc.aio.ServicerContext[messages.RecommendRequest, messages.RecommendResponse],  # noqa: ARG002
    ) -> messages.RecommendResponse:
        """The pid, and which worker it is."""
        return messages.RecommendResponse(recommendation_id=str(os.getpid()), bundle_version=str(worker_number()))


def _register(server: grpc.aio.Server) -> list[str]:
    stubs.add_RecommendationServiceServicer_to_server(PidServicer(), server)
    return ["aisle.v1.RecommendationService"]


if __name__ == "__main__":
    if "broken" in os.environ.get("SMALL_WORKER", ""):
        sys.exit("broken")
    asyncio.run(serve(ServiceSettings(), int(os.environ["SMALL_WORKER_PORT"]), _register, reuse_port=True))
