"""What an updater tells Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BATCH_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class UpdaterMetrics:
    """Registers its metrics in a registry of the caller's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Args: registry: holds no metric of these names yet."""
        self.lag = Gauge(
            "aisle_updater_lag_seconds",
            "Age of the oldest event that is not in features yet; 0 when there is none.",
            ["shard"],
            registry=registry,
        )
        self.events = Counter("aisle_updater_events_total", "Entries taken from the streams.", registry=registry)
        self.batch_seconds = Histogram(
            "aisle_updater_batch_seconds",
            "Time from reading a round's entries to its last commit.",
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )
        self.states = Counter(
            "aisle_updater_states_total",
            "Shoppers' states that committed rounds began with, by where they were found: cache or store.",
            ["place"],
            registry=registry,
        )
        self.dead_letters = Counter("aisle_dead_letters_total", "Entries that became dead letters.", registry=registry)
        self._shown: set[int] = set()
        self.owned = Gauge("aisle_updater_shards", "Shards that this updater owns.", registry=registry)

    def show_lags(self, lags: dict[int, float]) -> None:
        """The lag of each owned shard, seconds; 0 for one that is another updater's now."""
        self.owned.set(len(lags))
        for shard in self._shown - lags.keys():
            self.lag.labels(str(shard)).set(0.0)
        for shard, seconds in lags.items():
            self.lag.labels(str(shard)).set(seconds)
        self._shown |= lags.keys()
