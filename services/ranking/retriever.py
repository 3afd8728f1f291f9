"""Nearest items by interest vector: from the index in this process, or from the retrieval service."""

from typing import Protocol

import grpc
import grpc.aio
import numpy as np
from aisle.v1 import retrieval_service_pb2 as messages
from aisle.v1 import retrieval_service_pb2_grpc as stubs

from features.encode import Floats
from features.vocab import Rows
from services.ranking.ordering import best_over_interests
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

    async def nearest(self, interest_vectors: Floats, count: int, excluded_rows: Rows, timeout_seconds: float) -> Rows:
        """At most `count` rows, best first, for float32 [K, D].

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
        excluded_rows: Rows,
        timeout_seconds: float,  # noqa: ARG002 - a search in memory is over before a timer would fire
    ) -> Rows:
        """See `Retriever.nearest`."""
        return best_over_interests(*self._index.search(interest_vectors, count, excluded_rows), count)


class RemoteRetriever:
    """The retrieval service."""

    def __init__(self, address: str, bundle_version: str) -> None:
        """Connect to `address` on first use; call in the event loop that uses it."""
        self._channel = grpc.aio.insecure_channel(address, _CHANNEL_OPTIONS)
        self._stub = stubs.RetrievalServiceStub(self._channel)
        self._bundle_version = bundle_version

    async def nearest(self, interest_vectors: Floats, count: int, excluded_rows: Rows, timeout_seconds: float) -> Rows:
        """See `Retriever.nearest`."""
        request = messages.SearchRequest(
            bundle_version=self._bundle_version,
            vectors=interest_vectors.ravel(),
            result_count=count,
            excluded_rows=excluded_rows,
        )
        try:
            reply = await self._stub.Search(request, timeout=timeout_seconds)
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
