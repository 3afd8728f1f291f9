"""The ingest service on a real socket and a real Valkey: how tests start it, ask it and look behind it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from aisle.v1 import event_service_pb2 as messages
from aisle.v1 import event_service_pb2_grpc as stubs
from prometheus_client import CollectorRegistry

from features.shopper_digest import Digest, open_digest
from services.common.server import running_server
from services.common.streams import Client, all_shards, connect
from services.ingest.app import SERVICE_NAME
from services.ingest.root import assembled, gate
from services.ingest.served_bundle import ServedBundle
from services.ingest.settings import IngestSettings

CALL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class RunningIngest:
    """The service, a channel to it, its metrics, a connection to the Valkey behind it, and how it names opt-outs."""

    channel: grpc.aio.Channel
    valkey: Client
    registry: CollectorRegistry
    shards: int
    digest: Digest

    @property
    def stub(self) -> Any:
        """Calls of the service."""
        return stubs.EventServiceStub(self.channel)

    async def write(self, *events: messages.Event, **fields: Any) -> messages.WriteEventsResponse:
        """One batch."""
        request = messages.WriteEventsRequest(events=events, **fields)
        reply: messages.WriteEventsResponse = await self.stub.WriteEvents(request, timeout=CALL_SECONDS)
        return reply

    async def write_raw(self, request: bytes) -> messages.WriteEventsResponse:
        """One batch as bytes, which need not be a message."""
        method = self.channel.unary_unary(f"/{SERVICE_NAME}/WriteEvents", None, messages.WriteEventsResponse.FromString)
        reply: messages.WriteEventsResponse = await method(request, timeout=CALL_SECONDS)
        return reply

    async def stored(self, prefix: str) -> list[messages.Event]:
        """The events in all streams whose ids begin so, each as often as it is there."""
        return await stored(self.valkey, self.shards, prefix)


async def stored(valkey: Client, shards: int, prefix: str) -> list[messages.Event]:
    """The events in all streams whose ids begin so, each as often as it is there."""
    found = []
    for keys in all_shards(shards):
        for _, fields in await valkey.xrange(keys.events):
            event = messages.Event.FromString(fields[b"e"])
            if event.event_id.startswith(prefix):
                found.append(event)
    return found


def statuses(reply: messages.WriteEventsResponse) -> list[str]:
    """Without their common prefix."""
    return [messages.EventStatus.Name(result.status).removeprefix("EVENT_STATUS_") for result in reply.results]


def fields(reply: messages.WriteEventsResponse) -> Sequence[str]:
    """What each result names."""
    return [result.field for result in reply.results]


@asynccontextmanager
async def running_ingest(bundles: Path, valkey: str, **changes: Any) -> AsyncIterator[RunningIngest]:
    """The service as its process assembles it, with a clock that stands still."""
    known: dict[str, Any] = {"bundles": bundles, "redis": valkey, "clock": "as-of", "drain_seconds": 1.0}
    known |= {f"{name}_dir": bundles.parent / name for name in ("live", "feast", "offline", "training")}
    settings = IngestSettings(**(known | changes))
    registry, client = CollectorRegistry(), connect(valkey)
    try:
        async with (
            assembled(settings, ServedBundle(bundles, settings.clock), registry) as register,
            running_server(settings, 0, register, registry=registry, admission=gate(settings, registry)) as server,
            grpc.aio.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) as channel,
        ):
            digest = open_digest(settings.live_dir, settings.audit_key_file)
            yield RunningIngest(channel, client, registry, settings.shards, digest)
    finally:
        await client.aclose()
