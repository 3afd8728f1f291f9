"""The log of slow requests: enough of each to find out why, nothing of whom it was for.

Choices: one line a second at most, which says how many it stands for: where everything is slow, the log must not make
it slower. A filter is told by its shape, how many conditions of each kind, since values can tell what a shopper is
like.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from aisle.v1 import recommendation_service_pb2 as messages

from services.ranking.calls import Call, Part
from services.ranking.ordering import Source

logger = logging.getLogger(__name__)

_LINE_SECONDS = 1.0
"""Between two lines."""


class SlowRequests:
    """Writes a line for calls that took too long, also where the caller did not wait for the answer."""

    def __init__(self, limit_seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        """Write what takes longer than `limit_seconds`; `now` counts seconds."""
        self._limit_seconds = limit_seconds
        self._now = now
        self._next_line = -float("inf")
        self._left_out = 0

    def observe(self, call: Call) -> None:
        """Write a line if the call was slow and the last line was long enough ago."""
        if call.seconds <= self._limit_seconds:
            return
        if self._now() < self._next_line:
            self._left_out += 1
            return
        fields = {"left_out": self._left_out, **described(call)}
        self._next_line, self._left_out = self._now() + _LINE_SECONDS, 0
        logger.warning("slow request", extra=fields)


def described(call: Call) -> Mapping[str, Any]:
    """A call without its shopper, as extras of a log line."""
    return {
        "method": call.method,
        "milliseconds": round(call.seconds * 1000.0, 1),
        "failure": call.failure,
        "lists": [_described(part) for part in call.parts],
    }


def _described(part: Part) -> Mapping[str, Any]:
    request, trace = part
    asked = len(request.item_ids) if isinstance(request, messages.RankRequest) else request.page_size
    return {
        "placement": messages.Placement.Name(request.placement),
        "page_size" if isinstance(request, messages.RecommendRequest) else "items": asked,
        "context_items": len(request.context_item_ids),
        "filter": shape(request.filter),
        "recommendation_id": trace.recommendation_id,
        "bundle_version": trace.bundle_version,
        "stages_ms": {stage: round(spent, 2) for stage, spent in trace.timings_ms.items()},
        "candidates": {Source(source).name: count for source, count in trace.candidates.items()},
        "degradations": sorted(degradation.name for degradation in trace.degradations),
    }


def shape(chosen: messages.Filter) -> Mapping[str, int]:
    """How many conditions of each kind a filter has; kinds that it does without are left out."""
    return {field.name: len(value) if field.is_repeated else 1 for field, value in chosen.ListFields()}
