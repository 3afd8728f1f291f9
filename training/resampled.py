"""Several systems' metrics over the same resampled shoppers, so that any two of them can be set against each other.

R resamples, S systems, M metrics.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.metrics import Doubles, Flags, Paired, paired, percentiles, resampled_means
from training.shopper_metrics import Columns


@dataclass(frozen=True, slots=True)
class Resampled:
    """Means of several systems' metrics and their resamples over the same draws of shoppers."""

    systems: list[str]
    metrics: list[str]
    means: Doubles
    """[S, M]; NaN where no shopper has a value."""
    draws: Doubles
    """[R, S, M]."""
    shoppers: int

    @classmethod
    def draw(cls, columns: Mapping[str, Columns], kept: Flags, seed: int) -> "Resampled":
        """Over the kept shoppers."""
        systems, metrics = list(columns), list(next(iter(columns.values()), {}))
        shoppers, size = int(kept.sum()), len(systems) * len(metrics)
        table = np.array([columns[name][metric][kept] for name in systems for metric in metrics])
        table = table.reshape(size, shoppers).T
        if not shoppers or not size:
            blank = np.full((1, len(systems), len(metrics)), np.nan)
            return cls(systems, metrics, blank[0], blank, shoppers)
        known = ~np.isnan(table)
        sums, counts = np.where(known, table, 0.0).sum(axis=0), known.sum(axis=0)
        means = np.divide(sums, counts, out=np.full(size, np.nan), where=counts > 0)
        draws = resampled_means(table, np.random.default_rng(seed))
        shape = (len(systems), len(metrics))
        return cls(systems, metrics, means.reshape(shape), draws.reshape(-1, *shape), shoppers)

    def summary(self, system: str) -> dict[str, Any]:
        """Means and intervals."""
        row = self.systems.index(system)
        found: dict[str, Any] = {}
        for column, metric in enumerate(self.metrics):
            mean = float(self.means[row, column])
            known = not np.isnan(mean)
            found[metric] = mean if known else None
            found[f"{metric}_interval"] = percentiles(self.draws[:, row, column]) if known else None
        return found

    def best(self, metric: str, besides: str) -> str | None:
        """The system with the highest mean, the first of equals; None where nobody else has one."""
        means = self.means[:, self.metrics.index(metric)]
        others = [(-mean, name) for name, mean in zip(self.systems, means, strict=True) if name != besides]
        known = [pair for pair in others if not np.isnan(pair[0])]
        return min(known)[1] if known else None

    def against(self, system: str, baseline: str) -> dict[str, Paired]:
        """Every metric, the system as a, the baseline as b."""
        both = [self.systems.index(system), self.systems.index(baseline)]
        return {
            metric: paired(self.means[both, column], self.draws[:, both, column], self.shoppers)
            for column, metric in enumerate(self.metrics)
        }
