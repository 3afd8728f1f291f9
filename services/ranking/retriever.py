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
from services.retrieval.index import Index

_CHANNEL_OPTIONS = [
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

    def __init__(self, index: Index) -> None:
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
    """The retrieval service."""

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

    def with_bundle(self, version: str) -> Self:
        """The retriever of another release, over the same connection."""
        other = copy.copy(self)
        other._bundle_version = version
        return other

    async def nearest(self, interest_vectors: Floats, count: int, allowed: Mask, timeout_seconds: float) -> Rows:
        """See `Retriever.nearest`."""
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
        rows = np.array([row for found in reply.neighbors for row in found.rows], dtype=np.int32)
        scores = np.array([score for found in reply.neighbors for score in found.scores], dtype=np.float32)
        if rows.size != scores.size:
            raise RetrieverUnavailable(f"bad answer: {rows.size} rows, {scores.size} scores")
        return best_over_interests(rows, scores, count)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close(None)
