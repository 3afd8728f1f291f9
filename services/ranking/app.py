"""The RecommendationService: parse, call the pipeline, answer. Errors become statuses in services.common.errors."""

import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc.aio
import numpy as np
from aisle.v1 import recommendation_service_pb2 as messages
from aisle.v1 import recommendation_service_pb2_grpc as stubs

from features.vocab import Rows
from services.common.errors import InvalidField, NotServed
from services.common.limits import DEFAULT_TENANT, PAGE_SIZE_DEFAULT
from services.common.server import Register
from services.common.validation import check, refuse_unserved
from services.ranking.batches import parts_of
from services.ranking.metrics import RankingMetrics
from services.ranking.once import ScorerOnce, UsersOnce
from services.ranking.ordering import NO_ROWS, RankedList, popular
from services.ranking.pages import continued, page_token
from services.ranking.pipeline import EVERYTHING, Pipeline, Trace
from services.ranking.placements import check_placement, fill_placement
from services.ranking.replies import rank_response, recommend_response
from services.ranking.selecting import Selected, check_filter, known_rows, select

SERVICE_NAME: str = messages.DESCRIPTOR.services_by_name["RecommendationService"].full_name

UNSERVED_RECOMMEND = (
    "diversity_level",
    "price_rerank_level",
    "promotions",
    "exploration_weight",
    "experiment_overrides",
    "explain",
)
UNSERVED_RANK = (
    "context_item_ids",
    "diversity_level",
    "price_rerank_level",
    "experiment_overrides",
    "explain",
)
"""Fields that this version refuses rather than ignores."""

_NO_DEADLINE_SECONDS = 5.0


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
        self._check(request, "")
        if request.validate_only:
            return messages.RecommendResponse(bundle_version=self._pipeline.release.version)
        reply, _ = await self._answer(self._pipeline, request, _deadline(context), NO_ROWS)
        return reply

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
        check_filter(request.filter, "filter")
        if request.validate_only:
            return messages.RankResponse(bundle_version=self._pipeline.release.version)
        trace = Trace(_deadline(context))
        items, facets = self._pipeline.release.model.items, self._pipeline.release.model.facets
        with trace.stage("total"):
            rows, missing = known_rows(items.vocabulary, request.item_ids)
            selection = EVERYTHING
            if request.HasField("filter"):
                selection = select(facets, items.vocabulary, request.filter).selection
            ranked = await self._pipeline.rank(request.user_id, rows, trace, selection)
        self._metrics.count(trace)
        return rank_response(self._pipeline.release, ranked, missing, self._new_id(), trace)

    async def BatchRecommend(  # noqa: N802 - the rpc's name
        self,
        request: messages.BatchRecommendRequest,
        context: grpc.aio.ServicerContext[messages.BatchRecommendRequest, messages.BatchRecommendResponse],
    ) -> messages.BatchRecommendResponse:
        """Several placements of one page; an item that two want goes to the earlier one.

        Raises:
            InvalidField: a limit is broken, a required field is missing, or a part is about another shopper.
            NotServed: a field, placement or tenant that this version does not serve.
        """
        check(request)
        parts, version = parts_of(request), self._pipeline.release.version
        for position, part in enumerate(parts):
            self._check(part, f"requests[{position}].")
        if request.validate_only:
            empty = messages.RecommendResponse(bundle_version=version)
            return messages.BatchRecommendResponse(responses=[empty] * len(parts))
        pipeline = replace(
            self._pipeline, users=UsersOnce(self._pipeline.users), scorer=ScorerOnce(self._pipeline.scorer)
        )
        deadline, taken, replies = _deadline(context), NO_ROWS, []
        for part in parts:
            reply, rows = await self._answer(pipeline, part, deadline, taken)
            replies.append(reply)
            taken = np.concatenate([taken, rows])
        return messages.BatchRecommendResponse(responses=replies)

    def _check(self, request: messages.RecommendRequest, prefix: str) -> None:
        """What `check` does not know of; fields are named behind `prefix`."""
        try:
            _refuse_other_tenants(request.tenant)
            refuse_unserved(request, UNSERVED_RECOMMEND)
            check_placement(request)
            check_filter(request.filter, "filter")
            if request.page_token:
                continued(self._pipeline.release.model, request)
        except (InvalidField, NotServed) as error:
            error.move_below(prefix)
            raise

    async def _answer(
        self, pipeline: Pipeline, request: messages.RecommendRequest, deadline: float, taken_rows: Rows
    ) -> tuple[messages.RecommendResponse, Rows]:
        """The reply to a request that has been checked, and the rows in it; `taken_rows` are on the page already."""
        trace, model = Trace(deadline), pipeline.release.model
        with trace.stage("total"):
            context_rows, missing = known_rows(model.items.vocabulary, request.context_item_ids)
            selected = select(model.facets, model.items.vocabulary, request.filter).without(taken_rows)
            if request.page_token:
                going_on = continued(model, request)
                recommendation_id, ranked = going_on.recommendation_id, going_on.ranked.without(taken_rows)
            else:
                recommendation_id = self._new_id()
                ranked = await _whole_list(pipeline, request, context_rows, selected, trace)
            count = request.page_size or PAGE_SIZE_DEFAULT
            page, token = ranked.head(count), page_token(model, request, recommendation_id, ranked.tail(count))
        self._metrics.count(trace)
        missing += [item_id for item_id in selected.missing_ids if item_id not in missing]
        reply = recommend_response(pipeline.release, page, missing, recommendation_id, trace)
        reply.next_page_token = token
        return reply, page.rows


async def _whole_list(
    pipeline: Pipeline, request: messages.RecommendRequest, context_rows: Rows, selected: Selected, trace: Trace
) -> RankedList:
    """All pages of a placement; if the filter leaves it short and may be widened, popular items fill it up."""
    count = pipeline.release.limits.total
    ranked = await fill_placement(pipeline, request, context_rows, count, selected.selection, trace)
    if selected.fill is None or ranked.rows.size >= count:
        return ranked
    there = np.concatenate([context_rows, ranked.rows])
    more = await pipeline.of_all(popular, request.user_id, count - ranked.rows.size, trace, selected.fill, there)
    return ranked.filled_with(more)


def registration(servicer: RecommendationServicer) -> Register:
    """What a server needs to offer the service."""

    def register(server: grpc.aio.Server) -> list[str]:
        stubs.add_RecommendationServiceServicer_to_server(servicer, server)
        return [SERVICE_NAME]

    return register


def _refuse_other_tenants(tenant: str) -> None:
    if tenant not in ("", DEFAULT_TENANT):
        raise NotServed("tenant")


def _deadline(context: grpc.aio.ServicerContext[Any, Any]) -> float:
    """Monotonic seconds at which the caller stops waiting."""
    remaining = context.time_remaining()
    return time.monotonic() + (_NO_DEADLINE_SECONDS if remaining is None else remaining)
