"""Promotions and exploration into a list: which items each may show, ordered for the shopper."""

from collections.abc import Sequence

import numpy as np
from aisle.v1 import recommendation_service_pb2 as messages

from features.vocab import NO_ROWS, Rows
from services.common.errors import InvalidField
from services.ranking.ordering import (
    Mask,
    OrderingModel,
    Promoted,
    RankedList,
    Selection,
    Source,
    drawn,
    kept,
    mask_without,
    popular,
    wanted,
    with_promotions,
)
from services.ranking.pipeline import Pipeline
from services.ranking.selecting import check_filter, conditions_of, purchased_within_us, shopper_id
from services.ranking.trace import Trace

PROMOTED_ITEMS_MAX = 100
"""Items of one promotion that are ordered for the shopper: its most popular ones."""


def check_promotions(promotions: Sequence[messages.Promotion]) -> None:
    """Check what joins several fields.

    Raises:
        InvalidField: more than all places are given away, or a filter that cannot be.
    """
    total = sum(promotion.promoted_percent for promotion in promotions)
    if total > 100:
        raise InvalidField("promotions", f"promoted_percent must sum to at most 100, sums to {total}")
    for number, promotion in enumerate(promotions):
        check_filter(promotion.filter, f"promotions[{number}].filter")


async def promote(
    pipeline: Pipeline,
    request: messages.RecommendRequest,
    recommendation_id: str,
    ranked: RankedList,
    taken_rows: Rows,
    page_size: int,
    trace: Trace,
) -> RankedList:
    """The list with the request's promotions in it, and its share of items to learn about, drawn for this
    recommendation; neither shows `taken_rows` or what the request's filter excludes."""
    model = pipeline.release.model
    open_to_all = kept(model.facets, conditions_of(model.items.vocabulary, request.filter)[0])
    allowed = mask_without(open_to_all, taken_rows, model.item_count)
    bought_us = purchased_within_us(request.filter)
    promotions = []
    for promotion in request.promotions:
        rows = popular(model, PROMOTED_ITEMS_MAX, allowed & _mask(model, promotion)).rows
        within_us = max(bought_us, purchased_within_us(promotion.filter))
        best = await pipeline.rank(shopper_id(request), rows, trace, Selection(purchased_within_us=within_us))
        promotions.append(Promoted(best, promotion.promoted_percent, promotion.pinned_position))
    if request.exploration_weight:
        bounds = Selection(allowed=allowed, purchased_within_us=bought_us)
        unknown = await pipeline.little_known(shopper_id(request), PROMOTED_ITEMS_MAX, trace, bounds)
        promised = [promotion.ranked.rows for promotion in promotions]
        tried = drawn(unknown, recommendation_id, np.concatenate([NO_ROWS, *promised]))
        promotions.append(Promoted(tried, round(100 * request.exploration_weight), source=Source.EXPLORATION))
    return with_promotions(ranked, promotions, page_size)


def name_promotions(
    model: OrderingModel, request: messages.RecommendRequest, ranked: RankedList, items: Sequence[messages.RankedItem]
) -> None:
    """Fill in `promotion_name` of the items that a promotion has placed, the first that may show them."""
    masks = [_mask(model, promotion) for promotion in request.promotions]
    for place in np.flatnonzero(ranked.sources == Source.PROMOTION).tolist():
        row = ranked.rows[place]
        for promotion, mask in zip(request.promotions, masks, strict=True):
            if mask[row]:
                items[place].promotion_name = promotion.name
                break


def _mask(model: OrderingModel, promotion: messages.Promotion) -> Mask:
    return wanted(model.facets, conditions_of(model.items.vocabulary, promotion.filter)[0])
