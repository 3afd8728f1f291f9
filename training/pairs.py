"""Which items keep company: pairs of one shopper's items, and items that were shown and let be.

Choices:
- An anchor is drawn by its event's weight (a purchase says more than a view), its partner from the same session, or
  from the same shopper's events within some days, by weight too.
- An impression without any engagement of that shopper with that item on the same day is a hard negative for that
  shopper. Impressions have weight 0 and are no part of Sequences; they are read from the events table.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from features.schema import Dataset
from features.transforms import known_events
from features.vocab import Rows
from training.dataset import Ints, Sequences, row_of_item

_DAY_US = 86_400_000_000


def sample_pairs(
    sequences: Sequences, count: int, rng: np.random.Generator, window_days: float | None = None
) -> tuple[Rows, Rows]:
    """Pairs of different items of one session, or of one shopper within `window_days`; int32 [≤ count] twice.

    Args:
        sequences: Events; at least one.
        count: Pairs wanted; fewer come back where partners are the same item too often.
        rng: Every draw comes from it.
        window_days: How far apart the two events may lie, days; None: within one session.
    """
    left, right = sample_events(sequences, 2 * count, rng, window_days)
    rows = sequences.rows
    different = rows[left] != rows[right]
    return rows[left][different][:count], rows[right][different][:count]


def sample_events(
    sequences: Sequences, count: int, rng: np.random.Generator, window_days: float | None = None
) -> tuple[Ints, Ints]:
    """Pairs of events, drawn as `sample_pairs` says; int64 [count] twice, positions in `sequences`."""
    if window_days is None:
        order = np.argsort(sequences.sessions, kind="stable")
        groups = sequences.sessions[order]
        cumulative = np.append(0.0, np.cumsum(sequences.weights[order]))
        anchor = drawn(cumulative, np.zeros(count, np.int64), np.full(count, groups.size), rng)
        low, high = (np.searchsorted(groups, groups[anchor], side=side) for side in ("left", "right"))
        return order[anchor], order[drawn(cumulative, low, high, rng)]
    cumulative = np.append(0.0, np.cumsum(sequences.weights))
    anchor = drawn(cumulative, np.zeros(count, np.int64), np.full(count, sequences.rows.size), rng)
    low, high = _window(sequences, anchor, int(window_days * _DAY_US))
    return anchor, drawn(cumulative, low, high, rng)


def drawn(cumulative: npt.NDArray[np.float64], low: Ints, high: Ints, rng: np.random.Generator) -> Ints:
    """One position of each range low:high, by weight; int64 [B].

    Args:
        cumulative: float64 [E + 1], running sum of the weights from 0.
        low: int64 [B].
        high: int64 [B], above low.
        rng: One draw per range.
    """
    target = cumulative[low] + rng.random(len(low)) * (cumulative[high] - cumulative[low])
    found = np.searchsorted(cumulative, target, side="right") - 1
    result: Ints = np.clip(found, low, high - 1)
    return result


def _window(sequences: Sequences, events: Ints, span_us: int) -> tuple[Ints, Ints]:
    """First and one past the last event of the same shopper within `span_us` of each event."""
    user = np.searchsorted(sequences.starts, events, side="right") - 1
    begin, end = sequences.starts[user], sequences.starts[user + 1]
    low, high = np.empty_like(events), np.empty_like(events)
    for number, event in enumerate(events):
        own = sequences.times_us[begin[number] : end[number]]
        now = sequences.times_us[event]
        low[number] = begin[number] + np.searchsorted(own, now - span_us, side="left")
        high[number] = begin[number] + np.searchsorted(own, now + span_us, side="right")
    return low, high


@dataclass(frozen=True, slots=True)
class Impressions:
    """Items that shoppers were shown and let be."""

    starts: Ints
    """int64 [U + 1]: shopper u's are starts[u]:starts[u + 1], U and their order as in Sequences."""
    rows: Rows
    """int32 [I], item rows."""

    def draw(self, users: Ints, count: int, rng: np.random.Generator) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """`count` items per user, with replacement.

        Args:
            users: int64 [Q], positions in Sequences.user_ids.
            count: Items each.
            rng: One draw per item.

        Returns:
            int32 [Q, count] and whether there is one, bool [Q, count]; row 0 where there is none.
        """
        low, high = self.starts[users], self.starts[users + 1]
        at = low[:, None] + (rng.random((len(users), count)) * (high - low)[:, None]).astype(np.int64)
        there = np.broadcast_to((high > low)[:, None], at.shape)
        found = np.zeros(at.shape, dtype=np.int32)
        found[there] = self.rows[at[there]]
        return found, there


def impressions_without_action(data: Dataset, items: pl.DataFrame, users: list[str], as_of: datetime) -> Impressions:
    """What was shown before `as_of` and not engaged with by the same shopper on the same UTC day.

    Args:
        data: Its events of type impression are read.
        items: The catalogue; other items are left out.
        users: The shoppers, as in Sequences.user_ids.
        as_of: Aware UTC instant.
    """
    key = ["user_id", "item_id", "day"]
    day = pl.col("event_time").dt.date().alias("day")
    acted = known_events(data.events, as_of).select("user_id", "item_id", day).unique()
    position = pl.DataFrame({"user_id": users, "user": np.arange(len(users))}, schema_overrides={"user_id": pl.String})
    shown = (
        data.events.filter(pl.col("event_type") == "impression", pl.col("event_time") < as_of)
        .select("user_id", "item_id", day)
        .join(acted, on=key, how="anti")
        .join(row_of_item(items), on="item_id")
        .join(position, on="user_id")
        .sort("user", "day", "row")
    )
    starts = np.searchsorted(shown["user"].to_numpy(), np.arange(len(users) + 1), side="left")
    return Impressions(starts.astype(np.int64), shown["row"].to_numpy())
