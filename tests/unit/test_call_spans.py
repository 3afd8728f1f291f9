"""Calls as spans: whose child each is, what it says, and how it leaves."""

import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import grpc.aio
import pytest
from aisle.v1 import recommendation_service_pb2 as messages
from aisle.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from services.common.errors import ErrorInterceptor, InvalidField
from services.common.settings import ServiceSettings, SettingsError
from services.common.spans import CallSpans, Recorder, recorder_to
from services.common.tracing import CURRENT, CallSpan, tracing
from tests.fake_recommendations import Behavior, FakeRecommendations, answer

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE_ID}-{PARENT_ID}-01", f"00-{TRACE_ID}-{PARENT_ID}-00"
METHOD = "aisle.v1.RecommendationService/Recommend"


class TracedShop:
    """A server whose calls are recorded here."""

    def __init__(self) -> None:
        self.fake = FakeRecommendations()
        self._exporter = InMemorySpanExporter()
        self._recorder = recorder_to(self._exporter)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RecommendationServiceStub]:
        server = grpc.aio.server(interceptors=[CallSpans(self._recorder.tracer), ErrorInterceptor()])
        self.fake.register(server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield RecommendationServiceStub(channel)
        await server.stop(0.5)

    async def spans(self, **metadata: str) -> Sequence[ReadableSpan]:
        """Those of one call with this metadata, in the order in which they ended."""
        async with self.running() as stub:
            with suppress(grpc.aio.AioRpcError):
                await stub.Recommend(messages.RecommendRequest(user_id="anna"), metadata=tuple(metadata.items()))
        self._recorder.close(10.0)
        return self._exporter.get_finished_spans()


@pytest.fixture
async def traced() -> TracedShop:
    return TracedShop()


async def test_a_call_is_a_child_of_the_callers_span(traced: TracedShop) -> None:
    [span] = await traced.spans(traceparent=SAMPLED)
    assert (span.name, span.kind) == (METHOD, SpanKind.SERVER)
    assert span.parent is not None
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE_ID, PARENT_ID)
    assert span.attributes == {
        "rpc.system": "grpc",
        "rpc.service": "aisle.v1.RecommendationService",
        "rpc.method": "Recommend",
        "rpc.grpc.status_code": 0,
    }


async def test_a_call_whose_caller_is_not_traced_or_says_nonsense_begins_a_trace(traced: TracedShop) -> None:
    [span] = await traced.spans(traceparent="00-nonsense-01")
    assert span.parent is None


async def test_a_call_that_the_caller_does_not_sample_is_not_recorded(traced: TracedShop) -> None:
    current: list[CallSpan | None] = []

    async def look(request: messages.RecommendRequest) -> messages.RecommendResponse:
        current.append(CURRENT.get())
        return await answer(request)

    traced.fake.behavior = look
    assert await traced.spans(traceparent=UNSAMPLED) == ()
    assert current == [None]


async def test_what_works_on_a_call_adds_steps_below_it_and_says_what_it_is_about(traced: TracedShop) -> None:
    instants = []

    async def work(request: messages.RecommendRequest) -> messages.RecommendResponse:
        span, started = CURRENT.get(), time.perf_counter()
        assert span is not None
        instants.append(time.time_ns())
        span.step("ranking", started, started + 0.25, {"list": 3})
        span.describe({"placements": ["home", "cart"]})
        return await answer(request)

    traced.fake.behavior = work
    step, call = await traced.spans()
    assert step.parent is not None
    assert step.parent == call.context
    assert (step.name, step.attributes) == ("ranking", {"list": 3})
    assert step.start_time is not None
    assert step.end_time is not None
    assert step.end_time - step.start_time == pytest.approx(0.25e9, abs=1e3)
    assert step.start_time == pytest.approx(instants[0], abs=0.1e9)
    assert call.attributes is not None
    assert call.attributes["placements"] == ("home", "cart")


async def failing(request: messages.RecommendRequest) -> messages.RecommendResponse:
    raise RuntimeError(f"no tea for {request.user_id}")


async def refusing(request: messages.RecommendRequest) -> messages.RecommendResponse:
    raise InvalidField("user_id", f"must not be {request.user_id}")


@pytest.mark.parametrize(
    ("behavior", "code", "status"),
    [
        (failing, grpc.StatusCode.INTERNAL, StatusCode.ERROR),
        (refusing, grpc.StatusCode.INVALID_ARGUMENT, StatusCode.UNSET),
    ],
)
async def test_a_failure_is_an_error_and_a_refusal_the_callers_doing_and_the_words_of_neither_are_told(
    traced: TracedShop, behavior: Behavior, code: grpc.StatusCode, status: StatusCode
) -> None:
    traced.fake.behavior = behavior
    [span] = await traced.spans()
    assert span.attributes is not None
    assert (span.attributes["rpc.grpc.status_code"], span.status.status_code) == (code.value[0], status)
    assert "anna" not in span.to_json()


class HangingExporter(SpanExporter):
    """A collector that takes nothing until it is told to stop."""

    def __init__(self) -> None:
        self.stopped = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002 - the interface's
        self.stopped.wait()
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.stopped.set()


def test_a_collector_that_does_not_answer_holds_up_the_end_only_so_long() -> None:
    recorder: Recorder = recorder_to(HangingExporter())
    recorder.tracer.start_span("ranking").end()
    started = time.monotonic()
    recorder.close(0.2)
    assert time.monotonic() - started < 5.0


def test_traces_are_filed_under_the_name_that_opentelemetrys_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def name() -> Any:
        return recorder_to(InMemorySpanExporter()).provider.resource.attributes["service.name"]

    assert name() == "aisle"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "tea-shop-ranking")
    assert name() == "tea-shop-ranking"


async def test_without_the_flag_nothing_stands_between_a_call_and_its_handler() -> None:
    async with tracing(ServiceSettings()) as interceptors:
        assert list(interceptors) == []


async def test_traces_without_the_extra_are_refused_and_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "services.common.spans", None)
    with pytest.raises(SettingsError, match=r"AISLE_TRACES=otlp needs the extra `tracing`.*aisle\[tracing\]"):
        async with tracing(ServiceSettings(traces="otlp")):
            pass
