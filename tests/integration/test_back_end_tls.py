"""Ranking asks its back ends over TLS, and shows them who it is."""

from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from aisle.v1 import retrieval_service_pb2
from aisle.v1.retrieval_service_pb2_grpc import RetrievalServiceServicer, add_RetrievalServiceServicer_to_server
from tritonclient.grpc import service_pb2

from services.common.keys import add_key
from services.common.scorer import TritonScorer
from services.common.server import RunningServer, running_server
from services.common.settings import ServiceSettings
from services.common.tls import client_credentials
from services.common.towers import TowerModels
from services.ranking.retriever import RemoteRetriever, RetrieverUnavailable
from services.ranking.settings import RankingSettings
from tests.certificates import Authority

SECONDS = 10.0


class OneRow(RetrievalServiceServicer):
    """Finds row 3, whatever is asked for."""

    async def Search(  # noqa: N802 - the rpc's name
        self,
        request: retrieval_service_pb2.SearchRequest,
        context: Any,  # noqa: ARG002
    ) -> retrieval_service_pb2.SearchResponse:
        return retrieval_service_pb2.SearchResponse(
            bundle_version=request.bundle_version,
            neighbors=[retrieval_service_pb2.Neighbors(rows=[3], scores=[1.0])],
        )

    def register(self, server: grpc.aio.Server) -> list[str]:
        add_RetrievalServiceServicer_to_server(self, server)
        return ["aisle.v1.RetrievalService"]


async def test_ranking_asks_retrieval_with_certificate_and_key(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    shown, own = authority.issue("retrieval"), authority.issue("ranking")
    key = add_key(tmp_path / "keys.json", "default", "ranking")
    settings = ServiceSettings(
        tls_certificate=shown.certificate,
        tls_key=shown.key,
        tls_client_ca=authority.certificate,
        api_keys=tmp_path / "keys.json",
    )
    ours = RankingSettings(
        retrieval_ca=authority.certificate, retrieval_certificate=own.certificate, retrieval_key=own.key
    )
    trusted = client_credentials(ours, "retrieval")
    async with running_server(settings, 0, OneRow().register) as server:
        assert await rows_from(server, trusted, key) == [3]
        for channel_credentials, api_key in ((trusted, None), (trusted, "guess"), (None, key)):
            with pytest.raises(RetrieverUnavailable, match=r"UNAUTHENTICATED|UNAVAILABLE"):
                await rows_from(server, channel_credentials, api_key)


async def rows_from(
    server: RunningServer, channel_credentials: grpc.ChannelCredentials | None, api_key: str | None
) -> list[int]:
    retriever = RemoteRetriever(server.address, "tiny.1", channel_credentials, api_key)
    try:
        rows = await retriever.nearest(np.ones((1, 4), np.float32), 1, np.ones(4, np.bool_), SECONDS)
        return [int(row) for row in rows]
    finally:
        await retriever.close()


def register_ready_models(server: grpc.aio.Server) -> list[str]:
    """A Triton that has every model."""

    async def ready(request: Any, context: Any) -> Any:
        return service_pb2.ModelReadyResponse(ready=True)

    handler = grpc.unary_unary_rpc_method_handler(
        ready, service_pb2.ModelReadyRequest.FromString, service_pb2.ModelReadyResponse.SerializeToString
    )
    methods = {"ModelReady": handler}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods),))
    return []


async def test_ranking_asks_triton_with_its_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    shown, own = authority.issue("triton"), authority.issue("ranking")
    settings = ServiceSettings(
        tls_certificate=shown.certificate, tls_key=shown.key, tls_client_ca=authority.certificate, reflection=False
    )
    ours = RankingSettings(triton_ca=authority.certificate, triton_certificate=own.certificate, triton_key=own.key)
    unknown = RankingSettings(triton_ca=authority.certificate)
    async with running_server(settings, 0, register_ready_models) as server:
        for known, answered in ((ours, True), (unknown, False), (RankingSettings(), False)):
            credentials = client_credentials(known, "triton")
            scorer = TritonScorer(server.address, TowerModels.of_version("1"), credentials=credentials)
            assert await scorer.ready(SECONDS) == answered
            await scorer.close()
