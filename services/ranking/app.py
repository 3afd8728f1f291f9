"""The RecommendationService: parse, call the pipeline, answer. Errors become statuses in services.common.errors."""

import time
import uuid
from collections.abc import Callable
from typing import Any

import grpc.aio
import numpy as np
from aisle.v1 import recommendation_service_pb2 as messages
from aisle.v1 import recommendation_service_pb2_grpc as stubs

from services.common.errors import InvalidField, NotServed
from services.common.limits import DEFAULT_TENANT
from services.common.server import Register
from services.common.validation import check
from services.ranking.answers import House, for_one_shopper, rank, recommend
from services.ranking.batches import parts_of
from services.ranking.calls import BATCH_RECOMMEND, RANK, RECOMMEND, Observer, observed
from services.ranking.experiments import check_overrides
from services.ranking.ordering import NO_ROWS
from services.ranking.pages import continued
from services.ranking.pipeline import Pipeline
from services.ranking.placements import check_placement
from services.ranking.promoting import check_promotions
from services.ranking.selecting import check_filter
from services.ranking.trace import Trace

SERVICE_NAME: str = messages.DESCRIPTOR.services_by_name["RecommendationService"].full_name

_NO_DEADLINE_SECONDS = 5.0


class RecommendationServicer(stubs.RecommendationServiceServicer):
    """Answers each request from the pipeline that serves when it arrives."""

    def __init__(
        self,
        serving: Callable[[], Pipeline],
        observer: Observer,
        house: House,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        """Serve what `serving` says.

        Args:
            serving: The pipeline over the release that serves now; taken once per request.
            observer: Is told of each.
            house: What lists are like where a request does not say.
            new_id: Makes recommendation ids.
        """
        self._house = house
        self._serving = serving
        self._observer = observer
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
        pipeline = self._serving()
        check(request)
        self._check(pipeline, request, "")
        if request.validate_only:
            return messages.RecommendResponse(bundle_version=pipeline.release.version)
        with observed(self._observer, RECOMMEND) as call:
            trace = call.begin(request, Trace(_deadline(context), pipeline.release.version))
            reply, _ = await recommend(pipeline, request, self._house, trace, self._new_id)
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
        pipeline = self._serving()
        check(request)
        _refuse_other_tenants(request.tenant)
        check_filter(request.filter, "filter")
        check_overrides(self._house.experiments, request.experiment_overrides)
        if request.validate_only:
            return messages.RankResponse(bundle_version=pipeline.release.version)
        with observed(self._observer, RANK) as call:
            trace = call.begin(request, Trace(_deadline(context), pipeline.release.version))
            return await rank(pipeline, request, self._house, trace, self._new_id)

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
        serving = self._serving()
        check(request)
        parts, version = parts_of(request), serving.release.version
        for position, part in enumerate(parts):
            self._check(serving, part, f"requests[{position}].")
        if request.validate_only:
            empty = messages.RecommendResponse(bundle_version=version)
            return messages.BatchRecommendResponse(responses=[empty] * len(parts))
        pipeline, deadline = for_one_shopper(serving, request.visitor_id), _deadline(context)
        taken, replies = NO_ROWS, []
        with observed(self._observer, BATCH_RECOMMEND) as call:
            for part in parts:
                trace = call.begin(part, Trace(deadline, version))
                reply, rows = await recommend(pipeline, part, self._house, trace, self._new_id, taken)
                replies.append(reply)
                taken = np.concatenate([taken, rows])
        return messages.BatchRecommendResponse(responses=replies)

    def _check(self, pipeline: Pipeline, request: messages.RecommendRequest, prefix: str) -> None:
        """What `check` does not know of; fields are named behind `prefix`."""
        try:
            _refuse_other_tenants(request.tenant)
            check_placement(request)
            check_filter(request.filter, "filter")
            check_promotions(request.promotions)
            check_overrides(self._house.experiments, request.experiment_overrides)
            if request.page_token:
                continued(pipeline.release.model, request)
        except (InvalidField, NotServed) as error:
            error.move_below(prefix)
            raise


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
