"""Text alone: items whose vectors lie near the mean vector of a shopper's last items. Nothing is fitted."""

import numpy as np

from features.encode import Floats
from training.baselines.histories import Histories
from training.dataset import Sequences
from training.metrics import Doubles


class ZeroShot:
    """Dot product with the mean vector of the last different items; the cosine, up to a factor, of unit vectors."""

    def __init__(self, sequences: Sequences, vectors: Floats, last: int = 10) -> None:
        """Keep the vectors.

        Args:
            sequences: The shoppers' events.
            vectors: float32 [N, D], one per item row.
            last: How many different items count, at least 1.

        Raises:
            ValueError: if there is not one vector per item.
        """
        if vectors.shape[0] != sequences.item_count:
            raise ValueError(f"vectors: {vectors.shape[0]} for {sequences.item_count} items")
        self._histories = Histories(sequences)
        self._vectors = vectors
        self._last = last

    def scores(self, user_id: str) -> Doubles:
        """Float64 [N]; popularity alone for a shopper without history."""
        rows = self._histories.last_distinct(user_id, self._last)
        if not rows.size:
            return self._histories.popularity.copy()
        scores: Doubles = (self._vectors @ self._vectors[rows].mean(axis=0)).astype(np.float64)
        return scores
