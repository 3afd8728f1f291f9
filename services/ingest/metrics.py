"""What became of events, for Prometheus.

Choices: every combination that can occur has its labels from the start, as in the ranking service; a batch is counted
once per combination and not once per event.
"""

from collections import Counter as Tally
from collections.abc import Iterable

from aisle.v1 import event_service_pb2 as messages
from prometheus_client import CollectorRegistry, Counter, Histogram

UNREADABLE = 0
"""The type of an event that could not be read, as of one that names none."""

_SIZE_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class IngestMetrics:
    """Counts events by type and status, and how many come at a time."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers `aisle_events_total` and `aisle_event_batch_size`."""
        events = Counter("aisle_events_total", "Events, by what became of them.", ["type", "status"], registry=registry)
        self._events = {
            (kind, status): events.labels(
                kind_name.removeprefix("EVENT_TYPE_"), status_name.removeprefix("EVENT_STATUS_")
            )
            for kind_name, kind in messages.EventType.items()
            for status_name, status in messages.EventStatus.items()
            if status
        }
        self._sizes = Histogram(
            "aisle_event_batch_size", "Events of a WriteEvents.", buckets=_SIZE_BUCKETS, registry=registry
        )

    def count(self, outcomes: Iterable[tuple[int, int]]) -> None:
        """Add a batch: type and status of each event. A type that this version does not know counts as none."""
        tally = Tally(outcomes)
        self._sizes.observe(tally.total())
        for (kind, status), count in tally.items():
            self._events[kind if (kind, status) in self._events else UNREADABLE, status].inc(count)
