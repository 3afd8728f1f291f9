"""From scores to a list."""

import numpy as np

from features.vocab import Rows
from training.metrics import Doubles


def top(scores: Doubles, k: int, excluded: Rows) -> Rows:
    """Rows of the k best scores without `excluded`, ties by row; fewer where fewer are left."""
    masked = scores.copy()
    masked[excluded] = -np.inf
    least = np.partition(masked, -k)[-k] if k < masked.size else -np.inf
    best = np.flatnonzero((masked >= least) & np.isfinite(masked))
    ordered: Rows = best[np.lexsort((best, -masked[best]))][:k].astype(np.int32)
    return ordered
