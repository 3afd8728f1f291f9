"""The same list for everybody: items by event weight, of all time or of the last days."""

import numpy as np

from training.baselines.histories import DAY_US, Histories
from training.dataset import Sequences
from training.metrics import Doubles


class Popularity:
    """Items by the weight of all their events."""

    def __init__(self, sequences: Sequences) -> None:
        """Take the counts."""
        self._counts = Histories(sequences).popularity

    def scores(self, user_id: str) -> Doubles:  # noqa: ARG002 - one list for everybody
        """Float64 [N], event weight."""
        return self._counts.copy()


class RecentPopularity:
    """Items by the weight of their events of the last days; those without one follow by all-time popularity."""

    def __init__(self, sequences: Sequences, as_of_us: int, days: float = 7.0) -> None:
        """Count the events from `days` before `as_of_us` on."""
        recent = sequences.times_us >= as_of_us - days * DAY_US
        counts = np.bincount(sequences.rows[recent], sequences.weights[recent], sequences.item_count)
        self._scores: Doubles = counts + Histories(sequences).fill

    def scores(self, user_id: str) -> Doubles:  # noqa: ARG002 - one list for everybody
        """Float64 [N], event weight of the last days."""
        return self._scores.copy()
