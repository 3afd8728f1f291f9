"""A release's first requests, made before shoppers make theirs: code is compiled, pages and caches are filled, and a
release that cannot answer is found out while another one still serves.

Knows nothing of when that is done.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aisle.v1 import recommendation_service_pb2 as messages

from features import spec
from services.ranking.answers import House, recommend
from services.ranking.pipeline import Pipeline
from services.ranking.trace import Trace

_SECONDS = 5.0
_EVENT_CODE = spec.EVENT_CODES["purchase"]


async def warm_up(pipeline: Pipeline, house: House) -> None:
    """Recommend once for a shopper nobody knows and once for one with a full history; nothing is counted.

    Raises:
        Exception: whatever a shopper's request would have met.
    """
    busy = replace(pipeline, users=_OneShopper(a_regular(pipeline)))
    for shoppers, user_id in ((pipeline, ""), (busy, "regular")):
        request = messages.RecommendRequest(placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU, user_id=user_id)
        await recommend(shoppers, request, house, Trace(time.monotonic() + _SECONDS), lambda: "warm-up")


def a_regular(pipeline: Pipeline) -> Mapping[str, Any]:
    """The USER_FEATURES of a shopper who has just bought the most popular items, as many as a row holds."""
    model, now_us = pipeline.release.model, pipeline.clock.now_us()
    ids = model.items.vocabulary.names(model.popular_rows[: spec.REPEAT_LENGTH])
    history = ids[: spec.HISTORY_LENGTH]
    row: dict[str, Any] = {feature.name: feature.default for feature in spec.USER_FEATURES}
    return row | {
        "last_event_us": now_us,
        "event_count": len(ids),
        "session_count": 1,
        "distinct_item_count": len(ids),
        "history_item_ids": history,
        "history_event_types": [_EVENT_CODE] * len(history),
        "history_times_us": [now_us] * len(history),
        "repeat_item_ids": ids,
        "repeat_counts": [1.0] * len(ids),
        "repeat_weights": [1.0] * len(ids),
        "repeat_last_us": [now_us] * len(ids),
        "repeat_purchase_us": [now_us] * len(ids),
        "repeat_gap_days": [-1.0] * len(ids),
    }


class _OneShopper:
    """A `Users` that gives everybody the same row."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._row = row

    async def read(self, user_id: str) -> Mapping[str, Any]:  # noqa: ARG002 - the interface's
        """See `Users.read`."""
        return self._row
