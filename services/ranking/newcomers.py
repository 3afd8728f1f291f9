"""New items into a shopper's own list: who gets one, and what the ranker says of it."""

import numpy as np
from aisle.v1 import recommendation_service_pb2 as messages

from features.vocab import Rows
from services.ranking.ordering import (
    RankedList,
    Selection,
    has_new_items,
    new_of_taste,
    rank,
    requested,
    with_new_items,
)
from services.ranking.pipeline import Pipeline
from services.ranking.selecting import shopper_id
from services.ranking.trace import Trace

PERSONAL = frozenset({messages.PLACEMENT_RECOMMENDED_FOR_YOU, messages.PLACEMENT_CATEGORY})
"""Placements whose lists keep places for new items: those that the ranker fills with what a shopper may not know."""


async def introduce(
    pipeline: Pipeline,
    request: messages.RecommendRequest,
    ranked: RankedList,
    context_rows: Rows,
    selection: Selection,
    trace: Trace,
) -> RankedList:
    """The list with new items of the shopper's taste in the places that are kept for them, each with its score by the
    ranker; the very same where there are none."""
    model = pipeline.release.model
    if request.placement not in PERSONAL or not has_new_items(model):
        return ranked
    now_us, shopper = pipeline.clock.now_us(), await pipeline.shopper(shopper_id(request), trace)
    allowed = selection.without(context_rows).mask_for(shopper, now_us, model.item_count)
    interest = await pipeline.interest(shopper, trace)
    async with pipeline.computing(trace, "ranking"):
        rows = new_of_taste(model, shopper, interest, ranked, allowed)
        if not rows.size:
            return ranked
        together = model.item_to_item.ask(shopper)
        all_items = pipeline.release.rankers.all_items
        scored = rank(model, all_items, shopper, requested(rows), interest, together, now_us)
        return with_new_items(ranked, scored.in_order(_places_of(rows, scored.rows)))


def _places_of(rows: Rows, among: Rows) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where the rows stand among the same ones in another order, int64 [n]."""
    by_row = np.argsort(among)
    return by_row[np.searchsorted(among, rows, sorter=by_row)]
