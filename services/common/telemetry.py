"""Logs and metrics, alike in every service.

Choices: one JSON object per log line on standard error, without ids of shoppers unless asked for them; Prometheus
metrics named `aisle_*` in a registry that the caller makes, so that two servers in one process do not share counters.
Knows no service.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import grpc
import grpc.aio
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

SHOPPER_KEYS = frozenset({"user_id", "visitor_id", "session_id"})
"""Extras that are written to a log only where the settings ask for them."""

LATENCY_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper ends in seconds, close together where a reply's service level lies."""

_STANDARD_KEYS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object per record: time (UTC, ISO 8601), level, logger, message, the record's extras, traceback."""

    def __init__(self, *, shopper_ids: bool = False) -> None:
        """Args: shopper_ids: keep the extras that name a shopper."""
        super().__init__()
        self._left_out = _STANDARD_KEYS if shopper_ids else _STANDARD_KEYS | SHOPPER_KEYS

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in self._left_out}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(level: str, *, shopper_ids: bool = False) -> None:
    """Sends all log records of `level` and above to standard error as JSON; replaces earlier handlers.

    Args:
        level: name of the least severe level.
        shopper_ids: also write the extras that name a shopper.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(shopper_ids=shopper_ids))
    logging.basicConfig(level=level, handlers=[handler], force=True)


class CallMetrics(grpc.aio.ServerInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    """Counts, times and tracks the unary calls of a server.

    Long-lived streams (health watches, reflection) do not count: they would keep a server from ever being idle.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers `aisle_grpc_requests_total`, `aisle_grpc_request_seconds` and `aisle_grpc_in_flight_requests`."""
        self._requests = Counter("aisle_grpc_requests_total", "Finished calls.", ["method", "code"], registry=registry)
        self._seconds = Histogram(
            "aisle_grpc_request_seconds",
            "Time from the arrival of a call to its answer.",
            ["method"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self._in_flight = Gauge("aisle_grpc_in_flight_requests", "Calls that are being answered.", registry=registry)
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle(self) -> None:
        """Returns when no call is being answered."""
        await self._idle.wait()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the handler of a unary call."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            self._measured(handler.unary_unary, handler_call_details.method),
            handler.request_deserializer,
            handler.response_serializer,
        )

    def _measured(
        self, behavior: Callable[[Any, Any], Awaitable[Any]], method: str
    ) -> Callable[[Any, Any], Awaitable[Any]]:
        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            with self._tracked():
                started = time.perf_counter()
                code = "CANCELLED"  # what remains when the caller hangs up
                try:
                    response = await behavior(request, context)
                    code = "OK"
                    return response
                except Exception:
                    code = code_name(context)
                    raise
                finally:
                    self._seconds.labels(method).observe(time.perf_counter() - started)
                    self._requests.labels(method, code).inc()

        return answer

    @contextmanager
    def _tracked(self) -> Iterator[None]:
        self._count += 1
        self._idle.clear()
        self._in_flight.set(self._count)
        try:
            yield
        finally:
            self._count -= 1
            self._in_flight.set(self._count)
            if self._count == 0:
                self._idle.set()


def code_name(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """The status that `context.abort` was given; grpc.aio hands it back as an enum or as its number."""
    code = context.code()
    names = {status.value[0]: status.name for status in grpc.StatusCode}
    return code.name if isinstance(code, grpc.StatusCode) else names.get(code, "UNKNOWN")


def start_exporter(host: str, port: int, registry: CollectorRegistry) -> tuple[int, Callable[[], None]]:
    """Serves `registry` to Prometheus over HTTP from a daemon thread.

    Returns:
        The port (chosen by the system if `port` is 0) and a function that stops the exporter.
    """
    server, thread = start_http_server(port, addr=host, registry=registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return server.server_port, stop
