"""Where stage B lets the items begin: vectors in which items that the same shoppers had lie close.

The truncated singular value decomposition of shoppers by items (Cremonesi et al. 2010, RecSys, "PureSVD"), on damped
counts and with small singular values shrunk as a ridge would. A shopper's mean item vector then already
points at what they will have next: what an interest tower takes thousands of steps to find out, in a second.

Shapes: U shoppers, N items, D = VECTOR_SIZE, k factors.
"""

import numpy as np
import scipy.sparse
import torch

from features.encode import Floats
from training.config import VECTOR_SIZE
from training.dataset import Sequences

_SPARE = 16
"""Directions drawn beyond those wanted, so that the last of these are right too."""


def item_factors(sequences: Sequences, shrinkage: float) -> Floats:
    """Item vectors float32 [N, D], of length 1 in the mean over events; zeros for items without any.

    Args:
        sequences: What shoppers did.
        shrinkage: In medians of the singular values: what is well above it stays, what is well below it goes.
    """
    had = _damped_counts(sequences)
    shoppers, items = had.shape
    count = min(VECTOR_SIZE, shoppers - 1, items - 1)
    vectors = np.zeros((sequences.item_count, VECTOR_SIZE), dtype=np.float32)
    if count < 1 or not had.nnz:
        return vectors
    strengths, factors = _decomposed(had, count)
    ridge = (shrinkage * np.median(strengths)) ** 2
    kept = np.square(strengths) / (np.square(strengths) + max(float(ridge), 1e-12))
    vectors[:, :count] = factors * np.sqrt(kept)
    lengths = np.linalg.norm(vectors, axis=1)
    vectors /= max(float(np.sqrt(np.average(lengths**2, weights=sequences.counts))), 1e-12)
    return vectors


def text_map(text_vectors: Floats, vectors: Floats, weights: np.ndarray) -> Floats:
    """The linear map float32 [D, D] that takes text vectors nearest to `vectors` (weighted ridge regression).

    Args:
        text_vectors: float32 [N, D].
        vectors: float32 [N, D].
        weights: float64 [N], how much each item counts.
    """
    weighted = text_vectors.astype(np.float64) * weights[:, None]
    gram = weighted.T @ text_vectors
    gram[np.diag_indices_from(gram)] += 1e-3 * np.trace(gram) / len(gram)
    found: Floats = np.linalg.solve(gram, weighted.T @ vectors).T.astype(np.float32)
    return found


def _decomposed(had: scipy.sparse.csr_matrix, count: int) -> tuple[Floats, Floats]:
    """The largest singular values, float32 [k], and their right vectors, float32 [N, k], from torch's seeded generator
    (Halko et al. 2011; ARPACK keeps a state of its own and gives other vectors on every call)."""
    places, values = torch.from_numpy(np.stack(had.nonzero())), torch.from_numpy(had.data)
    sparse = torch.sparse_coo_tensor(places, values, had.shape, check_invariants=True).coalesce()
    _, strengths, factors = torch.svd_lowrank(sparse, q=min(count + _SPARE, *had.shape), niter=4)
    return strengths[:count].numpy(), factors[:, :count].numpy()


def _damped_counts(sequences: Sequences) -> scipy.sparse.csr_matrix:
    """ln(1 + event weight) of shoppers by items, float32 [U, N]."""
    shopper = np.repeat(np.arange(len(sequences.user_ids)), np.diff(sequences.starts))
    shape = (len(sequences.user_ids), sequences.item_count)
    had = scipy.sparse.csr_matrix((sequences.weights, (shopper, sequences.rows)), shape=shape, dtype=np.float32)
    had.data = np.log1p(had.data)
    return had
