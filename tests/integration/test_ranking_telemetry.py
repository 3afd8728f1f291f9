"""What the ranking service tells of its calls: to a collector of traces over OTLP, to Prometheus, and to its log."""

import json
import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from aisle.v1 import recommendation_service_pb2 as messages
from aisle.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as collected
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as collecting
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from services.common.telemetry import JsonFormatter
from tests.integration.tiny_service import RunningService, TinyShopOnDisk, running_service

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
BEST_SELLERS = messages.PLACEMENT_BEST_SELLERS
METHOD = "aisle.v1.RecommendationService/"
HOME = messages.RecommendRequest(
    placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU, user_id="user-3", visitor_id="cookie-3", session_id="visit-3"
)


class Collector(collecting.TraceServiceServicer):
    """Keeps the spans that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    async def Export(  # noqa: N802 - the rpc's name
        self,
        request: collected.ExportTraceServiceRequest,
        context: Any,  # noqa: ARG002 - the interface's
    ) -> collected.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return collected.ExportTraceServiceResponse()

    def of(self, method: str) -> Span:
        """The only span of a method."""
        [span] = [span for span in self.spans if span.name == METHOD + method]
        return span

    def below(self, parent: Span) -> list[Span]:
        return [span for span in self.spans if span.parent_span_id == parent.span_id]


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """A collector at the address that OpenTelemetry's variable names."""
    collector, server = Collector(), grpc.aio.server()
    collecting.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call] # generated
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    yield collector
    await server.stop(1.0)


def attributes(span: Span) -> dict[str, Any]:
    def plain(pair: KeyValue) -> Any:
        kind = pair.value.WhichOneof("value")
        if kind == "array_value":
            return [entry.string_value for entry in pair.value.array_value.values]
        return getattr(pair.value, kind or "")

    return {pair.key: plain(pair) for pair in span.attributes}


async def test_a_call_and_its_stages_arrive_below_the_callers_span_and_tell_nothing_of_the_shopper(
    served_shop: TinyShopOnDisk, collector: Collector
) -> None:
    async with (
        running_service(served_shop.settings(traces="otlp"), served_shop.release) as running,
        grpc.aio.insecure_channel(running.address) as channel,
    ):
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        parent = (("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-01"),)
        reply = await RecommendationServiceStub(channel).Recommend(HOME, metadata=parent)
    call = collector.of("Recommend")
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (TRACE_ID, PARENT_ID)
    assert attributes(call) == {
        "rpc.system": "grpc",
        "rpc.service": "aisle.v1.RecommendationService",
        "rpc.method": "Recommend",
        "rpc.grpc.status_code": 0,
        "aisle.placement": "PLACEMENT_RECOMMENDED_FOR_YOU",
        "aisle.recommendation_id": reply.recommendation_id,
        "aisle.bundle_version": "tiny.1",
        "aisle.degradations": [],
    }
    stages = collector.below(call)
    assert len(collector.spans) == 1 + len(stages)
    for stage, milliseconds in reply.stage_timings_ms.items():
        spans = [span for span in stages if span.name == stage]
        spent = sum(span.end_time_unix_nano - span.start_time_unix_nano for span in spans)
        assert spent / 1e6 == pytest.approx(milliseconds, abs=0.01)
        for span in spans:
            assert call.start_time_unix_nano <= span.start_time_unix_nano
            assert span.end_time_unix_nano <= call.end_time_unix_nano
    for told in (b"user-3", b"cookie-3", b"visit-3"):
        assert not any(told in span.SerializeToString() for span in collector.spans)


async def test_the_lists_of_a_batch_are_told_apart(served_shop: TinyShopOnDisk, collector: Collector) -> None:
    parts = [messages.RecommendRequest(placement=placement) for placement in (HOME.placement, BEST_SELLERS)]
    async with running_service(served_shop.settings(traces="otlp"), served_shop.release) as running:
        reply = await running.client.batch_recommend(messages.BatchRecommendRequest(user_id="user-3", requests=parts))
    call = collector.of("BatchRecommend")
    told = attributes(call)
    assert told["aisle.placement"] == ["PLACEMENT_RECOMMENDED_FOR_YOU", "PLACEMENT_BEST_SELLERS"]
    assert told["aisle.recommendation_id"] == [part.recommendation_id for part in reply.responses]
    whole = [attributes(span)["aisle.list"] for span in collector.below(call) if span.name == "total"]
    assert whole == [0, 1]


async def test_degradations_and_refusals_are_told(served_shop: TinyShopOnDisk, collector: Collector) -> None:
    settings = served_shop.settings(traces="otlp", triton_address="127.0.0.1:9", startup_wait_seconds=0)
    async with running_service(settings, served_shop.release) as running:
        await running.client.recommend(HOME)
        with pytest.raises(grpc.aio.AioRpcError):
            await running.client.rank(messages.RankRequest(user_id="user-3"))
    assert attributes(collector.of("Recommend"))["aisle.degradations"] == ["INTEREST_FALLBACK"]
    refused = collector.of("Rank")
    assert attributes(refused)["rpc.grpc.status_code"] == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert collector.below(refused) == []


async def test_what_serves_and_what_was_shown_is_exported(ranking: RunningService) -> None:
    def shown() -> dict[str, float]:
        name = "aisle_recommended_items_total"
        samples = [sample for family in ranking.registry.collect() for sample in family.samples if sample.name == name]
        return {f"CANDIDATE_SOURCE_{sample.labels['source']}": sample.value for sample in samples}

    before = shown()
    reply = await ranking.recommended_for("user-3", page_size=9)
    added = {source: value - before[source] for source, value in shown().items() if value > before[source]}
    assert added == Counter(messages.CandidateSource.Name(item.source) for item in reply.results)
    assert ranking.registry.get_sample_value("aisle_bundle_info", {"version": "tiny.1"}) == 1.0
    assert ranking.registry.get_sample_value("aisle_feature_age_seconds") == 0.0  # its clock stands still
    assert (ranking.registry.get_sample_value("aisle_user_feature_age_seconds_count") or 0.0) > 0.0


@pytest.mark.parametrize(("limit_ms", "count"), [(0.001, 1), (0, 0), (60_000, 0)], ids=["slow", "off", "fast"])
async def test_slow_requests_are_logged_where_that_is_asked_for(
    served_shop: TinyShopOnDisk, caplog: pytest.LogCaptureFixture, limit_ms: float, count: int
) -> None:
    with caplog.at_level(logging.WARNING, logger="services.ranking.slow"):
        async with running_service(served_shop.settings(slow_request_ms=limit_ms), served_shop.release) as running:
            await running.client.recommend(HOME)
    lines = [JsonFormatter().format(record) for record in caplog.records if record.message == "slow request"]
    assert len(lines) == count
    for line in lines:
        assert json.loads(line)["lists"][0]["bundle_version"] == "tiny.1"
        assert "user-3" not in line
