"""New items into a list: in which placements, for whom, and what the list says of them.

The home page and a category keep places for what is of the shopper's taste, similar items for what is like those that
are looked at.
"""

import numpy as np
from aisle.v1 import recommendation_service_pb2 as messages

from features.vocab import Rows
from services.ranking.ordering import (
    RankedList,
    Selection,
    Source,
    has_new_items,
    new_alike,
    new_of_taste,
    rank,
    requested,
    with_new_items,
)
from services.ranking.pipeline import Pipeline
from services.ranking.selecting import shopper_id
from services.ranking.trace import Trace

PERSONAL = frozenset({messages.PLACEMENT_RECOMMENDED_FOR_YOU, messages.PLACEMENT_CATEGORY})
"""Placements that the ranker fills with what a shopper may not know."""


async def introduce(
    pipeline: Pipeline,
    request: messages.RecommendRequest,
    ranked: RankedList,
    context_rows: Rows,
    selection: Selection,
    trace: Trace,
) -> RankedList:
    """The list with new items in the places that are kept for them; the very same where there are none."""
    if not has_new_items(pipeline.release.model):
        return ranked
    user_id, selection = shopper_id(request), selection.without(context_rows)
    if request.placement == messages.PLACEMENT_SIMILAR_ITEMS:
        new = await _like_context(pipeline, user_id, context_rows, selection, trace)
    elif request.placement in PERSONAL:
        new = await _of_taste(pipeline, user_id, ranked, selection, trace)
    else:
        return ranked
    return with_new_items(ranked, new) if new.rows.size else ranked


async def _like_context(
    pipeline: Pipeline, user_id: str, context_rows: Rows, selection: Selection, trace: Trace
) -> RankedList:
    """New neighbours of what is looked at, most alike first."""
    allowed = await pipeline.allowed(selection, user_id, trace)
    with trace.stage("retrieval"):
        return new_alike(pipeline.release.model, context_rows, allowed)


async def _of_taste(
    pipeline: Pipeline, user_id: str, ranked: RankedList, selection: Selection, trace: Trace
) -> RankedList:
    """New items of the shopper's taste, most alike first, each with its score by the ranker."""
    model, now_us = pipeline.release.model, pipeline.clock.now_us()
    shopper = await pipeline.shopper(user_id, trace)
    allowed = selection.mask_for(shopper, now_us, model.item_count)
    interest = await pipeline.interest(shopper, trace)
    async with pipeline.computing(trace, "ranking"):
        rows = new_of_taste(model, shopper, interest, ranked, allowed)
        if not rows.size:
            return ranked.head(0)
        together = model.item_to_item.ask(shopper)
        all_items = pipeline.release.rankers.all_items
        scored = rank(model, all_items, shopper, requested(rows), interest, together, now_us)
        return scored.in_order(_places_of(rows, scored.rows)).marked(Source.NEW_ITEM)


def _places_of(rows: Rows, among: Rows) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where the rows stand among the same ones in another order, int64 [n]."""
    by_row = np.argsort(among)
    return by_row[np.searchsorted(among, rows, sorter=by_row)]
