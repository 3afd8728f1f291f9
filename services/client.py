"""What a front end uses to ask for recommendations.

    with RecommendationClient("recommendations.shop.internal:8010") as client:
        reply = client.recommend(RecommendRequest(placement=PLACEMENT_RECOMMENDED_FOR_YOU, user_id="7", page_size=10))

Choices: every call has a deadline, retries included; only UNAVAILABLE is retried (AIP-194), up to three attempts and
not during an outage (retry throttling); calls go round-robin over all addresses that say they are healthy. Errors are
`grpc.RpcError`; `field_violations` reads what a refused request got wrong. Needs grpcio and `aisle.v1` only.

Several server processes behind one address (`SO_REUSEPORT`): the kernel gives each *connection* to one process, so a
client with one connection uses one core of the server. `channel_count` opens several connections.
"""

import ipaddress
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self, cast

import grpc
import grpc.aio
from aisle.v1.recommendation_service_pb2 import (
    BatchRecommendRequest,
    BatchRecommendResponse,
    RankedItem,
    RankRequest,
    RankResponse,
    RecommendRequest,
    RecommendResponse,
)
from aisle.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

DEFAULT_TIMEOUT_SECONDS = 0.5

_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": "aisle.v1.RecommendationService"},
    "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
    "methodConfig": [
        {
            "name": [{"service": "aisle.v1.RecommendationService"}],
            "retryPolicy": {
                "maxAttempts": 3,
                # Together longer than gRPC's pause of .1 s after a connection that was made to a process as it died.
                "initialBackoff": "0.05s",
                "maxBackoff": "0.2s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}

_OPTIONS: list[tuple[str, str | int]] = [
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.enable_retries", 1),
    # Find dead connections within 40 s, also between calls; servers allow a ping every 10 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A server that restarts is tried again within a second, not after gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Channels of one process to one address share a connection by default, which would undo `channel_count`.
    ("grpc.use_local_subchannel_pool", 1),
]


class _Client:
    """What the two clients do alike; they differ in when a call returns."""

    _TRANSPORT: ClassVar[Any]
    """`grpc` or `grpc.aio`."""

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        channel_count: int = 1,
        credentials: grpc.ChannelCredentials | None = None,
        server_name: str | None = None,
        api_key: str | None = None,
    ) -> None:
        """Connects at the first call.

        Args:
            addresses: `host:port`, whose host may stand for several servers in DNS; or several `ip:port`.
            timeout_seconds: deadline of a call that names none; retries included.
            channel_count: connections to every server.
            credentials: TLS credentials; default: no TLS.
            server_name: name in the servers' certificates, where it is not the host in `addresses`; with TLS needed for
                several addresses.
            api_key: sent with every call. A key that leaves this machine must be encrypted: where something else does
                that, a mesh for instance, say so with `grpc.experimental.insecure_channel_credentials()`.

        Raises:
            ValueError: no address, or one of several that is not `ip:port`; a key that cannot be sent, or that would be
                sent to another machine without credentials.
        """
        self._timeout_seconds = timeout_seconds
        self._metadata = _key_metadata(addresses, credentials, api_key)
        target = _target(addresses)
        options = [*_OPTIONS, ("grpc.default_authority", server_name)] if server_name else _OPTIONS
        self._channels = [
            self._TRANSPORT.secure_channel(target, credentials, options)
            if credentials
            else self._TRANSPORT.insecure_channel(target, options)
            for _ in range(channel_count)
        ]
        self._stubs = itertools.cycle([RecommendationServiceStub(channel) for channel in self._channels])

    def _call(self, method: str, request: Message, timeout_seconds: float | None) -> Any:
        """Calls over the next channel; what the transport returns."""
        timeout = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        return getattr(next(self._stubs), method)(request, timeout=timeout, metadata=self._metadata)


class RecommendationClient(_Client):
    """Synchronous client; safe to share between threads. Closed by `close` or at the end of a `with` block."""

    _TRANSPORT: ClassVar[Any] = grpc

    def recommend(self, request: RecommendRequest, *, timeout_seconds: float | None = None) -> RecommendResponse:
        """Chooses and orders items for one placement."""
        return cast(RecommendResponse, self._call("Recommend", request, timeout_seconds))

    def rank(self, request: RankRequest, *, timeout_seconds: float | None = None) -> RankResponse:
        """Orders given items."""
        return cast(RankResponse, self._call("Rank", request, timeout_seconds))

    def batch_recommend(
        self, request: BatchRecommendRequest, *, timeout_seconds: float | None = None
    ) -> BatchRecommendResponse:
        """Fills several placements of one page."""
        return cast(BatchRecommendResponse, self._call("BatchRecommend", request, timeout_seconds))

    def close(self) -> None:
        """Ends the connections; running calls are cancelled."""
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes it."""
        self.close()


class AsyncRecommendationClient(_Client):
    """The same for asyncio; make it inside the event loop that uses it. Closed at the end of an `async with` block."""

    _TRANSPORT: ClassVar[Any] = grpc.aio

    async def recommend(self, request: RecommendRequest, *, timeout_seconds: float | None = None) -> RecommendResponse:
        """Chooses and orders items for one placement."""
        return cast(RecommendResponse, await self._call("Recommend", request, timeout_seconds))

    async def rank(self, request: RankRequest, *, timeout_seconds: float | None = None) -> RankResponse:
        """Orders given items."""
        return cast(RankResponse, await self._call("Rank", request, timeout_seconds))

    async def batch_recommend(
        self, request: BatchRecommendRequest, *, timeout_seconds: float | None = None
    ) -> BatchRecommendResponse:
        """Fills several placements of one page."""
        return cast(BatchRecommendResponse, await self._call("BatchRecommend", request, timeout_seconds))

    async def close(self) -> None:
        """Ends the connections; running calls are cancelled."""
        for channel in self._channels:
            await channel.close(None)

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes it."""
        await self.close()


def propensities_of(shown: Iterable[RankedItem]) -> list[float]:
    """What an impression of these results reports as `impression_propensities`: each one's chance, and 1 for what was
    sure of its place in a list where others were drawn; nothing where no chance had a part at all. Without them the
    retraining cannot judge a bundle on what shoppers did with the list."""
    given = [item.propensity if item.HasField("propensity") else None for item in shown]
    if all(propensity is None for propensity in given):
        return []
    return [1.0 if propensity is None else propensity for propensity in given]


def field_violations(error: grpc.RpcError) -> dict[str, str]:
    """What a refused request got wrong: path of the field to what is wrong with it; empty for other errors."""
    status = rpc_status.from_call(cast(grpc.Call, error))
    violations: dict[str, str] = {}
    for detail in status.details if status else []:
        bad_request = error_details_pb2.BadRequest()
        if detail.Unpack(bad_request):
            violations |= {violation.field: violation.description for violation in bad_request.field_violations}
    return violations


def _key_metadata(
    addresses: str | Sequence[str], credentials: grpc.ChannelCredentials | None, api_key: str | None
) -> tuple[tuple[str, str], ...] | None:
    """What is sent with every call. A key is in no error's text."""
    if api_key is None:
        return None
    if not re.fullmatch(r"[!-~]+", api_key):
        raise ValueError("api_key: must be printable ASCII without spaces and line ends, and not empty")
    given = [addresses] if isinstance(addresses, str) else addresses
    if credentials is None and not all(map(_is_loopback, given)):
        raise ValueError("api_key: would be sent unencrypted; give credentials too")
    return (("x-api-key", api_key),)


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _target(addresses: str | Sequence[str]) -> str:
    """The gRPC name of the addresses, which decides how they are resolved."""
    if isinstance(addresses, str):
        return f"dns:///{addresses}"
    if not addresses:
        raise ValueError("addresses: none given")
    if len(addresses) == 1:
        return f"dns:///{addresses[0]}"
    for address in addresses:
        ipaddress.IPv4Address(address.rpartition(":")[0])  # raises ValueError, naming the address
    return "ipv4:" + ",".join(addresses)
