"""EASE: a linear auto-encoder whose item-to-item weights have a closed form (Steck 2019, arXiv:1905.03375).

With X [U, M] of who engaged with which of the M most engaged items and P = (XᵀX + λI)⁻¹, the weights are
B = I - P diag(1 / diag P), its diagonal 0, and a shopper's scores x B. Where shoppers are fewer than items, the U x U
side gives the same scores for less work: XP = (XXᵀ + λI)⁻¹X.

U shoppers, N items, M of them modelled. Memory: float32, about 2 min(U, M) M.
"""

import numpy as np
from scipy import linalg, sparse

from features.encode import Floats
from services.ranking.ordering import NO_ROWS
from training.baselines.histories import Histories, engaged
from training.baselines.lists import top
from training.dataset import Sequences
from training.metrics import Doubles


class Ease:
    """Scores of the modelled items from what a shopper engaged with; the rest lie at 0, ordered by popularity."""

    def __init__(self, sequences: Sequences, max_items: int, l2: float) -> None:
        """Solve.

        Args:
            sequences: The events; who engaged with what, however often.
            max_items: The most items that are modelled, the ones with most event weight.
            l2: λ, above 0.
        """
        self._histories = Histories(sequences)
        known = int((sequences.counts > 0).sum())
        self._rows = np.sort(top(sequences.counts, min(max_items, known), NO_ROWS)) if known else NO_ROWS
        self._engaged = engaged(sequences)[:, self._rows]
        shoppers, items = self._engaged.shape
        self._by_shopper = shoppers < items
        self._solution = _all_scores(self._engaged, l2) if self._by_shopper else _weights(self._engaged, l2)

    def scores(self, user_id: str) -> Doubles:
        """Float64 [N]; popularity alone for a shopper without history."""
        events = self._histories.events(user_id)
        if events.stop == events.start:
            return self._histories.popularity.copy()
        user = self._histories.user_of[user_id]
        modelled = self._solution[user] if self._by_shopper else self._solution[self._engaged[user].indices].sum(axis=0)
        scores = self._histories.fill.copy()
        scores[self._rows] = modelled
        return scores


def _weights(x: sparse.csr_matrix, l2: float) -> Floats:
    """B, float32 [M, M], from an item of the history (row) to the item scored (column)."""
    gram = (x.T @ x).toarray()
    gram[np.diag_indices_from(gram)] += np.float32(l2)
    weights: Floats = linalg.inv(gram, overwrite_a=True, assume_a="pos", check_finite=False)
    weights /= -np.diag(weights).copy()
    np.fill_diagonal(weights, 0.0)
    return weights


def _all_scores(x: sparse.csr_matrix, l2: float) -> Floats:
    """XB, float32 [U, M], for fewer shoppers than items."""
    gram = (x @ x.T).toarray()
    gram[np.diag_indices_from(gram)] += np.float32(l2)
    xp = linalg.solve(gram, x.toarray(), overwrite_a=True, overwrite_b=True, assume_a="pos", check_finite=False)
    diagonal = (1.0 - np.asarray(x.multiply(xp).sum(axis=0)).ravel()) / l2
    scores: Floats = x.toarray() - xp / diagonal.astype(np.float32)
    return scores
