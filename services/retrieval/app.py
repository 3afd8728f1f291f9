"""The retrieval service: `index.py` behind gRPC, for ranking processes that do not hold the index themselves.

Choices: two bundles at once, the present one and the one before, since ranking processes switch a moment apart; callers
who hold another are refused. The search runs in a worker thread (FAISS leaves Python's lock), so that health and other
callers are answered meanwhile. Knows nothing of item ids.
"""

import asyncio
import logging
from pathlib import Path

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
from services.retrieval.index import MISSING_ROW, Float32, Index, Mask

logger = logging.getLogger(__name__)

SERVICE_NAME: str = messages.DESCRIPTOR.services_by_name["RetrievalService"].full_name


class RetrievalSettings(ServiceSettings):
    """What the retrieval service reads from its environment."""

    retrieval_port: Port = 8011
    """Port to listen on."""


class RetrievalServicer(stubs.RetrievalServiceServicer):
    """Answers searches over the index of the bundle that the caller holds."""

    def __init__(self, index: Index, bundle_version: str) -> None:
        """Args: index: over the rows of that bundle; bundle_version: what callers must hold, too."""
        self._indexes = {bundle_version: index}

    async def switch_to(self, root: Path) -> None:
        """Answer searches in the bundle in a directory, too, and no longer those in the one before the present one.

        Raises:
            BundleError: the bundle is damaged.
            ValueError: its index is not one that this version can read.
        """
        if root.name == self._served:
            return
        index, version = await asyncio.to_thread(load_index, root)
        present, present_index = next(iter(self._indexes.items()))
        self._indexes = {version: index, present: present_index}
        logger.info("switched", extra={"from": present, "to": version})

    @property
    def _served(self) -> str:
        """The present version."""
        return next(iter(self._indexes))

    async def Search(  # noqa: N802 - the rpc's name
        self,
        request: messages.SearchRequest,
        context: grpc.aio.ServicerContext[messages.SearchRequest, messages.SearchResponse],  # noqa: ARG002
    ) -> messages.SearchResponse:
        """Finds the nearest rows of each vector.

        Raises:
            InvalidField: a limit is broken, `vectors` is not a whole number of finite vectors, or the bitmap is not one
                of the index's rows.
            BundleMismatch: the caller holds another bundle.
            NotServed: another tenant than the default one.
        """
        check(request)
        if request.tenant not in ("", DEFAULT_TENANT):
            raise NotServed("tenant")
        index = self._indexes.get(request.bundle_version)
        if index is None:
            raise BundleMismatch(request.bundle_version, self._served)
        vectors = _vectors(request, index.dimension)
        allowed = _allowed(request, index.row_count)
        count = request.result_count or RESULT_COUNT_DEFAULT
        rows, scores = await asyncio.to_thread(index.search, vectors, count, allowed)
        neighbors = []
        for row_list, score_list in zip(rows, scores, strict=True):
            found = row_list != MISSING_ROW
            neighbors.append(messages.Neighbors(rows=row_list[found], scores=score_list[found]))
        return messages.SearchResponse(bundle_version=request.bundle_version, neighbors=neighbors)


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
    return RetrievalServicer(*load_index(bundle.serving_path(settings.bundles)))


def load_index(root: Path) -> tuple[Index, str]:
    """The index and the version of the bundle in a directory. Errors as `load_servicer`."""
    opened = bundle.open_bundle(root)
    return Index.load(opened.path(bundle.INDEX)), opened.version


def _vectors(request: messages.SearchRequest, dimension: int) -> Float32:
    """The request's vectors, [Q, D]."""
    numbers = np.array(request.vectors, dtype=np.float32)
    if len(numbers) % dimension:
        raise InvalidField("vectors", f"must have {dimension} entries per vector, has {len(numbers)} in all")
    if not np.isfinite(numbers).all():
        raise InvalidField(f"vectors[{np.flatnonzero(~np.isfinite(numbers))[0]}]", "must be finite")
    return numbers.reshape(-1, dimension)


def _allowed(request: messages.SearchRequest, row_count: int) -> Mask | None:
    """What may be returned, [N]; None: every row."""
    bitmap, excluded = request.allowed_rows_bitmap, np.array(request.excluded_rows, dtype=np.int32)
    if not bitmap and not excluded.size:
        return None
    allowed = np.ones(row_count, dtype=np.bool_)
    if bitmap:
        if len(bitmap) != -(-row_count // 8):
            raise InvalidField("allowed_rows_bitmap", f"must have one bit for each of {row_count} rows")
        allowed = np.unpackbits(np.frombuffer(bitmap, np.uint8), count=row_count, bitorder="little").astype(np.bool_)
    allowed[excluded[(excluded >= 0) & (excluded < row_count)]] = False
    return allowed
