"""The RecommendationService: parse, call the pipeline, answer. Errors become statuses in services.common.errors."""

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import grpc.aio
import numpy as np
from aisle.v1 import recommendation_service_pb2 as messages
from aisle.v1 import recommendation_service_pb2_grpc as stubs
from prometheus_client import CollectorRegistry, Counter, Histogram

from features.vocab import Rows
from services.common.errors import InvalidField, NotServed
from services.common.limits import DEFAULT_TENANT, PAGE_SIZE_DEFAULT
from services.common.server import Register
from services.common.telemetry import LATENCY_BUCKETS
from services.common.validation import check, refuse_unserved
from services.ranking.ordering import RankedList
from services.ranking.pipeline import Pipeline, Trace
from services.ranking.replies import rank_response, recommend_response

SERVICE_NAME: str = messages.DESCRIPTOR.services_by_name["RecommendationService"].full_name

UNSERVED_RECOMMEND = (
    "page_token",
    "filter",
    "diversity_level",
    "price_rerank_level",
    "promotions",
    "exploration_weight",
    "experiment_overrides",
    "explain",
)
UNSERVED_RANK = (
    "context_item_ids",
    "filter",
    "diversity_level",
    "price_rerank_level",
    "experiment_overrides",
    "explain",
)
"""Fields that this version refuses rather than ignores."""

SERVED_PLACEMENTS = frozenset(
    {
        messages.PLACEMENT_RECOMMENDED_FOR_YOU,
        messages.PLACEMENT_BUY_IT_AGAIN,
        messages.PLACEMENT_SIMILAR_ITEMS,
        messages.PLACEMENT_BEST_SELLERS,
    }
)
"""Placements that Recommend fills; the others are refused."""

_NO_DEADLINE_SECONDS = 5.0


class RankingMetrics:
    """What the pipeline did, for Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers `aisle_degradations_total` and `aisle_stage_seconds`."""
        self._degradations = Counter(
            "aisle_degradations_total", "Replies that had to do without something.", ["degradation"], registry=registry
        )
        self._stages = Histogram(
            "aisle_stage_seconds",
            "Time per stage of the pipeline.",
            ["stage"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )

    def count(self, trace: Trace) -> None:
        """Add one answer."""
        for degradation in trace.degradations:
            self._degradations.labels(degradation.name).inc()
        for stage, milliseconds in trace.timings_ms.items():
            self._stages.labels(stage).observe(milliseconds / 1000.0)


class RecommendationServicer(stubs.RecommendationServiceServicer):
    """Answers from one pipeline."""

    def __init__(self, pipeline: Pipeline, metrics: RankingMetrics, new_id: Callable[[], str] | None = None) -> None:
        """Args: pipeline: the steps; metrics: where they are counted; new_id: makes recommendation ids."""
        self._pipeline = pipeline
        self._metrics = metrics
        self._new_id = new_id or (lambda: uuid.uuid4().hex)

    async def Recommend(  # noqa: N802 - the rpc's name
        self,
        request: messages.RecommendRequest,
        context: grpc.aio.ServicerContext[messages.RecommendRequest, messages.RecommendResponse],
    ) -> messages.RecommendResponse:
        """Items for a placement.

        Raises:
            InvalidField: a limit is broken or a required field is missing.
            NotServed: a field, placement or tenant that this version does not serve.
        """
        check(request)
        _refuse_other_tenants(request.tenant)
        refuse_unserved(request, UNSERVED_RECOMMEND)
        _check_placement(request)
        if request.validate_only:
            return messages.RecommendResponse(bundle_version=self._pipeline.release.version)
        trace = _trace(context)
        rows, missing = self._rows(request.context_item_ids)
        with trace.stage("total"):
            ranked = await self._placement(request, rows, trace)
        self._metrics.count(trace)
        ranked = ranked.head(request.page_size or PAGE_SIZE_DEFAULT)
        return recommend_response(self._pipeline.release, ranked, missing, self._new_id(), trace)

    async def Rank(  # noqa: N802 - the rpc's name
        self,
        request: messages.RankRequest,
        context: grpc.aio.ServicerContext[messages.RankRequest, messages.RankResponse],
    ) -> messages.RankResponse:
        """Given items in the shopper's order.

        Raises:
            InvalidField: a limit is broken or a required field is missing.
            NotServed: a field or tenant that this version does not serve.
        """
        check(request)
        _refuse_other_tenants(request.tenant)
        refuse_unserved(request, UNSERVED_RANK)
        if request.validate_only:
            return messages.RankResponse(bundle_version=self._pipeline.release.version)
        trace = _trace(context)
        rows, missing = self._rows(request.item_ids)
        with trace.stage("total"):
            ranked = await self._pipeline.rank(request.user_id, rows, trace)
        self._metrics.count(trace)
        return rank_response(self._pipeline.release, ranked, missing, self._new_id(), trace)

    async def BatchRecommend(  # noqa: N802 - the rpc's name
        self,
        request: messages.BatchRecommendRequest,
        context: grpc.aio.ServicerContext[messages.BatchRecommendRequest, messages.BatchRecommendResponse],  # noqa: ARG002
    ) -> messages.BatchRecommendResponse:
        """Not served yet.

        Raises:
            InvalidField: a limit is broken or a required field is missing.
            NotServed: always, for a valid request.
        """
        check(request)
        raise NotServed("BatchRecommend")

    async def _placement(self, request: messages.RecommendRequest, context_rows: Rows, trace: Trace) -> RankedList:
        pipeline, count = self._pipeline, request.page_size or PAGE_SIZE_DEFAULT
        match request.placement:
            case messages.PLACEMENT_RECOMMENDED_FOR_YOU:
                return await pipeline.recommended_for_you(request.user_id, trace, context_rows)
            case messages.PLACEMENT_BUY_IT_AGAIN:
                return await pipeline.buy_it_again(request.user_id, trace, context_rows)
            case messages.PLACEMENT_SIMILAR_ITEMS:
                return pipeline.similar_items(context_rows, count, trace)
            case _:  # the last one that _check_placement lets through
                return pipeline.best_sellers(count, trace, context_rows)

    def _rows(self, item_ids: Sequence[str]) -> tuple[Rows, list[str]]:
        """Rows of the known ids, and the unknown ids, each in order and once."""
        distinct = list(dict.fromkeys(item_ids))
        rows = self._pipeline.release.model.items.vocabulary.rows(distinct)
        return rows[rows >= 0], [distinct[position] for position in np.flatnonzero(rows < 0)]


def registration(servicer: RecommendationServicer) -> Register:
    """What a server needs to offer the service."""

    def register(server: grpc.aio.Server) -> list[str]:
        stubs.add_RecommendationServiceServicer_to_server(servicer, server)
        return [SERVICE_NAME]

    return register


def _refuse_other_tenants(tenant: str) -> None:
    if tenant not in ("", DEFAULT_TENANT):
        raise NotServed("tenant")


def _check_placement(request: messages.RecommendRequest) -> None:
    if request.placement not in SERVED_PLACEMENTS:
        raise NotServed("placement")
    if request.placement == messages.PLACEMENT_SIMILAR_ITEMS and not request.context_item_ids:
        raise InvalidField("context_item_ids", "is required for PLACEMENT_SIMILAR_ITEMS")


def _trace(context: grpc.aio.ServicerContext[Any, Any]) -> Trace:
    remaining = context.time_remaining()
    return Trace(deadline=time.monotonic() + (_NO_DEADLINE_SECONDS if remaining is None else remaining))
