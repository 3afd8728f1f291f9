"""What happens to the catalogue, for Prometheus."""

from collections.abc import Iterable
from functools import partial

from aisle.v1 import catalog_service_pb2 as messages
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.common.telemetry import LATENCY_BUCKETS
from services.ingest.catalog.serving import Serving

_PREFIX = "ITEM_STATUS_"


class CatalogMetrics:
    """Counts what became of items, and times the text tower."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers `aisle_catalogue_changes_total` and `aisle_text_vectors_seconds`."""
        changes = Counter(
            "aisle_catalogue_changes_total", "Items of catalogue requests.", ["status"], registry=registry
        )
        statuses = messages.ItemStatus.DESCRIPTOR.values_by_number.items()
        self._changes = {
            number: changes.labels(value.name.removeprefix(_PREFIX)) for number, value in statuses if number
        }
        self.text_vectors_seconds = Histogram(
            "aisle_text_vectors_seconds",
            "Time until the text tower answered, or did not.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )

    def count(self, results: Iterable[messages.ItemResult]) -> None:
        """Add the results of one request."""
        for result in results:
            self._changes[result.status].inc()


def export_lacking(registry: CollectorRegistry, serving: Serving) -> None:
    """`aisle_items_without_vector`: live items that the serving bundle can be asked about only by their columns."""
    gauge = Gauge("aisle_items_without_vector", "Live items whose text is not encoded yet.", registry=registry)
    gauge.set_function(partial(_lacking, serving))


def _lacking(serving: Serving) -> float:
    return float(len(serving.lacking(serving.current.version)))
