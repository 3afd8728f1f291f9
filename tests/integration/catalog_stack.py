"""The catalogue as the ingest process has it, on a real socket, over the tiny shop, a real Valkey and a real Triton."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
from aisle.v1 import catalog_service_pb2 as messages
from aisle.v1 import catalog_service_pb2_grpc as stubs
from prometheus_client import CollectorRegistry
from tritonclient.grpc import InferenceServerClient

from features.live_items import LiveItem, from_json, vector_from_bytes
from services.common import streams
from services.common.process import free_port
from services.common.server import running_server
from services.common.streams import Client, catalogue_vectors, connect
from services.common.towers import VECTOR_WIDTH, FloatArray
from services.ingest.catalog.app import registration
from services.ingest.catalog.known import Known
from services.ingest.catalog.root import catalogue
from services.ingest.catalog.store import COMMAND_SECONDS
from services.ingest.settings import IngestSettings
from tests.integration.conftest import TinyTriton

VERSION = "tiny.1"
PATIENCE_SECONDS = 20.0
_LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class RunningCatalogue:
    """The service, and what is behind it."""

    stub: Any
    known: Known
    registry: CollectorRegistry
    valkey: Client

    async def upsert(self, *items: messages.Item, **fields: Any) -> list[messages.ItemResult]:
        """The results."""
        request = messages.UpsertItemsRequest(items=items, **fields)
        return list((await self.stub.UpsertItems(request, timeout=PATIENCE_SECONDS)).results)

    async def delete(self, *item_ids: str) -> list[messages.ItemResult]:
        """The results."""
        request = messages.DeleteItemsRequest(item_ids=item_ids)
        return list((await self.stub.DeleteItems(request, timeout=PATIENCE_SECONDS)).results)

    async def live(self, item_id: str, key: str = streams.CATALOGUE_ITEMS) -> LiveItem | None:
        """The item as it is stored."""
        text = await self.valkey.hget(key, item_id)
        return None if text is None else from_json(text)

    async def vector(self, item_id: str, version: str = VERSION) -> FloatArray | None:
        """Its vector."""
        written = await self.valkey.hget(catalogue_vectors(version), item_id)
        return None if written is None else vector_from_bytes(written, VECTOR_WIDTH)

    async def changes(self) -> list[tuple[str, int]]:
        """Every entry of the stream: item and revision."""
        entries = await self.valkey.xrange(streams.CATALOGUE_CHANGES)
        return [(fields[b"item_id"].decode(), int(fields[b"revision"])) for _, fields in entries]

    def metric(self, name: str, **labels: str) -> float:
        """A metric's value."""
        return self.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def running_catalogue(
    bundles: Path, live: Path, valkey: str, triton: str, fold_seconds: float = 0.0, **changes: Any
) -> AsyncIterator[RunningCatalogue]:
    """The service as its process assembles it."""
    known: dict[str, Any] = {
        "bundles": bundles,
        "live_dir": live,
        "redis": valkey,
        "triton_address": triton,
        "text_timeout_ms": 10_000.0,
        "swap_poll_seconds": 0.05,
        "drain_seconds": 1.0,
    }
    settings = IngestSettings(**(known | changes))
    registry = CollectorRegistry()
    client = connect(valkey, COMMAND_SECONDS)
    try:
        async with (
            catalogue(settings, client, registry, fold_seconds) as parts,
            running_server(settings, 0, registration(parts.servicer), registry=registry) as server,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            yield RunningCatalogue(stubs.CatalogServiceStub(channel), parts.known, registry, client)
    finally:
        await client.aclose()


class Door:
    """A port before Triton that nobody listens on until it is opened."""

    def __init__(self, triton: str) -> None:
        """Closed."""
        self._host, _, port = triton.rpartition(":")
        self._triton_port = int(port)
        self._port = free_port()
        self.address = f"127.0.0.1:{self._port}"

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Open for the length of the block."""
        server = await asyncio.start_server(self._forward, "127.0.0.1", self._port)
        async with server:
            yield

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection(self._host, self._triton_port)
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(_pump(reader, other_writer), _pump(other_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def until(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """What the condition, a function or a coroutine's, gives once it is true."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found is not None and found is not False:
            return found
        assert time.monotonic() < deadline, "it did not come to be"
        await asyncio.sleep(_LOOK_SECONDS)


def text_runs(triton: TinyTriton, model: str) -> int:
    """How many texts Triton has encoded with a model."""
    with InferenceServerClient(triton.process.grpc_address) as client:
        (statistics,) = client.get_inference_statistics(model).model_stats
    return int(statistics.inference_count)


def assert_same(found: FloatArray | None, expected: FloatArray) -> None:
    """A vector is what it should be."""
    assert found is not None
    np.testing.assert_allclose(found, expected, atol=1e-5)


def stored(text: bytes) -> dict[str, Any]:
    """A stored item as other languages see it."""
    found: dict[str, Any] = json.loads(text)
    return found
