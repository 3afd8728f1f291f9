"""Assembles, runs and stops a gRPC server; alike for every service.

Choices: one event loop per process, and for more cores more processes on one port (`reuse_port`). Standard health and
reflection everywhere; TLS, keys and the largest request by settings. A server is a context manager, so that tests run
it in their own process; `serve` adds what a process of its own needs. Knows nothing of any service: `register` adds
servicers and says their names.
"""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer  # `health.aio` at run time; the stubs lack that name
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from services.common.errors import ErrorInterceptor
from services.common.security import guards
from services.common.settings import ServiceSettings
from services.common.telemetry import CallMetrics, configure_logging, start_exporter
from services.common.tls import server_credentials
from services.common.tracing import tracing
from services.common.workers import worker_number

logger = logging.getLogger(__name__)

Register = Callable[[grpc.aio.Server], Sequence[str]]
"""Adds servicers to a server and returns the full names of their services."""

_METADATA_BYTES_MAX = 8192
"""Headers of a call, of which a key and a trace are a tenth."""
_FLUSH_SECONDS = 0.5
"""How long, after the last call is answered, the answer has to leave; then streams (health watches) are cut."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that accepts calls."""

    address: str
    """`host:port`, the port being the real one."""
    port: int
    """The port it listens on."""
    health: HealthServicer
    """Its health service."""
    names: tuple[str, ...]
    """Full names of the services whose health is reported, beside "" for the whole server."""

    async def set_serving(self, serving: bool) -> None:
        """Reports all services as SERVING or NOT_SERVING."""
        status = health_pb2.HealthCheckResponse
        for name in ("", *self.names):
            await self.health.set(name, status.SERVING if serving else status.NOT_SERVING)


@asynccontextmanager
async def running_server(
    settings: ServiceSettings,
    port: int,
    register: Register,
    *,
    registry: CollectorRegistry | None = None,
    admission: grpc.aio.ServerInterceptor | None = None,  # type: ignore[type-arg] # generic in the stubs only
    reuse_port: bool = False,
) -> AsyncIterator[RunningServer]:
    """Runs a server for the length of the `async with` block, then stops it gracefully.

    Args:
        settings: host, reflection, TLS, keys, shutdown times.
        port: port to listen on; 0 for a free one.
        register: adds the servicers.
        registry: where the metrics of calls go; default: nowhere.
        admission: turns calls away when there are too many; default: all are let in.
        reuse_port: let other processes listen on the same port; the kernel spreads connections among them.

    Raises:
        RuntimeError: the address is taken.
        SettingsError: a file for TLS or keys cannot be used, or traces are asked for without the extra.
    """
    metrics = CallMetrics(registry or CollectorRegistry())
    # The first is the outermost: metrics see the status that the error interceptor chose for what those inside refuse.
    outer: list[Any] = [metrics]
    if admission is not None:
        outer.insert(0, admission)  # a refusal must cost as little as can be
    credentials = server_credentials(settings)
    async with tracing(settings) as spans:
        interceptors = [*outer, *spans, ErrorInterceptor(), *guards(settings)]
        server = grpc.aio.server(interceptors=interceptors, options=_options(settings, reuse_port))
        health_servicer = HealthServicer()
        names = tuple(register(server))
        health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
        if settings.reflection:
            reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        address = f"{settings.host}:{port}"
        bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        running = RunningServer(f"{settings.host}:{bound}", bound, health_servicer, names)
        await running.set_serving(True)
        await server.start()
        try:
            yield running
        finally:
            await _shut_down(server, health_servicer, metrics, settings)


async def serve(
    settings: ServiceSettings,
    port: int,
    register: Register,
    *,
    registry: CollectorRegistry | None = None,
    admission: grpc.aio.ServerInterceptor | None = None,  # type: ignore[type-arg] # generic in the stubs only
    reuse_port: bool = False,
) -> None:
    """Serves until SIGTERM or SIGINT, then stops gracefully. For a process of its own; arguments as `running_server`.

    The log line "serving" carries the bound address; a parent learns of readiness from the health service.
    """
    configure_logging(settings.log_level, shopper_ids=settings.log_shopper_ids)
    registry = registry or CollectorRegistry()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stop_exporter: Callable[[], None] | None = None
    if settings.metrics_port is not None:
        wanted = settings.metrics_port + (worker_number() or 0 if settings.metrics_port else 0)
        metrics_port, stop_exporter = start_exporter(settings.host, wanted, registry)
        logger.info("exporting metrics", extra={"address": f"{settings.host}:{metrics_port}"})
    try:
        async with running_server(
            settings, port, register, registry=registry, admission=admission, reuse_port=reuse_port
        ) as running:
            logger.info("serving", extra={"address": running.address, "services": running.names})
            await stop.wait()
            logger.info("stopping")
    finally:
        # Last, so that the calls which finished while draining can still be scraped.
        if stop_exporter is not None:
            stop_exporter()


async def _shut_down(
    server: grpc.aio.Server,
    health_servicer: HealthServicer,
    metrics: CallMetrics,
    settings: ServiceSettings,
) -> None:
    """Stops in the order in which nobody gets an error."""
    # 1. Say so first, while still answering: probes and clients that watch health stop sending new calls here.
    await health_servicer.enter_graceful_shutdown()
    # 2. Load balancers learn of it with a delay; until then a refused call would be an error on a shopper's page.
    await asyncio.sleep(settings.notice_seconds)
    # 3. Refuse new calls (clients are told to go elsewhere) and let the running ones finish.
    draining = asyncio.create_task(server.stop(settings.drain_seconds))
    idle = asyncio.create_task(metrics.idle())
    await asyncio.wait({draining, idle}, return_when=asyncio.FIRST_COMPLETED)
    # 4. A health watch never ends by itself; without this every stop would take the whole of `drain_seconds`.
    await server.stop(_FLUSH_SECONDS)
    idle.cancel()
    await draining


def _options(settings: ServiceSettings, reuse_port: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", int(reuse_port)),  # gRPC's default is 1: two services on one port would go unnoticed
        ("grpc.max_receive_message_length", settings.request_bytes_max),
        # Both, or gRPC refuses some of the headers between the two by chance.
        ("grpc.max_metadata_size", _METADATA_BYTES_MAX),
        ("grpc.absolute_max_metadata_size", _METADATA_BYTES_MAX),
        ("grpc.max_connection_age_ms", settings.connection_age_seconds * 1000),
        ("grpc.max_connection_age_grace_ms", int(settings.drain_seconds * 1000)),
        # Clients ping every 30 s, also when idle; a server's default answer to that is to hang up.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]
