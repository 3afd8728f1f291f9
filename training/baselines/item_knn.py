"""Items like those a shopper had: cosine of who engaged with them (Sarwar et al. 2001; Deshpande & Karypis 2004).

Choices:
- cosine with shrinkage, |i ∩ j| / (sqrt(|i| |j|) + shrinkage): pairs that few shoppers share count for less;
- every item of the history votes for its `neighbours` nearest, with its event weight, halved every `half_life_days`
  before the shopper's own last event (a common factor changes no order, so "now" is not needed);
- an item is its own neighbour at `own` times its weight: without it, what people buy again never comes back;
- ItemKNN + text adds `text` times the cosine of text vectors to the shopper's last items.

U shoppers, N items, D vector width.
"""

import numpy as np
from scipy import sparse

from features.encode import Floats
from features.vocab import Rows
from training.baselines.histories import Histories, decayed, engaged
from training.baselines.zero_shot import ZeroShot
from training.dataset import Ints, Sequences
from training.metrics import Doubles


def item_neighbours(sequences: Sequences, shrinkage: float, neighbours: int, block: int = 2000) -> sparse.csr_matrix:
    """The nearest other items of every item, float32 CSR [N, N], similarity in (0, 1]; ties by row.

    Args:
        sequences: The events; who engaged with what, however often.
        shrinkage: At least 0, in shoppers.
        neighbours: Most entries of a row.
        block: Rows computed at once; bounds memory to about block x N x 8 bytes.
    """
    shoppers = engaged(sequences)
    items = shoppers.T.tocsr()
    norms = np.sqrt(np.diff(items.indptr)).astype(np.float32)
    nearest = [
        _nearest(items[start : start + block] @ shoppers, start, norms, shrinkage, neighbours)
        for start in range(0, sequences.item_count, block)
    ]
    return sparse.vstack(nearest, format="csr")


def _nearest(
    shared: sparse.csr_matrix, start: int, norms: Floats, shrinkage: float, neighbours: int
) -> sparse.csr_matrix:
    """Of shared shoppers [B, N] of the items from `start` on, the most similar others."""
    columns, values, ends = [], [], [0]
    for position in range(shared.shape[0]):
        entries = slice(shared.indptr[position], shared.indptr[position + 1])
        others, item = shared.indices[entries], start + position
        similarity = shared.data[entries] / (norms[item] * norms[others] + np.float32(shrinkage))
        similarity[others == item] = 0.0
        kept = _best(similarity, others, neighbours)
        columns.append(others[kept])
        values.append(similarity[kept])
        ends.append(ends[-1] + kept.size)
    return sparse.csr_matrix((np.concatenate(values), np.concatenate(columns), ends), shape=shared.shape)


def _best(similarity: Floats, others: Rows, count: int) -> Ints:
    """Positions of the `count` largest above 0, ties by row; in no order, as sorting all would take most of the
    time."""
    least = np.partition(similarity, -count)[-count] if count < similarity.size else np.float32(0)
    above, level = np.flatnonzero(similarity > least), np.flatnonzero(similarity == least)
    if least <= 0:
        return above
    return np.concatenate([above, level[np.argsort(others[level])][: count - above.size]])


class ItemKnn:
    """Sum of the similarities to a shopper's items, by their weight; popularity, far below, orders the rest."""

    def __init__(
        self,
        sequences: Sequences,
        similar: sparse.csr_matrix,
        half_life_days: float,
        own: float = 0.0,
        text: float = 0.0,
        nearby: ZeroShot | None = None,
    ) -> None:
        """Keep what `item_neighbours` found.

        Args:
            sequences: The shoppers' events.
            similar: float32 CSR [N, N].
            half_life_days: Above 0.
            own: Similarity of an item to itself, at least 0.
            text: Weight of the text's cosine; 0 leaves the text out.
            nearby: Scores of the catalogue by text; needed where `text` is not 0.

        Raises:
            ValueError: if `text` is not 0 and `nearby` is missing.
        """
        if text and nearby is None:
            raise ValueError("text: needs `nearby`, the scores by text")
        self._histories = Histories(sequences)
        self._similar = similar
        self._half_life_days = half_life_days
        self._own = own
        self._text = text
        self._nearby = nearby

    def scores(self, user_id: str) -> Doubles:
        """Float64 [N]; popularity alone for a shopper without history."""
        histories = self._histories
        sequences, events = histories.sequences, histories.events(user_id)
        if events.stop == events.start:
            return histories.popularity.copy()
        weights = decayed(sequences, events, int(sequences.times_us[events.stop - 1]), self._half_life_days)
        rows, place = np.unique(sequences.rows[events], return_inverse=True)
        shares = np.bincount(place, weights) / weights.sum()
        scores: Doubles = histories.fill + self._similar[rows].T @ shares
        scores[rows] += self._own * shares
        if self._nearby is not None and self._text:
            scores += self._text * self._nearby.scores(user_id)
        return scores
