"""What a shopper has had, most often and most recently first: hard to beat where people buy the same things again."""

import numpy as np

from training.baselines.histories import Histories, decayed
from training.dataset import Sequences
from training.metrics import Doubles

HALF_LIFE_DAYS = 84.0
"""An event's weight halves in twelve weeks unless said otherwise."""


class RecencyFrequency:
    """A shopper's own items by event weight that halves every `half_life_days`; popularity, far below, orders the
    rest."""

    def __init__(self, sequences: Sequences, as_of_us: int, half_life_days: float = HALF_LIFE_DAYS) -> None:
        """Keep the events; they are weighed when asked for."""
        self._histories = Histories(sequences)
        self._as_of_us = as_of_us
        self._half_life_days = half_life_days

    def scores(self, user_id: str) -> Doubles:
        """Float64 [N]; a stranger's are popularity alone."""
        sequences, events = self._histories.sequences, self._histories.events(user_id)
        weights = decayed(sequences, events, self._as_of_us, self._half_life_days)
        own = np.bincount(sequences.rows[events], weights, sequences.item_count)
        scores: Doubles = own + self._histories.fill
        return scores
