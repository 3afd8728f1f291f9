"""What the interest tower learns from: stretches of shoppers' events, and for each event something that came after it.

Choices:
- Every position of a stretch is a history of its own, so one pass of a causal tower learns from all of them (dense
  all-action loss, Pancha et al. 2022, KDD, "PinnerFormer"; with a target window of one it is SASRec's next item).
- Targets may be confined to first engagements: what a shopper buys again is for other features to say.
- What came in the same session is no target unless asked for: baskets have no order within.

Shapes: B stretches, T = spec.HISTORY_LENGTH events, left-padded with event type 0.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from features import spec
from training.config import InterestTowerConfig
from training.dataset import Ints, Sequences

_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class HistoryBatch:
    """B stretches of T events; where there is no target, `targets` is -1."""

    rows: Ints
    """int64 [B, T]; 0 where padded."""
    event_types: Ints
    """int64 [B, T]; 0 where padded."""
    ages_days: npt.NDArray[np.float32]
    """float32 [B, T], before the stretch's last event."""
    targets: Ints
    """int64 [B, T], an item row engaged with later, or -1."""
    weights: npt.NDArray[np.float32]
    """float32 [B, T], event weight of the target."""
    users: Ints
    """int64 [B], positions in Sequences.user_ids."""
    positions: Ints
    """int64 [B, T], positions of the events in Sequences."""


class HistorySampler:
    """Draws stretches and targets from all shoppers' sequences."""

    def __init__(self, sequences: Sequences, config: InterestTowerConfig) -> None:
        """Find once which events can be targets and where each event's session ends.

        Raises:
            ValueError: if no event has a target after it; the message says what was asked for.
        """
        self._sequences = sequences
        counts = np.diff(sequences.starts)
        user_of = np.repeat(np.arange(counts.size), counts)
        eligible = _first_engagements(sequences, user_of) if config.targets == "first" else np.arange(user_of.size)
        after = np.arange(user_of.size) + 1 if config.same_session else _session_ends(sequences, user_of)
        last = _last_within(sequences, config.target_days)
        self._low = np.searchsorted(eligible, after)
        self._high = np.minimum(np.searchsorted(eligible, last), self._low + config.target_events)
        self._eligible = eligible
        self._users = np.flatnonzero(counts > 1)
        if not (self._low < self._high).any():
            raise ValueError(f"no event has a target ({config.targets}) within {config.target_days} days after it")
        stretches = np.ceil((counts[self._users] - 1) / spec.HISTORY_LENGTH)
        self._share = stretches / stretches.sum()
        self.mean_targets = float((self._low < self._high).sum() / stretches.sum())
        """Targets in a stretch, on average."""

    @property
    def target_share(self) -> npt.NDArray[np.float64]:
        """How often each item row comes as a target, float64 [N], summing to 1."""
        rows = self._sequences.rows[self._eligible]
        counts = np.bincount(rows, minlength=self._sequences.item_count).astype(np.float64)
        share: npt.NDArray[np.float64] = counts / max(counts.sum(), 1.0)
        return share

    def sample(self, batch_size: int, rng: np.random.Generator) -> HistoryBatch:
        """Draw stretches: shoppers by how many stretches they fill, then where a stretch ends."""
        length, starts = spec.HISTORY_LENGTH, self._sequences.starts
        users = rng.choice(self._users, size=batch_size, p=self._share)
        first, stop = starts[users], starts[users + 1]
        earliest = np.minimum(first + length, stop)
        ends = rng.integers(earliest, stop + 1)
        at = ends[:, None] + np.arange(-length, 0)
        real = at >= first[:, None]
        at = np.where(real, at, first[:, None])
        low, high = self._low[at], self._high[at]
        has_target = real & (low < high)
        drawn = self._eligible[np.where(has_target, rng.integers(low, np.maximum(high, low + 1)), 0)]
        times = self._sequences.times_us
        return HistoryBatch(
            rows=np.where(real, self._sequences.rows[at], 0).astype(np.int64),
            event_types=np.where(real, self._sequences.event_types[at], 0),
            ages_days=(np.where(real, times[ends - 1][:, None] - times[at], 0) / _DAY_US).astype(np.float32),
            targets=np.where(has_target, self._sequences.rows[drawn], -1).astype(np.int64),
            weights=np.where(has_target, self._sequences.weights[drawn], 0.0).astype(np.float32),
            users=users,
            positions=at,
        )

    def had(self, batch: HistoryBatch, candidates: Ints) -> npt.NDArray[np.bool_]:
        """Which candidates a shopper has had up to each event of a stretch, bool [B, T, C]; never the event's target.

        Args:
            batch: From `sample`.
            candidates: int64 [C], distinct item rows.
        """
        starts, never = self._sequences.starts, np.iinfo(np.int64).max
        first = np.full((batch.users.size, self._sequences.item_count), never)
        for line, user in zip(first, batch.users, strict=True):
            own = np.arange(starts[user], starts[user + 1])[::-1]
            line[self._sequences.rows[own]] = own  # backwards, so that an item's first event is written last
        found: npt.NDArray[np.bool_] = first[:, None, candidates] <= batch.positions[:, :, None]
        found &= batch.targets[:, :, None] != candidates
        return found


def _first_engagements(sequences: Sequences, user_of: Ints) -> Ints:
    """Positions at which a shopper engages with an item for the first time, or more than ever before: a purchase after
    a click is one too."""
    pair = user_of * sequences.item_count + sequences.rows
    events = pl.DataFrame({"pair": pair, "weight": sequences.weights})
    most_before = pl.col("weight").cum_max().shift(1).over("pair")
    is_first = events.select((pl.col("weight") > most_before).fill_null(value=True)).to_series()
    return np.flatnonzero(is_first.to_numpy())


def _session_ends(sequences: Sequences, user_of: Ints) -> Ints:
    """For each event the position after its shopper's last event of the same instant or session."""
    new = np.ones(user_of.size, dtype=bool)
    new[1:] = (user_of[1:] != user_of[:-1]) | (sequences.sessions[1:] != sequences.sessions[:-1])
    starts = np.append(np.flatnonzero(new), user_of.size)
    ends: Ints = starts[np.cumsum(new)]
    return ends


def _last_within(sequences: Sequences, days: float) -> Ints:
    """For each event the position after its shopper's last event at most `days` later."""
    reach = int(days * _DAY_US)
    found = np.empty(sequences.rows.size, dtype=np.int64)
    for start, stop in zip(sequences.starts[:-1], sequences.starts[1:], strict=True):
        times = sequences.times_us[start:stop]
        found[start:stop] = start + np.searchsorted(times, times + reach, side="right")
    return found
