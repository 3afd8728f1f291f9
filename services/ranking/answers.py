"""From a request that has been checked to its reply: one list, chosen, paged and explained."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from aisle.v1 import recommendation_service_pb2 as messages

from features.clock import Clock
from features.vocab import Rows
from services.common.limits import PAGE_SIZE_DEFAULT
from services.ranking.experiments import Experiment, assigned
from services.ranking.newcomers import introduce
from services.ranking.once import ScorerOnce, UsersOnce
from services.ranking.ordering import EVERYTHING, NO_ROWS, RankedList, popular
from services.ranking.pages import continued, page_token
from services.ranking.pipeline import Pipeline
from services.ranking.placements import fill_placement
from services.ranking.promoting import name_promotions, promote
from services.ranking.replies import add_explanations, rank_response, recommend_response, tell_degradations
from services.ranking.selecting import Selected, known_rows, select, shopper_id
from services.ranking.shaping import Taste, shaped
from services.ranking.trace import Trace, tally

NewId = Callable[[], str]
"""Makes recommendation ids."""


@dataclass(frozen=True, slots=True)
class House:
    """What holds for every request of the shop."""

    taste: Taste = field(default_factory=Taste)
    experiments: tuple[Experiment, ...] = ()


def for_one_shopper(pipeline: Pipeline, visitor_id: str) -> Pipeline:
    """The same pipeline for several questions about one shopper at one instant, known or as a visitor, whose row and
    interests are asked for once."""
    users, scorer = UsersOnce(pipeline.users, visitor_id), ScorerOnce(pipeline.scorer)
    return replace(pipeline, users=users, scorer=scorer, clock=Clock(pipeline.clock.now_us(), lambda: 0))


async def recommend(
    pipeline: Pipeline,
    request: messages.RecommendRequest,
    house: House,
    trace: Trace,
    new_id: NewId,
    taken_rows: Rows = NO_ROWS,
) -> tuple[messages.RecommendResponse, Rows]:
    """The reply, and the rows in it; `taken_rows` are on the page already."""
    model, pipeline = pipeline.release.model, for_one_shopper(pipeline, request.visitor_id)
    taste, experiment_ids = assigned(house.experiments, request, house.taste)
    with trace.stage("total"):
        context_rows, missing = known_rows(model.items.vocabulary, request.context_item_ids)
        pipeline = replace(pipeline, session_rows=context_rows)
        selected = select(model.facets, model.items.vocabulary, request.filter).without(taken_rows)
        count = request.page_size or PAGE_SIZE_DEFAULT
        if request.page_token:
            going_on = continued(model, request)
            recommendation_id, ranked = going_on.recommendation_id, going_on.ranked.without(taken_rows)
        else:
            recommendation_id = new_id()
            ranked = await _whole_list(pipeline, request, context_rows, selected, trace)
            ranked = await shaped(pipeline, request, ranked, taste, trace)
            ranked = await introduce(pipeline, request, ranked, context_rows, selected.selection, trace)
            if request.promotions or request.exploration_weight:
                there = np.concatenate([context_rows, taken_rows])
                ranked = await promote(pipeline, request, recommendation_id, ranked, there, count, trace)
            tally(trace.candidates, ranked.sources)
        page, token = ranked.head(count), page_token(model, request, recommendation_id, ranked.tail(count))
        trace.recommendation_id = recommendation_id
        tally(trace.shown, page.sources)
        missing += [item_id for item_id in selected.missing_ids if item_id not in missing]
        reply = recommend_response(pipeline.release, page, missing, recommendation_id, trace)
        reply.next_page_token = token
        name_promotions(model, request, page, reply.results)
        if request.explain:
            await _explain(pipeline, shopper_id(request), page, reply.results, trace)
            tell_degradations(reply, trace)  # on a later page nobody has been asked before
    reply.experiment_ids.extend(experiment_ids)
    reply.stage_timings_ms.update(trace.timings_ms)
    return reply, page.rows


async def rank(
    pipeline: Pipeline, request: messages.RankRequest, house: House, trace: Trace, new_id: NewId
) -> messages.RankResponse:
    """The given items that pass the filter, in order; those the catalogue lacks come last."""
    model, pipeline = pipeline.release.model, for_one_shopper(pipeline, request.visitor_id)
    taste, experiment_ids = assigned(house.experiments, request, house.taste)
    with trace.stage("total"):
        rows, missing = known_rows(model.items.vocabulary, request.item_ids, model.facets.gone)
        context_rows, missing_context = known_rows(model.items.vocabulary, request.context_item_ids)
        pipeline = replace(pipeline, session_rows=context_rows)
        selection = EVERYTHING
        if request.HasField("filter"):
            selection = select(model.facets, model.items.vocabulary, request.filter).selection
        ranked = await pipeline.rank(shopper_id(request), rows, trace, selection)
        ranked = await shaped(pipeline, request, ranked, taste, trace)
        trace.recommendation_id = new_id()
        for counts in (trace.candidates, trace.shown):
            tally(counts, ranked.sources)
        reply = rank_response(pipeline.release, ranked, missing, trace.recommendation_id, trace)
        reply.missing_ids.extend(item_id for item_id in missing_context if item_id not in missing)
        if request.explain:
            known = reply.results[: ranked.rows.size]
            await _explain(pipeline, shopper_id(request), ranked, known, trace)
            tell_degradations(reply, trace)
    reply.experiment_ids.extend(experiment_ids)
    reply.stage_timings_ms.update(trace.timings_ms)
    return reply


async def _whole_list(
    pipeline: Pipeline, request: messages.RecommendRequest, context_rows: Rows, selected: Selected, trace: Trace
) -> RankedList:
    """All pages of a placement; if the filter leaves it short and may be widened, popular items fill it up."""
    count = pipeline.release.limits.total
    ranked = await fill_placement(pipeline, request, context_rows, count, selected.selection, trace)
    if selected.fill is None or ranked.rows.size >= count:
        return ranked
    there = np.concatenate([context_rows, ranked.rows])
    more = await pipeline.of_all(popular, shopper_id(request), count - ranked.rows.size, trace, selected.fill, there)
    return ranked.filled_with(more)


async def _explain(
    pipeline: Pipeline, user_id: str, ranked: RankedList, items: Iterable[messages.RankedItem], trace: Trace
) -> None:
    """Explain the items that the ranker has placed: where it had no say, interest had none either."""
    rows = ranked.rows[~np.isnan(ranked.interest)]
    explained = await pipeline.explain(user_id, rows, trace) if rows.size else None
    add_explanations(pipeline.release, items, rows, explained)
