"""What the pipeline did and what it serves, for Prometheus.

Choices: what every answer counts has its labels from the start, so that a counter can be told from one that is missing
and none is looked up while a shopper waits; what is true without any call is asked for when it is scraped.
"""

from collections.abc import Callable, Iterator
from functools import cache

from aisle.v1 import recommendation_service_pb2 as messages
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from features.clock import to_us
from services.common.telemetry import LATENCY_BUCKETS
from services.ranking.calls import BATCH_RECOMMEND, RANK, Call
from services.ranking.ordering import Source
from services.ranking.pipeline import Pipeline
from services.ranking.trace import STAGES, Degradation, Trace

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0
_AGE_BUCKETS = (_MINUTE, 10 * _MINUTE, _HOUR, 6 * _HOUR, _DAY, 3 * _DAY, 7 * _DAY, 14 * _DAY, 30 * _DAY)
_SIZE_BUCKETS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500)


class RankingMetrics:
    """Counts answers: what they were made of, had to do without, and the time of every stage."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers `aisle_degradations_total`, `aisle_stage_seconds`, `aisle_candidates_total`,
        `aisle_recommended_items_total`, `aisle_user_feature_age_seconds` and `aisle_batch_size`."""
        degradations = Counter(
            "aisle_degradations_total", "Replies that had to do without something.", ["degradation"], registry=registry
        )
        stages = Histogram(
            "aisle_stage_seconds",
            "Time per stage of the pipeline.",
            ["stage"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        candidates = Counter(
            "aisle_candidates_total", "Items of whole lists, by who proposed them.", ["source"], registry=registry
        )
        shown = Counter(
            "aisle_recommended_items_total", "Items in replies, by who proposed them.", ["source"], registry=registry
        )
        sizes = Histogram(
            "aisle_batch_size",
            "Lists of a BatchRecommend, items of a Rank.",
            ["method"],
            buckets=_SIZE_BUCKETS,
            registry=registry,
        )
        self._user_feature_age = Histogram(
            "aisle_user_feature_age_seconds",
            "Age of the shopper's row, on the serving clock.",
            buckets=_AGE_BUCKETS,
            registry=registry,
        )
        self._degradation = {step: degradations.labels(step.name) for step in Degradation}
        self._stage = cache(stages.labels)
        for stage in STAGES:
            self._stage(stage)
        self._candidates = {int(source): candidates.labels(source.name) for source in Source}
        self._shown = {int(source): shown.labels(source.name) for source in Source}
        self._size = {method: sizes.labels(method) for method in (RANK, BATCH_RECOMMEND)}

    def observe(self, call: Call) -> None:
        """Add a call, if it was answered."""
        if call.failure:
            return
        for request, trace in call.parts:
            self.count(trace)
            if isinstance(request, messages.RankRequest):
                self._size[RANK].observe(len(request.item_ids))
        if call.method == BATCH_RECOMMEND:
            self._size[BATCH_RECOMMEND].observe(len(call.parts))

    def count(self, trace: Trace) -> None:
        """Add one answer."""
        for degradation in trace.degradations:
            self._degradation[degradation].inc()
        for stage, milliseconds in trace.timings_ms.items():
            self._stage(stage).observe(milliseconds / 1000.0)
        for source, count in trace.candidates.items():
            self._candidates[source].inc(count)
        for source, count in trace.shown.items():
            self._shown[source].inc(count)
        if trace.user_features_age_seconds is not None:
            self._user_feature_age.observe(max(trace.user_features_age_seconds, 0.0))


class ServingCollector(Collector):
    """`aisle_bundle_info` and `aisle_feature_age_seconds` of what serves at the moment of the scrape."""

    def __init__(self, serving: Callable[[], Pipeline]) -> None:
        """Args: serving: the pipeline that serves now."""
        self._serving = serving

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The two gauges."""
        pipeline = self._serving()
        info = GaugeMetricFamily("aisle_bundle_info", "The bundle that serves.", labels=["version"])
        info.add_metric([pipeline.release.version], 1.0)
        yield info
        age_us = pipeline.clock.now_us() - to_us(pipeline.release.as_of)
        yield GaugeMetricFamily(
            "aisle_feature_age_seconds", "Age of the bundle's features, on the serving clock.", value=age_us / 1e6
        )
