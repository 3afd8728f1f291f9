"""Nearest items by interest vector: from the index in this process, or from the retrieval service."""

import copy
from typing import Protocol, Self

import grpc
import grpc.aio
import numpy as np
from aisle.v1 import retrieval_service_pb2 as messages
from aisle.v1 import retrieval_service_pb2_grpc as stubs

from features.encode import Floats
from features.vocab import Rows
from services.common.keys import KEY_HEADER
from services.ranking.ordering import Mask, best_over_interests
from services.retrieval.delta import DeltaIndex
from services.retrieval.index import MISSING_ROW, Float32, Index, Int32

_CHANNEL_OPTIONS = [
    # One call to each of the servers that the name stands for, in turn; by default all go to the first.
    ("grpc.lb_policy_name", "round_robin"),
    # A restarted server is found within a second; gRPC's own back-off would grow to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class RetrieverUnavailable(Exception):  # noqa: N818 - named for the state, as gRPC's UNAVAILABLE
    """The retrieval service did not answer, or holds another bundle."""


class Retriever(Protocol):
    """What the pipeline needs of an index."""

    async def nearest(self, interest_vectors: Floats, count: int, allowed: Mask, timeout_seconds: float) -> Rows:
        """At most `count` of the allowed rows, best first, for float32 [K, D].

        Raises:
            RetrieverUnavailable: no answer in time, or none for this bundle.
        """


class LocalRetriever:
    """The index in this process."""

    def __init__(self, index: Index | DeltaIndex) -> None:
        """Search `index`."""
        self._index = index

    async def nearest(
        self,
        interest_vectors: Floats,
        count: int,
        allowed: Mask,
        timeout_seconds: float,  # noqa: ARG002 - a search in memory is over before a timer would fire
    ) -> Rows:
        """See `Retriever.nearest`."""
        return best_over_interests(*self._index.search(interest_vectors, count, allowed), count)


class RemoteRetriever:
    """The retrieval service, which holds the index of a bundle; what has changed since is searched here."""

    def __init__(
        self,
        address: str,
        bundle_version: str,
        credentials: grpc.ChannelCredentials | None = None,
        api_key: str | None = None,
    ) -> None:
        """Connect to `address` on first use, by default without TLS and key; call in the event loop that uses it."""
        self._channel = (
            grpc.aio.secure_channel(address, credentials, _CHANNEL_OPTIONS)
            if credentials
            else grpc.aio.insecure_channel(address, _CHANNEL_OPTIONS)
        )
        self._metadata = ((KEY_HEADER, api_key),) if api_key else ()
        self._stub = stubs.RetrievalServiceStub(self._channel)
        self._bundle_version = bundle_version
        self._delta: DeltaIndex | None = None

    def with_release(self, version: str, index: Index | DeltaIndex) -> Self:
        """The retriever of another release, over the same connection."""
        other = copy.copy(self)
        other._bundle_version = version
        other._delta = index if isinstance(index, DeltaIndex) else None
        return other

    async def nearest(self, interest_vectors: Floats, count: int, allowed: Mask, timeout_seconds: float) -> Rows:
        """See `Retriever.nearest`."""
        if self._delta is None:
            return best_over_interests(*await self._search(interest_vectors, count, allowed, timeout_seconds), count)
        in_bundle = self._delta.base_allowed(allowed)
        rows, scores = await self._search(interest_vectors, count, in_bundle, timeout_seconds)
        return best_over_interests(*self._delta.merge(rows, scores, interest_vectors, allowed), count)

    async def _search(
        self, interest_vectors: Floats, count: int, allowed: Mask, timeout_seconds: float
    ) -> tuple[Int32, Float32]:
        """See `Index.search`."""
        request = messages.SearchRequest(
            bundle_version=self._bundle_version,
            vectors=interest_vectors.ravel(),
            result_count=count,
            allowed_rows_bitmap=np.packbits(allowed, bitorder="little").tobytes(),
        )
        try:
            reply = await self._stub.Search(request, timeout=timeout_seconds, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise RetrieverUnavailable(f"{error.code().name}: {error.details()}") from error
        rows = np.full((len(interest_vectors), count), MISSING_ROW, dtype=np.int32)
        scores = np.full(rows.shape, -np.inf, dtype=np.float32)
        if len(reply.neighbors) > len(rows):
            raise RetrieverUnavailable(f"bad answer: {len(reply.neighbors)} lists for {len(rows)} vectors")
        for number, found in enumerate(reply.neighbors):
            size = len(found.rows)
            if size != len(found.scores) or size > count:
                raise RetrieverUnavailable(f"bad answer: {size} rows, {len(found.scores)} scores")
            strange = [row for row in found.rows if not (0 <= row < allowed.size and allowed[row])]
            if strange:
                raise RetrieverUnavailable(f"bad answer: row {strange[0]}, which may not be shown")
            rows[number, :size], scores[number, :size] = found.rows, found.scores
        return rows, scores

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close(None)
