"""OpenTelemetry: calls as spans, sent in batches by a thread of their own. Imported by tracing.py where asked for.

Choices: names and attributes of a call are those of OpenTelemetry's conventions for RPC. What an exception says is left
out, it may name a shopper. Spans wait in a queue of bounded length (OTEL_BSP_MAX_QUEUE_SIZE); what does not fit is
dropped, as is what the collector does not take. Sampling, address and headers are OpenTelemetry's own variables.
Knows nothing of any service.
"""

import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.common.telemetry import code_name
from services.common.tracing import CURRENT, Attribute

_OURS = "/aisle."
_PARENT_KEYS = ("traceparent", "tracestate")
_SERVER_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Statuses that make a server's span an error; others are the caller's doing."""


@dataclass(frozen=True, slots=True)
class Recorder:
    """Where spans are begun and how they leave."""

    provider: TracerProvider
    exporter: SpanExporter

    @property
    def tracer(self) -> Tracer:
        """Begins spans."""
        return self.provider.get_tracer("aisle")

    def close(self, seconds: float) -> None:
        """Send what waits; after so many seconds give up what could not be sent."""
        sending = threading.Thread(target=self.provider.shutdown, daemon=True)
        sending.start()
        sending.join(seconds)
        if sending.is_alive():
            self.exporter.shutdown()  # or it would go on trying for half a minute


def recorder_to(exporter: SpanExporter) -> Recorder:
    """A recorder whose spans go to `exporter`, filed under OTEL_SERVICE_NAME or else "aisle"."""
    named = Resource({"service.name": "aisle"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=Resource.create().merge(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Recorder(provider, exporter)


def otlp_recorder() -> Recorder:
    """A recorder whose spans go where OTEL_EXPORTER_OTLP_ENDPOINT says."""
    return recorder_to(OTLPSpanExporter())


class RecordedCall:
    """A `CallSpan` that is recorded."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        """Add to `span`, which has just begun."""
        self._tracer = tracer
        self._span = span
        self._context = set_span_in_context(span)
        self._epoch_ns = time.time_ns() - time.perf_counter_ns()

    def describe(self, attributes: Mapping[str, Attribute]) -> None:
        """See `CallSpan.describe`."""
        self._span.set_attributes(attributes)

    def step(self, name: str, started: float, ended: float, attributes: Mapping[str, Attribute]) -> None:
        """See `CallSpan.step`."""
        begin_ns, end_ns = (self._epoch_ns + int(instant * 1e9) for instant in (started, ended))
        self._tracer.start_span(name, self._context, start_time=begin_ns, attributes=attributes).end(end_ns)


class CallSpans(grpc.aio.ServerInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    """One span for each call of ours."""

    def __init__(self, tracer: Tracer) -> None:
        """Begin spans with `tracer`."""
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the handler of a unary call of ours."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or handler.unary_unary is None or not method.startswith(_OURS):
            return handler
        parent = {key: value for key, value in handler_call_details.invocation_metadata if key in _PARENT_KEYS}
        return grpc.unary_unary_rpc_method_handler(
            self._traced(handler.unary_unary, method.removeprefix("/"), parent),
            handler.request_deserializer,
            handler.response_serializer,
        )

    def _traced(
        self, behavior: Callable[[Any, Any], Awaitable[Any]], method: str, parent: Mapping[str, Any]
    ) -> Callable[[Any, Any], Awaitable[Any]]:
        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            service, _, name = method.partition("/")
            attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
            above = self._propagator.extract(parent)
            span = self._tracer.start_span(method, above, kind=SpanKind.SERVER, attributes=attributes)
            token = CURRENT.set(RecordedCall(self._tracer, span) if span.is_recording() else None)
            code = "CANCELLED"  # what remains when the caller hangs up
            try:
                response = await behavior(request, context)
                code = "OK"
                return response
            except Exception:
                code = code_name(context)
                raise
            finally:
                CURRENT.reset(token)
                _end(span, code)

        return answer


def _end(span: Span, code: str) -> None:
    span.set_attribute("rpc.grpc.status_code", grpc.StatusCode[code].value[0])
    if code in _SERVER_FAULTS:
        span.set_status(StatusCode.ERROR)
    span.end()
