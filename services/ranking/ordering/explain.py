"""Why an item has its score: what every feature adds to it, and which of the shopper's items it is like.

Shapes: n items of a list, F features, at most EVIDENCE_ITEMS items of the history each.

Choices: contributions are Shapley values of the trees (Lundberg et al. 2020, Nature Machine Intelligence, "From local
explanations to global understanding"), which LightGBM computes exactly: with the baseline they sum to the score.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.encode import Floats, Shopper, encode
from features.vectors import Vectors
from features.vocab import Rows
from services.ranking.ordering.interest import Interest
from services.ranking.ordering.model import OrderingModel
from services.ranking.ordering.rank import model_scores
from services.ranking.ordering.ranker import Ranker

EVIDENCE_ITEMS = 3


@dataclass(frozen=True, slots=True)
class Explanations:
    """Of n items, each array in their order."""

    values: Floats
    """float32 [n, F], the features in the order of `spec.MATRIX_COLUMNS`."""
    contributions: npt.NDArray[np.float64]
    """float64 [n, F], what each adds to the score."""
    baselines: npt.NDArray[np.float64]
    """float64 [n], the score of an item about which nothing is known."""
    evidence: Rows
    """int32 [n, EVIDENCE_ITEMS], rows of the shopper's history, most alike first; -1 where there are no more."""

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """float64 [n], the ranker's."""
        scores: npt.NDArray[np.float64] = self.baselines + self.contributions.sum(axis=1)
        return scores


def explain(
    model: OrderingModel, ranker: Ranker, shopper: Shopper, interest: Interest, rows: Rows, now_us: int
) -> Explanations:
    """Explain the ranker's scores of `rows`, int32 [n], for a shopper at an instant."""
    said = model_scores(model, shopper, interest, model.item_to_item.ask(shopper), rows)
    matrix = encode(shopper, model.items, rows, said, now_us)
    added = ranker.contributions(matrix)
    return Explanations(matrix, added[:, :-1], added[:, -1], alike(model.vectors, shopper.history_rows, rows))


def alike(vectors: Vectors, history_rows: Rows, rows: Rows) -> Rows:
    """For each of `rows` the distinct other rows of the history with the largest cosine, int32 [n, EVIDENCE_ITEMS],
    latest first where equal; -1 where there are no more."""
    latest_first = history_rows[::-1]
    _, first = np.unique(latest_first, return_index=True)
    own = latest_first[np.sort(first)]
    unit = vectors[own] / np.maximum(np.linalg.norm(vectors[own], axis=1, keepdims=True), 1e-12)
    scores = vectors[rows] @ unit.T  # an item's own length orders nothing
    scores[rows[:, None] == own[None, :]] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :EVIDENCE_ITEMS]
    found = np.full((rows.size, EVIDENCE_ITEMS), -1, dtype=np.int32)
    best = np.take_along_axis(scores, order, axis=1)
    found[:, : order.shape[1]] = np.where(best > -np.inf, own[order], -1) if own.size else -1
    return found
