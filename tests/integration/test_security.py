"""Who is refused, and how: TLS, keys and sizes over real sockets."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from aisle.v1 import recommendation_service_pb2 as messages
from aisle.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import CollectorRegistry

from services.client import AsyncRecommendationClient
from services.common.keys import add_key
from services.common.process import free_port
from services.common.server import running_server
from services.common.settings import ServiceSettings, SettingsError
from tests.certificates import Authority, Issued
from tests.fake_recommendations import SERVICE_NAME, FakeRecommendations
from tests.tiny_shop import write_shop_bundle

REQUEST = messages.RecommendRequest(user_id="anna")
SECONDS = 10.0
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Secured:
    """A server and all that it takes to be let in."""

    address: str
    servicer: FakeRecommendations
    authority: Authority
    server: Issued
    client: Issued
    keys: Path
    key: str
    registry: CollectorRegistry

    def trust(self, shown: Issued | None) -> grpc.ChannelCredentials:
        """What a client has that trusts this server and shows that certificate."""
        return credentials(self.authority, shown)

    async def code(
        self,
        channel_credentials: grpc.ChannelCredentials | None,
        metadata: Metadata = (),
        request: messages.RecommendRequest = REQUEST,
    ) -> grpc.StatusCode:
        """How a call over a connection of its own ends; the service must not have seen it unless it is OK."""
        seen = len(self.servicer.requests)
        async with channel_to(self.address, channel_credentials) as channel:
            try:
                await RecommendationServiceStub(channel).Recommend(request, timeout=SECONDS, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                assert len(self.servicer.requests) == seen
                return error.code()
        assert len(self.servicer.requests) == seen + 1
        return grpc.StatusCode.OK


def credentials(authority: Authority, shown: Issued | None = None) -> grpc.ChannelCredentials:
    """Trusts that authority; shows that certificate."""
    own = (shown.key.read_bytes(), shown.certificate.read_bytes()) if shown else (None, None)
    return grpc.ssl_channel_credentials(authority.certificate.read_bytes(), *own)


def channel_to(address: str, channel_credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    if channel_credentials is None:
        return grpc.aio.insecure_channel(address, options)
    return grpc.aio.secure_channel(address, channel_credentials, options)


@asynccontextmanager
async def secured(
    folder: Path, *, server: Callable[[Authority], Issued] | None = None, **changes: Any
) -> AsyncIterator[Secured]:
    """A server with mutual TLS and one key; `changes` are other settings, None takes one away."""
    authority = Authority(folder, "ca")
    shown = server(authority) if server else authority.issue("server")
    key = add_key(folder / "keys.json", "default", "storefront")
    known: dict[str, Any] = {
        "tls_certificate": shown.certificate,
        "tls_key": shown.key,
        "tls_client_ca": authority.certificate,
        "api_keys": folder / "keys.json",
    }
    settings, servicer, registry = ServiceSettings(**(known | changes)), FakeRecommendations(), CollectorRegistry()
    async with running_server(settings, 0, servicer.register, registry=registry) as running:
        yield Secured(
            running.address, servicer, authority, shown, authority.issue("client"), folder / "keys.json", key, registry
        )


@pytest.fixture
async def mutual(tmp_path: Path) -> AsyncIterator[Secured]:
    """Asks for certificates and keys."""
    async with secured(tmp_path) as server:
        yield server


@pytest.fixture
async def keyed(tmp_path: Path) -> AsyncIterator[Secured]:
    """Asks for keys only."""
    async with secured(tmp_path, tls_certificate=None, tls_key=None, tls_client_ca=None) as server:
        yield server


def carrying(key: str) -> Metadata:
    return (("x-api-key", key),)


async def test_who_shows_a_certificate_and_a_key_is_answered(mutual: Secured) -> None:
    assert await mutual.code(mutual.trust(mutual.client), carrying(mutual.key)) == grpc.StatusCode.OK


async def test_no_certificate_an_expired_one_and_one_of_another_authority_are_refused(
    mutual: Secured, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "other-ca").issue("stranger")
    expired = mutual.authority.issue("expired", expires_in_days=-1)
    for shown in (None, stranger, expired):
        assert await mutual.code(mutual.trust(shown), carrying(mutual.key)) == grpc.StatusCode.UNAVAILABLE
    assert await mutual.code(mutual.trust(mutual.client), carrying(mutual.key)) == grpc.StatusCode.OK


async def test_plaintext_to_a_tls_port_is_refused(mutual: Secured) -> None:
    assert await mutual.code(None, carrying(mutual.key)) == grpc.StatusCode.UNAVAILABLE


async def test_a_server_with_an_expired_certificate_or_of_another_authority_is_not_spoken_to(tmp_path: Path) -> None:
    def expired(authority: Authority) -> Issued:
        return authority.issue("server", expires_in_days=-1)

    async with secured(tmp_path, server=expired, tls_client_ca=None) as server:
        assert await server.code(server.trust(None), carrying(server.key)) == grpc.StatusCode.UNAVAILABLE
    folder = tmp_path / "second"
    folder.mkdir()
    async with secured(folder, tls_client_ca=None) as server:
        other = credentials(Authority(tmp_path, "other-ca"))
        assert await server.code(other, carrying(server.key)) == grpc.StatusCode.UNAVAILABLE
        assert await server.code(server.trust(None), carrying(server.key)) == grpc.StatusCode.OK


async def test_renewed_certificates_are_used_from_the_next_connection_on(mutual: Secured, tmp_path: Path) -> None:
    renewed = tmp_path / "renewed"
    renewed.mkdir()
    authority = Authority(renewed, "ca")
    replacement, client = authority.issue("server"), authority.issue("client")
    async with channel_to(mutual.address, mutual.trust(mutual.client)) as old:
        stub = RecommendationServiceStub(old)
        await stub.Recommend(REQUEST, timeout=SECONDS, metadata=carrying(mutual.key))
        mutual.server.certificate.write_bytes(replacement.certificate.read_bytes())
        # Half of it renewed does not fit together: the old pair goes on.
        assert await mutual.code(mutual.trust(mutual.client), carrying(mutual.key)) == grpc.StatusCode.OK
        mutual.server.key.write_bytes(replacement.key.read_bytes())
        trusting = credentials(authority, mutual.client)
        assert await mutual.code(trusting, carrying(mutual.key)) == grpc.StatusCode.OK
        mutual.authority.certificate.write_bytes(authority.certificate.read_bytes())
        assert await mutual.code(trusting, carrying(mutual.key)) == grpc.StatusCode.UNAVAILABLE
        assert await mutual.code(credentials(authority, client), carrying(mutual.key)) == grpc.StatusCode.OK
        await stub.Recommend(REQUEST, timeout=SECONDS, metadata=carrying(mutual.key))


@pytest.mark.parametrize("sent", ["", "guess", "{key}!", "{key},{key}"])
async def test_a_wrong_key_is_refused(keyed: Secured, sent: str) -> None:
    assert await keyed.code(None, carrying(sent.format(key=keyed.key))) == grpc.StatusCode.UNAUTHENTICATED


async def test_no_key_and_two_keys_are_refused(keyed: Secured) -> None:
    assert await keyed.code(None) == grpc.StatusCode.UNAUTHENTICATED
    assert await keyed.code(None, carrying(keyed.key) + carrying("guess")) == grpc.StatusCode.UNAUTHENTICATED
    assert await keyed.code(None, carrying(keyed.key)) == grpc.StatusCode.OK


async def words(address: str, metadata: Metadata, request: messages.RecommendRequest) -> tuple[grpc.StatusCode, str]:
    """What a refused caller is told."""
    async with channel_to(address, None) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await RecommendationServiceStub(channel).Recommend(request, timeout=SECONDS, metadata=metadata)
    return caught.value.code(), caught.value.details() or ""


async def test_a_wrong_key_is_refused_before_the_request_is_parsed(keyed: Secured) -> None:
    async with channel_to(keyed.address, None) as channel:
        call = channel.unary_unary(f"/{SERVICE_NAME}/Recommend", bytes, bytes)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"\xff not a message", timeout=SECONDS)
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_the_tenant_of_another_key_is_refused_in_words_that_do_not_say_whether_there_is_one(
    keyed: Secured,
) -> None:
    books = add_key(keyed.keys, "books", "storefront")
    existing = await words(keyed.address, carrying(keyed.key), messages.RecommendRequest(tenant="books"))
    unknown = await words(keyed.address, carrying(keyed.key), messages.RecommendRequest(tenant="nobody"))
    assert existing == unknown
    assert existing[0] == grpc.StatusCode.PERMISSION_DENIED
    code, _ = await words(keyed.address, carrying(books), REQUEST)  # no tenant is the default one
    assert code == grpc.StatusCode.PERMISSION_DENIED
    assert await keyed.code(None, carrying(books), messages.RecommendRequest(tenant="books")) == grpc.StatusCode.OK
    named = messages.RecommendRequest(tenant="default")
    assert await keyed.code(None, carrying(keyed.key), named) == grpc.StatusCode.OK


async def test_a_key_counts_from_the_moment_it_is_in_the_file_until_it_is_taken_out(keyed: Secured) -> None:
    second = add_key(keyed.keys, "default", "search")
    assert await keyed.code(None, carrying(second)) == grpc.StatusCode.OK
    keyed.keys.write_text('{"keys": []}')
    assert await keyed.code(None, carrying(second)) == grpc.StatusCode.UNAUTHENTICATED


async def test_health_needs_no_key_also_as_a_watch(keyed: Secured) -> None:
    async with channel_to(keyed.address, None) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=SERVICE_NAME)
        assert (await stub.Check(request, timeout=SECONDS)).status == health_pb2.HealthCheckResponse.SERVING
        watch = stub.Watch(request, timeout=SECONDS)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


async def listed(channel: grpc.aio.Channel, metadata: Metadata) -> list[str]:
    """The services that reflection tells of."""
    call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(metadata=metadata, timeout=SECONDS)
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    await call.done_writing()
    replies = [reply async for reply in call]
    return [service.name for reply in replies for service in reply.list_services_response.service]


async def test_reflection_needs_a_key(keyed: Secured) -> None:
    books = add_key(keyed.keys, "books", "storefront")
    async with channel_to(keyed.address, None) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await listed(channel, ())
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        for key in (keyed.key, books):
            assert SERVICE_NAME in await listed(channel, carrying(key))


async def test_refusals_are_counted(keyed: Secured) -> None:
    await keyed.code(None)
    await keyed.code(None, carrying(keyed.key), messages.RecommendRequest(tenant="books"))

    def counted() -> dict[str, float]:
        samples = [sample for family in keyed.registry.collect() for sample in family.samples]
        return {s.labels["code"]: s.value for s in samples if s.name == "aisle_grpc_requests_total"}

    async with asyncio.timeout(SECONDS):
        while counted() != {"UNAUTHENTICATED": 1.0, "PERMISSION_DENIED": 1.0}:
            await asyncio.sleep(0)


async def test_a_stream_of_requests_is_refused_as_long_as_its_tenant_cannot_be_checked(tmp_path: Path) -> None:
    async def collect(requests: Any, context: Any) -> bytes:
        raise AssertionError("was called")

    def register(server: grpc.aio.Server) -> list[str]:
        methods = {"Collect": grpc.stream_unary_rpc_method_handler(collect)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Streams", methods),))
        return []

    key = add_key(tmp_path / "keys.json", "default", "storefront")
    async with (
        running_server(ServiceSettings(api_keys=tmp_path / "keys.json", reflection=False), 0, register) as server,
        channel_to(server.address, None) as channel,
    ):
        call = channel.stream_unary("/shop.Streams/Collect", bytes, bytes)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(iter([b"event"]), metadata=carrying(key), timeout=SECONDS)
    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_a_request_that_is_too_large_is_refused(tmp_path: Path) -> None:
    plain = {"tls_certificate": None, "tls_key": None, "tls_client_ca": None, "api_keys": None}
    async with secured(tmp_path, request_bytes_max=100_000, **plain) as server:
        large = messages.RecommendRequest(page_token="x" * 100_000)
        assert await server.code(None, request=large) == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await server.code(None, request=messages.RecommendRequest(page_token="x" * 99_000)) == grpc.StatusCode.OK


async def test_headers_that_are_too_large_are_refused_every_time(keyed: Secured) -> None:
    huge, large = (("x-trace", "x" * 8300),), (("x-trace", "x" * 7000),)
    for _ in range(3):
        assert await keyed.code(None, carrying(keyed.key) + huge) == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await keyed.code(None, carrying(keyed.key) + large) == grpc.StatusCode.OK


async def test_a_damaged_file_of_keys_keeps_the_server_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("{}")
    with pytest.raises(SettingsError, match=f"AISLE_API_KEYS: {path}: keys: Field required"):
        async with running_server(ServiceSettings(api_keys=path), 0, FakeRecommendations().register):
            raise AssertionError("it serves")


async def test_the_client_carries_certificate_and_key(mutual: Secured) -> None:
    arguments: dict[str, Any] = {"credentials": mutual.trust(mutual.client), "timeout_seconds": SECONDS}
    async with AsyncRecommendationClient(mutual.address, api_key=mutual.key, **arguments) as client:
        assert (await client.recommend(REQUEST)).results[0].item_id == "for anna"
    async with AsyncRecommendationClient(mutual.address, **arguments) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.recommend(REQUEST)
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("service", ["ranking", "retrieval"])
def test_a_service_does_not_start_with_a_key_of_another_certificate_and_says_so(tmp_path: Path, service: str) -> None:
    write_shop_bundle(tmp_path / "bundles", seed=1)
    authority = Authority(tmp_path, "ca")
    shown, other = authority.issue("server"), authority.issue("other")
    settings = {
        "AISLE_BUNDLES": str(tmp_path / "bundles"),
        "AISLE_FEAST_DIR": str(tmp_path / "feast"),
        "AISLE_OFFLINE_DIR": str(tmp_path / "offline"),
        "AISLE_REDIS": f"127.0.0.1:{free_port()}",
        "AISLE_TRITON_ADDRESS": f"127.0.0.1:{free_port()}",
        "AISLE_STARTUP_WAIT_SECONDS": "0",
        "AISLE_TLS_CERTIFICATE": str(shown.certificate),
        "AISLE_TLS_KEY": str(other.key),
    }
    command = [sys.executable, "-m", f"services.{service}"]
    run = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1
    words = f"{service}: AISLE_TLS_KEY: {other.key} is not the unencrypted PEM key of {shown.certificate}"
    assert run.stderr.splitlines()[-1] == words
