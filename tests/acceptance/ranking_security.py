"""Line 10: a wrong key, an expired certificate, plaintext to a TLS port, another tenant's data: refused.

A real ranking process over the tiny shop, with mutual TLS and keys made by the command that makes them; nothing behind
it runs, because who may call does not depend on it.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import grpc
from aisle.v1 import recommendation_service_pb2 as messages
from aisle.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.client import RecommendationClient
from services.common.process import free_port
from tests.acceptance.rows import Row, holds
from tests.certificates import HOST, Authority, Issued
from tests.integration.test_ranking_process import READY_SECONDS, start
from tests.tiny_shop import write_shop_bundle

_SECONDS = 10.0
_SHOPPER = "user-1"
_FOR_YOU = messages.PLACEMENT_RECOMMENDED_FOR_YOU
_REQUEST = messages.RecommendRequest(placement=_FOR_YOU, user_id=_SHOPPER, page_size=10)


@dataclass(frozen=True, slots=True)
class Caller:
    """What somebody who calls trusts, shows and says."""

    address: str
    authority: Authority | None
    shown: Issued | None = None
    key: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """For TLS."""
        if self.authority is None:
            raise ValueError("authority: none is trusted")
        own = (self.shown.key.read_bytes(), self.shown.certificate.read_bytes()) if self.shown else (None, None)
        return grpc.ssl_channel_credentials(self.authority.certificate.read_bytes(), *own)

    def channel(self) -> grpc.Channel:
        """A connection of its own, without retries; plaintext for a caller who trusts nobody."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        if self.authority is None:
            return grpc.insecure_channel(self.address, options)
        return grpc.secure_channel(self.address, self.credentials(), options)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What says the key."""
        return () if self.key is None else (("x-api-key", self.key),)

    def ends(self, request: Message = _REQUEST, method: str = "Recommend") -> tuple[str, str]:
        """Status and words with which a call ends."""
        with self.channel() as channel:
            call = getattr(RecommendationServiceStub(channel), method)
            try:
                call(request, timeout=_SECONDS, metadata=self.metadata())
            except grpc.RpcError as error:
                return error.code().name, error.details() or ""
        return "OK", ""

    def refused(self, status: str, request: Message = _REQUEST, method: str = "Recommend") -> bool:
        """Whether a call ends with that status."""
        return self.ends(request, method)[0] == status


def refusals() -> list[Row]:
    """Line 10: who is refused and how, and that a right caller is answered before and after."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        write_shop_bundle(folder / "bundles", seed=1)
        authority = Authority(folder, "ca")
        server = authority.issue("server")
        key, other_key = _new_key(folder, "default"), _new_key(folder, "books")
        right = Caller(f"{HOST}:{port}", authority, authority.issue("client"), key)
        settings = {
            "RANKING_PORT": port,
            "TLS_CERTIFICATE": server.certificate,
            "TLS_KEY": server.key,
            "TLS_CLIENT_CA": authority.certificate,
            "API_KEYS": folder / "keys.json",
        }
        with start(folder, **settings) as process:
            process.wait_ready(lambda: _health(right) == "SERVING", READY_SECONDS)
            rows = [
                holds("right_caller_is_answered", value=_recommends(right)),
                *_by_certificate(right, folder),
                *_by_key(right),
                *_by_tenant(right, other_key),
                *_by_size(right),
                holds("right_caller_is_answered_after_all_that", value=_recommends(right)),
                *_by_the_servers_certificate(right, server),
            ]
        log = (folder / "ranking.log").read_text()
        return [*rows, holds("no_key_and_no_shopper_in_the_log", value=key not in log and _SHOPPER not in log)]


def _by_certificate(right: Caller, folder: Path) -> list[Row]:
    authority = right.authority
    assert authority is not None
    stranger = Authority(folder, "other-ca").issue("stranger")

    def showing(shown: Issued | None) -> Caller:
        return Caller(right.address, authority, shown, right.key)

    expired = authority.issue("expired", expires_in_days=-1)
    return [
        holds("plaintext_unavailable", value=Caller(right.address, None, None, right.key).refused("UNAVAILABLE")),
        holds("no_certificate_unavailable", value=showing(None).refused("UNAVAILABLE")),
        holds("expired_certificate_unavailable", value=showing(expired).refused("UNAVAILABLE")),
        holds("certificate_of_another_authority_unavailable", value=showing(stranger).refused("UNAVAILABLE")),
    ]


def _by_key(right: Caller) -> list[Row]:
    nobody = Caller(right.address, right.authority, right.shown)
    wrong = Caller(right.address, right.authority, right.shown, f"{right.key}x")
    return [
        holds("no_key_unauthenticated", value=nobody.refused("UNAUTHENTICATED")),
        holds("wrong_key_unauthenticated", value=wrong.refused("UNAUTHENTICATED")),
        holds("reflection_without_key_unauthenticated", value=_reflection(nobody) == "UNAUTHENTICATED"),
        holds("reflection_with_key_answers", value=_reflection(right) == "OK"),
        holds("health_without_key_answers", value=_health(nobody) == "SERVING"),
    ]


def _by_tenant(right: Caller, key_of_books: str) -> list[Row]:
    books = Caller(right.address, right.authority, right.shown, key_of_books)
    of_books = messages.RecommendRequest(placement=_FOR_YOU, user_id=_SHOPPER, tenant="books")
    of_nobody = messages.RecommendRequest(placement=_FOR_YOU, user_id=_SHOPPER, tenant="nobody")
    ranked = messages.RankRequest(tenant="books", item_ids=["1"])
    batch = messages.BatchRecommendRequest(tenant="books", requests=[_REQUEST])
    hidden = messages.BatchRecommendRequest(requests=[of_books])
    denied, invalid = "PERMISSION_DENIED", "INVALID_ARGUMENT"
    return [
        holds("recommend_for_another_tenant_denied", value=right.refused(denied, of_books)),
        holds("rank_for_another_tenant_denied", value=right.refused(denied, ranked, "Rank")),
        holds("batch_for_another_tenant_denied", value=right.refused(denied, batch, "BatchRecommend")),
        holds("another_tenant_within_a_batch_refused", value=right.refused(invalid, hidden, "BatchRecommend")),
        holds("key_of_another_tenant_denied", value=books.refused(denied)),
        holds("existing_and_unknown_tenant_in_the_same_words", value=right.ends(of_books) == right.ends(of_nobody)),
    ]


def _by_size(right: Caller) -> list[Row]:
    large = messages.RecommendRequest(placement=_FOR_YOU, page_token="x" * 2**22)
    talkative = Caller(right.address, right.authority, right.shown, "x" * 9000)
    return [
        holds("oversize_request_resource_exhausted", value=right.refused("RESOURCE_EXHAUSTED", large)),
        holds("oversize_headers_resource_exhausted", value=talkative.refused("RESOURCE_EXHAUSTED")),
    ]


def _by_the_servers_certificate(right: Caller, server: Issued) -> list[Row]:
    """Renews the server's certificate while it runs, at last by one that has expired; nobody is answered afterwards."""
    assert right.authority is not None

    def replaced_by(issued: Issued) -> None:
        server.key.write_bytes(issued.key.read_bytes())
        server.certificate.write_bytes(issued.certificate.read_bytes())

    replaced_by(right.authority.issue("renewed"))
    renewed = _recommends(right)
    replaced_by(right.authority.issue("outdated", expires_in_days=-1))
    return [
        holds("renewed_certificate_is_used_without_a_restart", value=renewed),
        holds("server_with_expired_certificate_is_not_spoken_to", value=right.refused("UNAVAILABLE")),
    ]


def _new_key(folder: Path, tenant: str) -> str:
    command = [sys.executable, "-m", "services.common.keys", "--tenant", tenant, "--name", "accept"]
    run = subprocess.run([*command, "--file", folder / "keys.json"], check=True, capture_output=True, text=True)
    return run.stdout.strip()


def _recommends(caller: Caller) -> bool:
    credentials = caller.credentials()
    with RecommendationClient(
        caller.address, timeout_seconds=_SECONDS, credentials=credentials, api_key=caller.key
    ) as client:
        return len(client.recommend(_REQUEST).results) > 0


def _health(caller: Caller) -> str:
    with caller.channel() as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS)
        except grpc.RpcError as error:
            return str(error.code().name)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))


def _reflection(caller: Caller) -> str:
    with caller.channel() as channel:
        requests = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        try:
            list(stub.ServerReflectionInfo(requests, timeout=_SECONDS, metadata=caller.metadata()))
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"
