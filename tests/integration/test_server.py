"""A service's server over a real socket: health, reflection, errors, metrics, shutdown."""

import asyncio
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import cast

import grpc
import grpc.aio
import pytest
from aisle.v1.recommendation_service_pb2 import RecommendRequest, RecommendResponse
from aisle.v1.recommendation_service_pb2_grpc import (
    RecommendationServiceServicer,
    RecommendationServiceStub,
    add_RecommendationServiceServicer_to_server,
)
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from services.common.errors import InvalidField
from services.common.server import RunningServer, running_server
from services.common.settings import ServiceSettings
from services.common.telemetry import start_exporter
from tests.fake_recommendations import SERVICE_NAME, FakeRecommendations, Gate

SETTINGS = ServiceSettings(drain_seconds=20)
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def servicer() -> FakeRecommendations:
    return FakeRecommendations()


@pytest.fixture
async def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def stack(
    servicer: FakeRecommendations, registry: CollectorRegistry
) -> AsyncIterator[tuple[AsyncExitStack, RunningServer]]:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_server(SETTINGS, 0, servicer.register, registry=registry))
        yield stack, running


@pytest.fixture
async def server(stack: tuple[AsyncExitStack, RunningServer]) -> RunningServer:
    return stack[1]


@pytest.fixture
async def channel(server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield channel


async def refused(address: str) -> bool:
    """A new caller gets no answer."""
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            await RecommendationServiceStub(channel).Recommend(RecommendRequest(user_id="late"), timeout=2)
        except grpc.aio.AioRpcError as error:
            return error.code() == grpc.StatusCode.UNAVAILABLE
    return False


async def failure(channel: grpc.aio.Channel, request: RecommendRequest) -> grpc.aio.AioRpcError:
    """The error that the call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await RecommendationServiceStub(channel).Recommend(request, timeout=5)
    return caught.value


async def test_health_reports_the_server_and_each_service(server: RunningServer, channel: grpc.aio.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for name in ("", SERVICE_NAME):
        reply = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert reply.status == SERVING
    await server.set_serving(False)
    assert (await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE_NAME))).status == NOT_SERVING


async def test_reflection_lists_every_service_and_describes_its_messages(server: RunningServer) -> None:
    def ask() -> tuple[set[str], list[str]]:
        with grpc.insecure_channel(server.address) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            file = database.FindFileContainingSymbol(SERVICE_NAME)
            return set(database.get_services()), [message.name for message in file.message_type]

    names, message_names = await asyncio.to_thread(ask)
    assert names == {SERVICE_NAME, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    assert "RecommendRequest" in message_names


async def test_reflection_can_be_turned_off(servicer: FakeRecommendations) -> None:
    def ask(address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            ProtoReflectionDescriptorDatabase(channel).get_services()

    async with running_server(ServiceSettings(reflection=False), 0, servicer.register) as server:
        with pytest.raises(grpc.RpcError) as caught:
            await asyncio.to_thread(ask, server.address)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_a_bad_field_arrives_as_bad_request_details(
    servicer: FakeRecommendations, channel: grpc.aio.Channel
) -> None:
    async def refuse(request: RecommendRequest) -> RecommendResponse:
        raise InvalidField("page_size", f"must be 0 to 100, is {request.page_size}")

    servicer.behavior = refuse
    error = await failure(channel, RecommendRequest(page_size=101))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    status = rpc_status.from_call(cast(grpc.Call, error))
    assert status is not None
    bad_request = error_details_pb2.BadRequest()
    assert [detail.Unpack(bad_request) for detail in status.details] == [False, True]
    assert bad_request.field_violations[0].field == "page_size"
    assert bad_request.field_violations[0].description == "must be 0 to 100, is 101"


async def test_an_unexpected_error_is_internal_and_says_nothing_of_its_cause(
    servicer: FakeRecommendations, channel: grpc.aio.Channel
) -> None:
    async def fail(request: RecommendRequest) -> RecommendResponse:
        raise RuntimeError(f"secret of {request.user_id}")

    servicer.behavior = fail
    error = await failure(channel, RecommendRequest(user_id="anna"))
    assert error.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in str(error)
    assert "reference" in (error.details() or "")


async def test_a_method_that_is_not_written_yet_is_unimplemented() -> None:
    def register(server: grpc.aio.Server) -> list[str]:
        add_RecommendationServiceServicer_to_server(RecommendationServiceServicer(), server)
        return [SERVICE_NAME]

    async with (
        running_server(SETTINGS, 0, register) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        assert (await failure(channel, RecommendRequest())).code() == grpc.StatusCode.UNIMPLEMENTED


async def both_counted(registry: CollectorRegistry) -> None:
    """A call is counted just after its caller has the answer."""
    async with asyncio.timeout(10):
        while sum(s.value for f in registry.collect() for s in f.samples if s.name == "aisle_grpc_requests_total") < 2:
            await asyncio.sleep(0)


async def test_calls_are_counted_by_their_code_and_scraped_over_http(
    servicer: FakeRecommendations, channel: grpc.aio.Channel, registry: CollectorRegistry
) -> None:
    async def refuse(request: RecommendRequest) -> RecommendResponse:
        raise InvalidField("page_size", f"is {request.page_size}")

    await RecommendationServiceStub(channel).Recommend(RecommendRequest(), timeout=5)
    servicer.behavior = refuse
    await failure(channel, RecommendRequest())
    await both_counted(registry)
    port, stop = start_exporter("127.0.0.1", 0, registry)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        text = page.read().decode()
    stop()
    method = "/aisle.v1.RecommendationService/Recommend"
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    finished = {s.labels["code"]: s.value for s in samples if s.name == "aisle_grpc_requests_total"}
    assert finished == {"OK": 1.0, "INVALID_ARGUMENT": 1.0}
    assert [s.value for s in samples if s.name == "aisle_grpc_request_seconds_count"] == [2.0]
    assert {s.labels["method"] for s in samples if "method" in s.labels} == {method}
    assert [s.value for s in samples if s.name == "aisle_grpc_in_flight_requests"] == [0.0]


async def test_while_draining_a_running_call_finishes_and_new_ones_are_refused(
    servicer: FakeRecommendations, stack: tuple[AsyncExitStack, RunningServer], channel: grpc.aio.Channel
) -> None:
    exit_stack, server = stack
    servicer.behavior = gate = Gate()
    running_call = RecommendationServiceStub(channel).Recommend(RecommendRequest(user_id="anna"), timeout=20)
    await gate.entered.wait()
    stopping = asyncio.create_task(exit_stack.aclose())
    async with asyncio.timeout(10):
        while not await refused(server.address):
            pass
    assert not stopping.done()
    assert not running_call.done()
    gate.opened.set()
    assert (await running_call).results[0].item_id == "for anna"
    async with asyncio.timeout(10):
        await stopping


async def test_a_health_watch_is_told_first_and_does_not_hold_up_the_stop(
    stack: tuple[AsyncExitStack, RunningServer], channel: grpc.aio.Channel
) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE_NAME))
    assert (await watch.read()).status == SERVING
    started = time.monotonic()
    stopping = asyncio.create_task(stack[0].aclose())
    assert (await watch.read()).status == NOT_SERVING
    await stopping
    assert time.monotonic() - started < SETTINGS.drain_seconds / 2


async def test_calls_are_still_answered_while_load_balancers_learn_of_the_stop(servicer: FakeRecommendations) -> None:
    context = running_server(ServiceSettings(notice_seconds=1), 0, servicer.register)
    server = await context.__aenter__()
    async with grpc.aio.insecure_channel(server.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        stopping = asyncio.create_task(context.__aexit__(None, None, None))
        assert (await watch.read()).status == NOT_SERVING
        noticed = time.monotonic()
        while time.monotonic() - noticed < 0.5:
            assert not await refused(server.address)
        await stopping
        assert await refused(server.address)
