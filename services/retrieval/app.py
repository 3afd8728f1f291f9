"""The retrieval service: `index.py` behind gRPC, for ranking processes that do not hold the index themselves.

Choices: one bundle per process, refused to all who hold another; the search runs in a worker thread (FAISS
leaves Python's lock), so that health and other callers are answered meanwhile. Knows nothing of item ids.
"""

import asyncio

import grpc.aio
import numpy as np
from aisle.v1 import retrieval_service_pb2 as messages
from aisle.v1 import retrieval_service_pb2_grpc as stubs

from features import bundle
from services.common.errors import BundleMismatch, InvalidField, NotServed
from services.common.limits import DEFAULT_TENANT, RESULT_COUNT_DEFAULT
from services.common.server import Register
from services.common.settings import Port, ServiceSettings
from services.common.validation import check
from services.retrieval.index import MISSING_ROW, Float32, Index

SERVICE_NAME: str = messages.DESCRIPTOR.services_by_name["RetrievalService"].full_name


class RetrievalSettings(ServiceSettings):
    """What the retrieval service reads from its environment."""

    retrieval_port: Port = 8011
    """Port to listen on."""


class RetrievalServicer(stubs.RetrievalServiceServicer):
    """Answers searches over one bundle's index."""

    def __init__(self, index: Index, bundle_version: str) -> None:
        """Args: index: over the rows of that bundle; bundle_version: what callers must hold, too."""
        self._index = index
        self._bundle_version = bundle_version

    async def Search(  # noqa: N802 - the rpc's name
        self,
        request: messages.SearchRequest,
        context: grpc.aio.ServicerContext[messages.SearchRequest, messages.SearchResponse],  # noqa: ARG002
    ) -> messages.SearchResponse:
        """Finds the nearest rows of each vector.

        Raises:
            InvalidField: a limit is broken, or `vectors` is not a whole number of finite vectors.
            BundleMismatch: the caller holds another bundle.
            NotServed: another tenant than the default one.
        """
        check(request)
        if request.tenant not in ("", DEFAULT_TENANT):
            raise NotServed("tenant")
        if request.bundle_version != self._bundle_version:
            raise BundleMismatch(request.bundle_version, self._bundle_version)
        vectors = _vectors(request, self._index.dimension)
        excluded = np.array(request.excluded_rows, dtype=np.int32)
        count = request.result_count or RESULT_COUNT_DEFAULT
        rows, scores = await asyncio.to_thread(self._index.search, vectors, count, excluded)
        neighbors = []
        for row_list, score_list in zip(rows, scores, strict=True):
            found = row_list != MISSING_ROW
            neighbors.append(messages.Neighbors(rows=row_list[found], scores=score_list[found]))
        return messages.SearchResponse(bundle_version=self._bundle_version, neighbors=neighbors)


def registration(servicer: RetrievalServicer) -> Register:
    """What a server needs to offer the service."""

    def register(server: grpc.aio.Server) -> list[str]:
        stubs.add_RetrievalServiceServicer_to_server(servicer, server)
        return [SERVICE_NAME]

    return register


def load_servicer(settings: RetrievalSettings) -> RetrievalServicer:
    """The servicer of the bundle that the pointer names.

    Raises:
        BundleError: there is no such bundle, or a file of it is damaged.
        ValueError: its index is not one that this version can read.
    """
    opened = bundle.open_bundle(bundle.serving_path(settings.bundles))
    return RetrievalServicer(Index.load(opened.path(bundle.INDEX)), opened.version)


def _vectors(request: messages.SearchRequest, dimension: int) -> Float32:
    """The request's vectors, [Q, D]."""
    numbers = np.array(request.vectors, dtype=np.float32)
    if len(numbers) % dimension:
        raise InvalidField("vectors", f"must have {dimension} entries per vector, has {len(numbers)} in all")
    if not np.isfinite(numbers).all():
        raise InvalidField(f"vectors[{np.flatnonzero(~np.isfinite(numbers))[0]}]", "must be finite")
    return numbers.reshape(-1, dimension)
