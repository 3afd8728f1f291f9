"""Where a name stands for several servers, as a headless service of Kubernetes does, each gets its turn."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import grpc
import grpc.aio
import numpy as np
import pytest

from services.common.scorer import TritonScorer
from services.common.towers import VECTOR_WIDTH, TowerModels
from services.ranking.retriever import RemoteRetriever, RetrieverUnavailable

CALLS = 20


class Counting(grpc.GenericRpcHandler):  # type: ignore[type-arg] # generic in the stubs only
    """Counts the calls of a server that knows no method."""

    def __init__(self) -> None:
        self.calls = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> None:  # noqa: ARG002 - gRPC's name
        self.calls += 1


@asynccontextmanager
async def two_servers() -> AsyncIterator[tuple[str, list[Counting]]]:
    """A target that stands for both, and what they count."""
    counts, ports = [Counting(), Counting()], list[int]()
    async with AsyncExitStack() as stopping:
        for count in counts:
            server = grpc.aio.server(handlers=[count])
            ports.append(server.add_insecure_port("127.0.0.1:0"))
            await server.start()
            stopping.push_async_callback(server.stop, None)
        yield "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports), counts


async def asks_triton(target: str) -> None:
    scorer = TritonScorer(target, TowerModels.of_version("tiny.1"))
    for _ in range(CALLS):
        assert not await scorer.ready(timeout_seconds=5.0)
    await scorer.close()


async def asks_the_retrieval_service(target: str) -> None:
    retriever = RemoteRetriever(target, "tiny.1")
    for _ in range(CALLS):
        with suppress(RetrieverUnavailable):
            await retriever.nearest(np.ones((1, VECTOR_WIDTH), np.float32), 1, np.ones(8, dtype=np.bool_), 5.0)
    await retriever.close()


@pytest.mark.parametrize("asks", [asks_triton, asks_the_retrieval_service])
async def test_every_server_behind_a_name_is_asked(asks: Callable[[str], Awaitable[None]]) -> None:
    async with two_servers() as (target, counts):
        await asks(target)
        assert sum(count.calls for count in counts) >= CALLS
        assert min(count.calls for count in counts) >= CALLS // 4
