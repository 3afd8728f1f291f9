"""Item vectors of any number, made from a seed: around cluster centres, as text vectors lie.

A larger catalogue has more items in each cluster and not more clusters, so that what a search has to tell apart grows
with it.
"""

import numpy as np
from numpy.typing import NDArray

CLUSTERS, WIDTH = 2000, 128

_SPREAD = 0.9
"""Length of an item's own part, its cluster's being 1."""


def clustered_vectors(
    item_count: int, rng: np.random.Generator, centres_seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Vectors and the cluster of each.

    Returns:
        float32 [N, 128] of length one, each number exact in float16, and int32 [N].
    """
    weights = rng.gamma(1.0, 1.0, CLUSTERS)
    clusters = rng.choice(CLUSTERS, item_count, p=weights / weights.sum()).astype(np.int32)
    centres = np.random.default_rng(centres_seed).standard_normal((CLUSTERS, WIDTH)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    own = rng.standard_normal((item_count, WIDTH), dtype=np.float32)
    vectors = centres[clusters] + np.float32(_SPREAD / np.sqrt(WIDTH)) * own
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16).astype(np.float32), clusters
