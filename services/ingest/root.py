"""The composition root of the ingest service: settings in, services out. Tests hand in their own parts."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import grpc.aio
from prometheus_client import CollectorRegistry

from features.shopper_digest import Digest, open_digest
from services.common.pointer import Pointer, following
from services.common.server import Register
from services.common.settings import SettingsError
from services.common.streams import Client, connect, is_cluster
from services.ingest import app
from services.ingest.app import EventServicer
from services.ingest.catalog import app as catalog
from services.ingest.catalog.root import catalogue
from services.ingest.catalog.store import COMMAND_SECONDS
from services.ingest.memory import MemoryGate
from services.ingest.metrics import IngestMetrics
from services.ingest.privacy import Places, on_demand
from services.ingest.pseudonym_key import pseudonym_key
from services.ingest.served_bundle import ServedBundle
from services.ingest.settings import IngestSettings
from services.ingest.writing import EventWriter


@asynccontextmanager
async def assembled(
    settings: IngestSettings, bundle: ServedBundle, registry: CollectorRegistry
) -> AsyncIterator[Register]:
    """The services over real parts, in the event loop that will use them; connections are closed on leaving.

    Raises:
        SettingsError: the address of Valkey or a file that the settings name cannot be read.
        BundleError: no bundle serves, or it is damaged.
    """
    timeout_seconds = settings.write_timeout_ms / 1000.0
    async with (
        aclosing(_client(settings, timeout_seconds)) as client,
        aclosing(_client(settings, COMMAND_SECONDS)) as patient,  # waits for changes for longer than a batch may take
    ):
        digest, key = _digest(settings), pseudonym_key(settings)
        writer = EventWriter(client, settings.shards, timeout_seconds, digest, is_cluster(client))
        async with (
            on_demand(_places(settings), digest, key) as privacy,
            catalogue(settings, patient, registry) as items,
            following(Pointer(settings.bundles), bundle.switch_to, settings.swap_poll_seconds),
        ):
            events = EventServicer(writer, items.known, bundle.now_us, IngestMetrics(registry), privacy)
            yield _both(app.registration(events), catalog.registration(items.servicer))


def gate(settings: IngestSettings, registry: CollectorRegistry) -> MemoryGate:
    """What bounds the memory of the calls."""
    return MemoryGate(settings.in_flight_bytes_max, settings.request_bytes_max, registry)


def _client(settings: IngestSettings, timeout_seconds: float) -> Client:
    try:
        return connect(settings.redis, timeout_seconds)
    except ValueError as error:
        raise SettingsError(f"AISLE_REDIS: {error}") from None


def _places(settings: IngestSettings) -> Places:
    return Places(
        redis=settings.redis,
        shards=settings.shards,
        live_dir=settings.live_dir,
        feast_dir=settings.feast_dir,
        offline_dir=settings.offline_dir,
        training_dir=settings.training_dir,
    )


def _both(*registrations: Register) -> Register:
    def register(server: grpc.aio.Server) -> list[str]:
        return [name for one in registrations for name in one(server)]

    return register


def _digest(settings: IngestSettings) -> Digest:
    try:
        return open_digest(settings.live_dir, settings.audit_key_file)
    except (ValueError, OSError) as error:
        raise SettingsError(f"AISLE_AUDIT_KEY_FILE: {error}") from error
