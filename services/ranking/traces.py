"""What is added to the span of a call: what it was about and the stages of its lists. Never whom it was for."""

from collections.abc import Sequence

from aisle.v1 import recommendation_service_pb2 as messages

from services.common.tracing import CURRENT, Attribute
from services.ranking.calls import Call


class TracedCalls:
    """Adds to the span of each call that is traced."""

    def observe(self, call: Call) -> None:
        """Describe the call and add a span for every time one of its lists was in a stage."""
        span = CURRENT.get()
        if span is None or not call.parts:
            return
        placements = [messages.Placement.Name(part.request.placement) for part in call.parts]
        traces = [part.trace for part in call.parts]
        span.describe(
            {
                "aisle.placement": _one_or_all(placements),
                "aisle.recommendation_id": _one_or_all([trace.recommendation_id for trace in traces]),
                "aisle.bundle_version": traces[0].bundle_version,
                "aisle.degradations": sorted({step.name for trace in traces for step in trace.degradations}),
            }
        )
        for number, trace in enumerate(traces):
            for step in trace.steps:
                span.step(step.stage, step.started, step.ended, {"aisle.list": number})


def _one_or_all(values: Sequence[str]) -> Attribute:
    """The value of a call for one list; a batch's are a list of their own."""
    return values[0] if len(values) == 1 else values
