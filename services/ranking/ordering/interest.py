"""Interest vectors, what they say about items, and what stands in for them.

Shapes: K interest vectors of one shopper, D vector width, T history events, n items.
"""

from dataclasses import dataclass

import numpy as np

from features.encode import Floats
from features.vectors import Vectors
from features.vocab import Rows

LATEST_ITEMS = 10
"""How many of a shopper's latest events `history_scores` looks at."""


@dataclass(frozen=True, slots=True)
class Interest:
    """A shopper's interest vectors and where they came from."""

    vectors: Floats
    """float32 [K, D], K ≥ 1."""
    is_fallback: bool
    """Whether they are the mean of the history's item vectors rather than the interest tower's answer."""


def fallback_interest(history_vectors: Floats) -> Interest:
    """What stands in when the interest tower does not answer, or has nothing to read: the mean of the history's
    vectors.

    Args:
        history_vectors: float32 [T, D]; an empty history gives one vector of zeros.
    """
    size = max(history_vectors.shape[0], 1)
    mean: Floats = (history_vectors.sum(axis=0, keepdims=True, dtype=np.float64) / size).astype(np.float32)
    return Interest(mean, is_fallback=True)


def history_scores(vectors: Vectors, history_rows: Rows, item_vectors: Floats) -> Floats:
    """Dot product of the mean vector of the latest items with each candidate's, float32 [n]; 0 without a history.

    Args:
        vectors: Of every item, D numbers each.
        history_rows: int32 [T], newest last.
        item_vectors: The candidates', float32 [n, D].
    """
    latest = history_rows[-LATEST_ITEMS:]
    mean = vectors[latest].sum(axis=0, dtype=np.float64) / max(latest.size, 1)
    scores: Floats = item_vectors @ mean.astype(np.float32)
    return scores


def interest_scores(interest: Interest, item_vectors: Floats) -> Floats:
    """Largest dot product over the shopper's interests, float32 [n], for item vectors float32 [n, D]."""
    scores: Floats = (item_vectors @ interest.vectors.T).max(axis=1, initial=-np.inf)
    return scores
