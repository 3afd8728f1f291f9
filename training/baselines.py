"""What a system without a model would show, ranked over the whole catalogue. Measured in the same run as the model.

U shoppers, N items.
"""

from datetime import datetime

import numpy as np
import polars as pl

from features.schema import Dataset
from features.transforms import known_events
from features.vocab import Rows, Vocabulary
from training.metrics import Doubles

HALF_LIFE_DAYS = 84.0
"""Recency-weighted frequency halves an event's weight in twelve weeks."""


class Popularity:
    """Items by event weight before `as_of`, the same list for everybody."""

    def __init__(self, data: Dataset, vocabulary: Vocabulary, as_of: datetime) -> None:
        """Count once."""
        known = known_events(data.events, as_of)
        rows = vocabulary.rows(known["item_id"].to_list())
        kept = rows >= 0
        weights = known["weight"].to_numpy()[kept]
        self.weights: Doubles = np.bincount(rows[kept], weights, len(vocabulary)).astype(np.float64)

    def scores(self, user_id: str) -> Doubles:  # noqa: ARG002 - one list for everybody
        """Float64 [N]."""
        return self.weights


class RecencyFrequency:
    """A shopper's own items by event weight that halves every HALF_LIFE_DAYS; popularity, far below, orders the
    rest."""

    def __init__(self, data: Dataset, vocabulary: Vocabulary, as_of: datetime) -> None:
        """Weigh every shopper's items once."""
        self._fill = Popularity(data, vocabulary, as_of).weights
        self._fill = self._fill / (1e6 * max(self._fill.max(), 1.0))
        age_days = (pl.lit(as_of) - pl.col("event_time")).dt.total_seconds() / 86_400
        weighted = (
            known_events(data.events, as_of)
            .with_columns(weight=pl.col("weight") * 0.5 ** (age_days / HALF_LIFE_DAYS))
            .group_by("user_id", "item_id")
            .agg(pl.col("weight").sum())
        )
        rows = vocabulary.rows(weighted["item_id"].to_list())
        weighted = weighted.with_columns(row=pl.Series(rows)).filter(pl.col("row") >= 0)
        self._own = {
            user: (np.array(own, dtype=np.int32), np.array(weight))
            for user, own, weight in weighted.group_by("user_id").agg("row", "weight").iter_rows()
        }

    def scores(self, user_id: str) -> Doubles:
        """Float64 [N]."""
        scores = self._fill.copy()
        if user_id in self._own:
            rows, weights = self._own[user_id]
            scores[rows] += weights
        return scores


def top(scores: Doubles, k: int, excluded: Rows) -> Rows:
    """Rows of the k best scores without `excluded`, ties by row."""
    masked = scores.copy()
    masked[excluded] = -np.inf
    least = np.partition(masked, -k)[-k] if k < masked.size else -np.inf
    best = np.flatnonzero((masked >= least) & np.isfinite(masked))
    ordered: Rows = best[np.lexsort((best, -masked[best]))][:k].astype(np.int32)
    return ordered
