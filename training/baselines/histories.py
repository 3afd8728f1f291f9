"""What every baseline needs of the shoppers: whose events are where, and what a shopper without any is shown.

U shoppers, N items, E events.
"""

import numpy as np
from scipy import sparse

from features.vocab import Rows
from training.dataset import Ints, Sequences
from training.metrics import Doubles

DAY_US = 86_400_000_000
FILL = 1e-6
"""The most that popularity may add where it only orders what a baseline has no opinion on."""


class Histories:
    """Shoppers' events by user id."""

    def __init__(self, sequences: Sequences) -> None:
        """Number the shoppers."""
        self.sequences = sequences
        self.user_of = {user_id: user for user, user_id in enumerate(sequences.user_ids)}
        self.popularity: Doubles = sequences.counts.astype(np.float64)
        """float64 [N], event weight of every item: what a shopper without history is shown."""
        self.fill: Doubles = self.popularity * (FILL / max(self.popularity.max(initial=0.0), 1.0))
        """float64 [N], popularity in [0, FILL]."""

    def events(self, user_id: str) -> slice:
        """Positions of a shopper's events, oldest first; empty for a stranger."""
        user = self.user_of.get(user_id)
        if user is None:
            return slice(0, 0)
        return slice(int(self.sequences.starts[user]), int(self.sequences.starts[user + 1]))

    def last_distinct(self, user_id: str, count: int) -> Rows:
        """The last `count` different items of a shopper, newest first; int32, shorter for a short history."""
        newest_first = self.sequences.rows[self.events(user_id)][::-1]
        _, first = np.unique(newest_first, return_index=True)
        latest: Rows = newest_first[np.sort(first)[:count]]
        return latest


def decayed(sequences: Sequences, events: slice, now_us: int, half_life_days: float) -> Doubles:
    """Event weights that halve every `half_life_days` (above 0, infinite: never) before `now_us`; float64."""
    ages_days = (now_us - sequences.times_us[events]) / DAY_US
    return sequences.weights[events] * 0.5 ** (ages_days / half_life_days)


def users_of_events(sequences: Sequences) -> Ints:
    """The shopper of every event, int64 [E]."""
    return np.repeat(np.arange(len(sequences.user_ids)), np.diff(sequences.starts))


def engaged(sequences: Sequences) -> sparse.csr_matrix:
    """1 where a shopper engaged with an item, float32 CSR [U, N], rows sorted."""
    shape = (len(sequences.user_ids), sequences.item_count)
    ones = np.ones(sequences.rows.size, dtype=np.float32)
    matrix = sparse.csr_matrix((ones, (users_of_events(sequences), sequences.rows)), shape=shape)
    matrix.data = np.ones(matrix.nnz, dtype=np.float32)
    return matrix
