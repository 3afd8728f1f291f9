"""What the pipeline did, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from services.common.telemetry import LATENCY_BUCKETS
from services.ranking.trace import Trace


class RankingMetrics:
    """Counts answers by what they had to do without, and the time of every stage."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers `aisle_degradations_total` and `aisle_stage_seconds`."""
        self._degradations = Counter(
            "aisle_degradations_total", "Replies that had to do without something.", ["degradation"], registry=registry
        )
        self._stages = Histogram(
            "aisle_stage_seconds",
            "Time per stage of the pipeline.",
            ["stage"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )

    def count(self, trace: Trace) -> None:
        """Add one answer."""
        for degradation in trace.degradations:
            self._degradations.labels(degradation.name).inc()
        for stage, milliseconds in trace.timings_ms.items():
            self._stages.labels(stage).observe(milliseconds / 1000.0)
