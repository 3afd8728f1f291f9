"""The front end's client over real sockets."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import grpc.experimental
import pytest
from aisle.v1.recommendation_service_pb2 import BatchRecommendRequest, RankRequest, RecommendRequest, RecommendResponse

from services.client import AsyncRecommendationClient, RecommendationClient, field_violations
from services.common.errors import InvalidField, Unavailable
from services.common.keys import add_key
from services.common.process import free_port
from services.common.server import RunningServer, running_server
from services.common.settings import ServiceSettings
from tests.certificates import Authority
from tests.fake_recommendations import Behavior, FakeRecommendations, Gate, answer

REQUEST = RecommendRequest(user_id="anna")
PATIENT_SECONDS = 10.0
ROUNDING_SECONDS = 0.1


@pytest.fixture
async def servicer() -> FakeRecommendations:
    return FakeRecommendations()


@pytest.fixture
async def server(servicer: FakeRecommendations) -> AsyncIterator[RunningServer]:
    async with running_server(ServiceSettings(drain_seconds=5), 0, servicer.register) as server:
        yield server


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[AsyncRecommendationClient]:
    async with AsyncRecommendationClient(server.address, timeout_seconds=PATIENT_SECONDS) as client:
        yield client


def failing(count: int, error: Exception) -> Behavior:
    """Fails so many times, then answers."""
    failures = iter([error] * count)

    async def behavior(request: RecommendRequest) -> RecommendResponse:
        for failure in failures:
            raise failure
        return await answer(request)

    return behavior


async def test_each_method_returns_its_reply(client: AsyncRecommendationClient) -> None:
    assert (await client.recommend(REQUEST)).results[0].item_id == "for anna"
    ranked = await client.rank(RankRequest(item_ids=["b", "a"]))
    assert [result.item_id for result in ranked.results] == ["b", "a"]
    batch = await client.batch_recommend(BatchRecommendRequest(requests=[REQUEST, RecommendRequest(user_id="ben")]))
    assert [response.results[0].item_id for response in batch.responses] == ["for anna", "for ben"]


async def test_unavailable_is_tried_again(servicer: FakeRecommendations, client: AsyncRecommendationClient) -> None:
    servicer.behavior = failing(2, Unavailable("starting"))
    assert (await client.recommend(REQUEST)).results[0].item_id == "for anna"
    assert len(servicer.requests) == 3


async def test_unavailable_is_reported_after_three_attempts(
    servicer: FakeRecommendations, client: AsyncRecommendationClient
) -> None:
    servicer.behavior = failing(10, Unavailable("starting"))
    with pytest.raises(grpc.aio.AioRpcError, match="starting") as caught:
        await client.recommend(REQUEST)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert len(servicer.requests) == 3


@pytest.mark.parametrize("error", [InvalidField("page_size", "is bad"), TimeoutError(), RuntimeError("a bug")])
async def test_other_errors_are_not_tried_again(
    servicer: FakeRecommendations, client: AsyncRecommendationClient, error: Exception
) -> None:
    servicer.behavior = failing(1, error)
    with pytest.raises(grpc.aio.AioRpcError):
        await client.recommend(REQUEST)
    assert len(servicer.requests) == 1


async def test_what_a_refused_request_got_wrong_can_be_read_by_field(
    servicer: FakeRecommendations, client: AsyncRecommendationClient
) -> None:
    servicer.behavior = failing(10, InvalidField("page_size", "must be 0 to 100, is 101"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.recommend(REQUEST)
    assert field_violations(caught.value) == {"page_size": "must be 0 to 100, is 101"}
    servicer.behavior = failing(1, RuntimeError("a bug"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.recommend(REQUEST)
    assert field_violations(caught.value) == {}


async def test_a_call_ends_at_its_deadline_and_the_server_knows_it(
    servicer: FakeRecommendations, client: AsyncRecommendationClient
) -> None:
    servicer.behavior = Gate()
    started = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.recommend(REQUEST, timeout_seconds=0.2)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0.15 < time.monotonic() - started < 2
    assert servicer.seconds_left[0] is not None
    assert servicer.seconds_left[0] <= 0.2 + ROUNDING_SECONDS


async def test_a_call_without_a_timeout_of_its_own_has_the_clients(
    servicer: FakeRecommendations, client: AsyncRecommendationClient
) -> None:
    await client.recommend(REQUEST)
    assert servicer.seconds_left[0] is not None
    assert PATIENT_SECONDS - 5 < servicer.seconds_left[0] <= PATIENT_SECONDS + ROUNDING_SECONDS


async def test_calls_go_round_over_several_addresses_and_past_a_dead_one(
    servicer: FakeRecommendations, server: RunningServer
) -> None:
    other = FakeRecommendations()
    async with (
        running_server(ServiceSettings(), 0, other.register) as other_server,
        AsyncRecommendationClient(
            [server.address, other_server.address, f"127.0.0.1:{free_port()}"], timeout_seconds=PATIENT_SECONDS
        ) as client,
    ):
        async with asyncio.timeout(10):
            while not (servicer.requests and other.requests):
                await client.recommend(REQUEST)


async def test_a_server_that_says_it_is_not_serving_gets_no_calls(
    servicer: FakeRecommendations, server: RunningServer
) -> None:
    other = FakeRecommendations()
    async with (
        running_server(ServiceSettings(), 0, other.register) as other_server,
        AsyncRecommendationClient([server.address, other_server.address], timeout_seconds=PATIENT_SECONDS) as client,
    ):
        await server.set_serving(False)
        for _ in range(20):
            await client.recommend(REQUEST)
    assert (len(servicer.requests), len(other.requests)) == (0, 20)


async def test_the_synchronous_client_does_the_same(servicer: FakeRecommendations, server: RunningServer) -> None:
    def use() -> tuple[list[str], list[str], grpc.RpcError]:
        with RecommendationClient(server.address, timeout_seconds=PATIENT_SECONDS, channel_count=2) as client:
            reply = client.recommend(REQUEST)
            ranked = client.rank(RankRequest(item_ids=["b", "a"]))
            batch = client.batch_recommend(BatchRecommendRequest(requests=[REQUEST]))
            lists = [reply, *batch.responses]
            servicer.behavior = failing(10, InvalidField("page_size", "is bad"))
            with pytest.raises(grpc.RpcError) as caught:
                client.recommend(REQUEST)
            return (
                [response.results[0].item_id for response in lists],
                [result.item_id for result in ranked.results],
                caught.value,
            )

    servicer.behavior = failing(1, Unavailable("starting"))
    item_ids, ranked_ids, error = await asyncio.to_thread(use)
    assert (item_ids, ranked_ids) == (["for anna", "for anna"], ["b", "a"])
    assert len(servicer.requests) == 3
    assert all(
        seconds is not None and seconds <= PATIENT_SECONDS + ROUNDING_SECONDS for seconds in servicer.seconds_left
    )
    assert field_violations(error) == {"page_size": "is bad"}


@pytest.mark.parametrize("addresses", [[], ["127.0.0.1:1", "shop.internal:2"]])
def test_addresses_that_cannot_be_used_are_refused(addresses: list[str]) -> None:
    with pytest.raises(ValueError, match=r"addresses: none|shop\.internal"):
        RecommendationClient(addresses)


async def test_a_key_goes_with_every_call(servicer: FakeRecommendations, tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys.json", "default", "storefront")
    settings = ServiceSettings(api_keys=tmp_path / "keys.json")

    def use(address: str) -> None:
        with RecommendationClient(address, timeout_seconds=PATIENT_SECONDS, api_key=key) as client:
            client.recommend(REQUEST)
            client.rank(RankRequest(item_ids=["a"]))
            client.batch_recommend(BatchRecommendRequest(requests=[REQUEST]))

    async with running_server(settings, 0, servicer.register) as server:
        await asyncio.to_thread(use, server.address)
        async with AsyncRecommendationClient(server.address, timeout_seconds=PATIENT_SECONDS, api_key=key) as client:
            await client.recommend(REQUEST)
            await client.rank(RankRequest(item_ids=["a"]))
            await client.batch_recommend(BatchRecommendRequest(requests=[REQUEST]))


async def test_servers_given_by_their_addresses_are_known_by_one_name(
    servicer: FakeRecommendations, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "ca")
    shown = authority.issue("server")
    settings = ServiceSettings(tls_certificate=shown.certificate, tls_key=shown.key)
    trusted = grpc.ssl_channel_credentials(authority.certificate.read_bytes())
    other = FakeRecommendations()
    async with (
        running_server(settings, 0, servicer.register) as server,
        running_server(settings, 0, other.register) as other_server,
        AsyncRecommendationClient(
            [server.address, other_server.address],
            timeout_seconds=PATIENT_SECONDS,
            credentials=trusted,
            server_name="localhost",
        ) as client,
    ):
        async with asyncio.timeout(10):
            while not (servicer.requests and other.requests):
                await client.recommend(REQUEST)


@pytest.mark.parametrize("address", ["localhost:1", "127.0.0.1:1", "[::1]:1"])
def test_a_key_stays_on_this_machine_or_is_encrypted(address: str) -> None:
    RecommendationClient(address, api_key="aisle_x").close()
    for addresses in ("10.0.0.1:1", "shop.internal:1", [address, "10.0.0.1:1"]):
        with pytest.raises(ValueError, match="would be sent unencrypted"):
            RecommendationClient(addresses, api_key="aisle_x")
    said_to_be_safe = grpc.experimental.insecure_channel_credentials()  # type: ignore[no-untyped-call]
    for credentials in (grpc.ssl_channel_credentials(), said_to_be_safe):
        RecommendationClient("10.0.0.1:1", credentials=credentials, api_key="aisle_x").close()


@pytest.mark.parametrize("key", ["", "aisle_x\n", "aisle x", "aisle_\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ValueError, match="must be printable ASCII") as caught:
        RecommendationClient("localhost:1", api_key=key)
    assert "aisle" not in str(caught.value)
