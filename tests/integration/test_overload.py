"""Admission on a real server: who is let in, who is refused, and who never is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias, cast

import grpc
import grpc.aio
import pytest
from aisle.v1 import recommendation_service_pb2 as messages
from aisle.v1 import recommendation_service_pb2_grpc as stubs
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry

from services.common import overload
from services.common.overload import Admission
from services.common.server import running_server
from services.common.settings import ServiceSettings
from services.ranking.app import SERVICE_NAME

CALL_SECONDS = 10.0
Call: TypeAlias = "grpc.aio.UnaryUnaryCall[messages.RecommendRequest, messages.RecommendResponse]"


class Servicer(stubs.RecommendationServiceServicer):
    """Answers when the test says so; computes in turns, or waits for a back end."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.may_answer = asyncio.Event()
        self.started = 0
        self.computing = 0
        self.computing_max = 0

    async def Recommend(  # noqa: N802 - the rpc's name
        self,
        request: messages.RecommendRequest,
        context: grpc.aio.ServicerContext[messages.RecommendRequest, messages.RecommendResponse],  # noqa: ARG002
    ) -> messages.RecommendResponse:
        self.started += 1
        if request.session_id == "back end":
            await self.may_answer.wait()
            return messages.RecommendResponse()
        async with self.admission.turn():
            self.computing += 1
            self.computing_max = max(self.computing_max, self.computing)
            await self.may_answer.wait()
            self.computing -= 1
        return messages.RecommendResponse()


class Shop:
    """The running server and a way to call it."""

    def __init__(self, servicer: Servicer, channel: grpc.aio.Channel, registry: CollectorRegistry) -> None:
        self.servicer, self.channel, self.registry = servicer, channel, registry

    def call(self, session_id: str = "") -> Call:
        request = messages.RecommendRequest(session_id=session_id)
        return cast(Call, stubs.RecommendationServiceStub(self.channel).Recommend(request, timeout=CALL_SECONDS))

    async def until_started(self, count: int) -> None:
        async with asyncio.timeout(CALL_SECONDS):
            while self.servicer.started < count:
                await asyncio.sleep(0)


@asynccontextmanager
async def shop_that_admits(queue_max: int) -> AsyncIterator[Shop]:
    registry = CollectorRegistry()
    admission = Admission(queue_max, registry)
    servicer = Servicer(admission)

    def register(server: grpc.aio.Server) -> list[str]:
        stubs.add_RecommendationServiceServicer_to_server(servicer, server)
        return [SERVICE_NAME]

    settings = ServiceSettings(drain_seconds=0.1)
    async with (
        running_server(settings, 0, register, registry=registry, admission=admission) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        try:
            yield Shop(servicer, channel, registry)
        finally:
            servicer.may_answer.set()


async def code_of(call: Call) -> grpc.StatusCode:
    return await call.code()


@pytest.fixture
def always_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that counts as busy whatever it does."""
    monkeypatch.setattr(overload, "_BUSY", -1.0)


@pytest.mark.usefixtures("always_busy")
async def test_one_call_too_many_is_refused_at_once_and_told_when_to_come_back() -> None:
    async with shop_that_admits(2) as shop:
        let_in = [shop.call() for _ in range(2)]
        await shop.until_started(2)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await shop.call()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = rpc_status.from_call(cast(grpc.Call, refused.value))
        retry = error_details_pb2.RetryInfo()
        assert status is not None
        assert any(detail.Unpack(retry) for detail in status.details)
        assert retry.retry_delay.ToMilliseconds() > 0
        assert shop.registry.get_sample_value("aisle_refused_requests_total") == 1
        shop.servicer.may_answer.set()
        assert [await code_of(call) for call in let_in] == [grpc.StatusCode.OK] * 2
        assert await code_of(shop.call()) is grpc.StatusCode.OK


async def test_only_one_call_computes_at_a_time() -> None:
    async with shop_that_admits(8) as shop:
        calls = [shop.call() for _ in range(8)]
        await shop.until_started(8)
        shop.servicer.may_answer.set()
        assert {await code_of(call) for call in calls} == {grpc.StatusCode.OK}
        assert shop.servicer.computing_max == 1


@pytest.mark.usefixtures("always_busy")
async def test_calls_that_wait_for_a_back_end_do_not_keep_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "_SECONDS_PER_PLACE", 0.0)
    async with shop_that_admits(2) as shop:
        stalled = [shop.call("back end") for _ in range(10)]
        await shop.until_started(10)
        shop.servicer.may_answer.set()
        assert await code_of(shop.call()) is grpc.StatusCode.OK
        assert {await code_of(call) for call in stalled} == {grpc.StatusCode.OK}


@pytest.mark.usefixtures("always_busy")
async def test_calls_on_their_way_count_before_they_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "_SECONDS_PER_PLACE", 60.0)
    async with shop_that_admits(2) as shop:
        on_their_way = [shop.call("back end") for _ in range(2)]
        await shop.until_started(2)
        assert await code_of(shop.call()) is grpc.StatusCode.RESOURCE_EXHAUSTED
        shop.servicer.may_answer.set()
        assert {await code_of(call) for call in on_their_way} == {grpc.StatusCode.OK}


@pytest.mark.usefixtures("always_busy")
async def test_calls_in_flight_have_a_limit_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "_SECONDS_PER_PLACE", 0.0)
    monkeypatch.setattr(overload, "IN_FLIGHT_MAX", 3)
    async with shop_that_admits(2) as shop:
        stalled = [shop.call("back end") for _ in range(3)]
        await shop.until_started(3)
        assert await code_of(shop.call()) is grpc.StatusCode.RESOURCE_EXHAUSTED
        shop.servicer.may_answer.set()
        assert {await code_of(call) for call in stalled} == {grpc.StatusCode.OK}


@pytest.mark.usefixtures("always_busy")
async def test_health_is_answered_when_everything_else_is_refused() -> None:
    async with shop_that_admits(1) as shop:
        call = shop.call()
        await shop.until_started(1)
        health = health_pb2_grpc.HealthStub(shop.channel)
        reply = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE_NAME), timeout=CALL_SECONDS)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
        shop.servicer.may_answer.set()
        assert await code_of(call) is grpc.StatusCode.OK


@pytest.mark.usefixtures("always_busy")
async def test_a_call_that_is_given_up_leaves_its_place() -> None:
    async with shop_that_admits(1) as shop:
        given_up = shop.call()
        await shop.until_started(1)
        given_up.cancel()
        async with asyncio.timeout(CALL_SECONDS):
            while shop.servicer.admission._waiting:
                await asyncio.sleep(0)
        shop.servicer.may_answer.set()
        assert await code_of(shop.call()) is grpc.StatusCode.OK


@pytest.mark.usefixtures("always_busy")
async def test_a_process_busy_with_itself_is_more_patient() -> None:
    async with shop_that_admits(1) as shop:
        with shop.servicer.admission.patience():
            let_in = [shop.call() for _ in range(overload.PATIENCE)]
            await shop.until_started(overload.PATIENCE)
            assert await code_of(shop.call()) is grpc.StatusCode.RESOURCE_EXHAUSTED
        shop.servicer.may_answer.set()
        assert {await code_of(call) for call in let_in} == {grpc.StatusCode.OK}
        shop.servicer.may_answer.clear()
        last = shop.call()
        await shop.until_started(overload.PATIENCE + 1)
        assert await code_of(shop.call()) is grpc.StatusCode.RESOURCE_EXHAUSTED
        shop.servicer.may_answer.set()
        assert await code_of(last) is grpc.StatusCode.OK


async def test_a_burst_is_let_in_where_the_process_has_not_been_busy() -> None:
    async with shop_that_admits(1) as shop:
        burst = [shop.call() for _ in range(overload.BURST)]
        await shop.until_started(overload.BURST)
        assert await code_of(shop.call()) is grpc.StatusCode.RESOURCE_EXHAUSTED
        shop.servicer.may_answer.set()
        assert {await code_of(call) for call in burst} == {grpc.StatusCode.OK}
