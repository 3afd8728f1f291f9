"""Matrix factorisation by `implicit`: ALS (Hu, Koren & Volinsky 2008) and BPR (Rendle et al. 2009).

Choices: who engaged with what counts once; `implicit` draws its starting point from the seed. On one thread the same
seed gives the same factors; BPR on several does not, as its threads write over each other. BLAS is held to one thread
meanwhile, as `implicit` asks.

U shoppers, N items, F factors. The only file that imports implicit.
"""

from typing import Any

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from threadpoolctl import threadpool_limits

from features.encode import Floats
from training.baselines.histories import Histories, engaged
from training.dataset import Sequences
from training.metrics import Doubles


class Factors:
    """Dot products of a shopper's and the items' factors; items without events, whose factors are chance, come
    last."""

    def __init__(self, sequences: Sequences, users: Floats, items: Floats) -> None:
        """Keep float32 [U, F] and [N, F]."""
        self._histories = Histories(sequences)
        self._users = users
        self._items = items

    def scores(self, user_id: str) -> Doubles:
        """Float64 [N]; popularity alone for a shopper without history."""
        events = self._histories.events(user_id)
        if events.stop == events.start:
            return self._histories.popularity.copy()
        scores: Doubles = (self._items @ self._users[self._histories.user_of[user_id]]).astype(np.float64)
        scores[self._histories.popularity == 0] = scores.min()
        return scores


def fit_als(
    sequences: Sequences,
    *,
    factors: int,
    l2: float,
    confidence: float,
    seed: int,
    iterations: int = 15,
    threads: int = 1,
) -> Factors:
    """Alternating least squares; an engagement weighs `confidence` times what its absence does."""
    model = AlternatingLeastSquares(
        factors=factors,
        regularization=l2,
        alpha=confidence,
        iterations=iterations,
        num_threads=threads,
        random_state=seed,
    )
    return _fitted(model, sequences)


def fit_bpr(
    sequences: Sequences,
    *,
    factors: int,
    l2: float,
    learning_rate: float,
    seed: int,
    iterations: int = 100,
    threads: int = 1,
) -> Factors:
    """Stochastic steps that put a shopper's items above drawn others."""
    model = BayesianPersonalizedRanking(
        factors=factors,
        regularization=l2,
        learning_rate=learning_rate,
        iterations=iterations,
        num_threads=threads,
        random_state=seed,
    )
    return _fitted(model, sequences)


def _fitted(model: Any, sequences: Sequences) -> Factors:
    with threadpool_limits(1, "blas"):
        model.fit(engaged(sequences), show_progress=False)
    return Factors(sequences, model.user_factors, model.item_factors)
