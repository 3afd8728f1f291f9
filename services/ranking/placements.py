"""What each placement of a page is made of."""

from aisle.v1 import recommendation_service_pb2 as messages

from features.vocab import Rows
from services.common.errors import InvalidField, NotServed
from services.ranking.ordering import (
    RankedList,
    Selection,
    bought_together,
    others_you_may_like,
    popular,
    similar,
    trending,
)
from services.ranking.pipeline import Pipeline
from services.ranking.selecting import shopper_id
from services.ranking.trace import Trace

SERVED_PLACEMENTS = frozenset(messages.Placement.values()) - {
    messages.PLACEMENT_UNSPECIFIED,
    messages.PLACEMENT_SEARCH_RERANK,
}
"""Placements that Recommend fills; SEARCH_RERANK is for Rank."""

_OF_CONTEXT = {
    messages.PLACEMENT_SIMILAR_ITEMS: similar,
    messages.PLACEMENT_OTHERS_YOU_MAY_LIKE: others_you_may_like,
    messages.PLACEMENT_FREQUENTLY_BOUGHT_TOGETHER: bought_together,
}
_OF_ALL = {messages.PLACEMENT_BEST_SELLERS: popular, messages.PLACEMENT_TRENDING: trending}


def check_placement(request: messages.RecommendRequest) -> None:
    """Check that the placement is served and has what it needs.

    Raises:
        NotServed: this version does not fill it.
        InvalidField: naming what it needs beside.
    """
    placement = request.placement
    if placement not in SERVED_PLACEMENTS:
        raise NotServed("placement")
    if placement in _OF_CONTEXT and not request.context_item_ids:
        raise InvalidField("context_item_ids", f"is required for {messages.Placement.Name(placement)}")
    if placement == messages.PLACEMENT_CATEGORY and not request.filter.include_categories:
        raise InvalidField("filter.include_categories", "is required for PLACEMENT_CATEGORY")


async def fill_placement(
    pipeline: Pipeline,
    request: messages.RecommendRequest,
    context_rows: Rows,
    count: int,
    selection: Selection,
    trace: Trace,
) -> RankedList:
    """The list of a placement that `check_placement` let through; it may be longer than `count`."""
    placement, user_id = request.placement, shopper_id(request)
    if placement in _OF_CONTEXT:
        return await pipeline.of_context(_OF_CONTEXT[placement], user_id, context_rows, count, trace, selection)
    if placement in _OF_ALL:
        return await pipeline.of_all(_OF_ALL[placement], user_id, count, trace, selection, context_rows)
    if placement == messages.PLACEMENT_BUY_IT_AGAIN:
        return await pipeline.buy_it_again(user_id, trace, selection, context_rows)
    if placement == messages.PLACEMENT_RECENTLY_VIEWED:
        return await pipeline.recently_viewed(user_id, trace, selection, context_rows)
    return await pipeline.recommended_for_you(user_id, trace, selection, context_rows)
