"""How a data set is cut into what is known and what is asked: by weeks, or by each shopper's last events.

Choices:
- `back` counts windows from the end of what training may see: window 1 is the newest. A cut at `back` knows everything
  before that window, and the window's engagements are the truth.
- Leave-one-out is the public protocol for data without a shop's clock: each shopper's own events are counted from their
  end, and "now" is the shopper's last known event, never the target's time.

Both give the same things, so that one scheme fits them all.
"""

import typing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, TypeAlias, get_args

import polars as pl

from features.clock import to_us
from features.schema import Dataset
from features.transforms import known_events
from training.dataset import Sequences, sequences
from training.queries import Window, open_window, pose

Protocol: TypeAlias = Literal["time", "leave-one-out"]
"""How a run is judged, and so how its data is cut."""
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)


class Split(typing.Protocol):
    """Cuts of one data set."""

    def instant(self, back: int) -> datetime:
        """Up to when items' features are taken at the cut before window `back`; 0: everything that may be seen."""

    def known(self, back: int) -> Dataset:
        """The data before window `back`."""

    def window(self, items: pl.DataFrame, back: int) -> Window:
        """Shoppers as they stood before window `back`, and what they engaged with in it."""


def after_last(events: pl.DataFrame) -> datetime:
    """The first instant at which every event of the EVENTS table is known.

    Raises:
        ValueError: if there is none.
    """
    last = events["event_time"].max()
    if not isinstance(last, datetime):
        raise ValueError("no events")
    return last + timedelta(microseconds=1)


def sequences_before(split: Split, items: pl.DataFrame, back: int) -> Sequences:
    """Everything known at a cut, as arrays."""
    return sequences(split.known(back), items, split.instant(back))


@dataclass(frozen=True, slots=True)
class TimeSplit:
    """Windows of `weeks` weeks before `as_of`."""

    data: Dataset
    as_of: datetime
    weeks: int

    def instant(self, back: int) -> datetime:
        """The window's first moment."""
        return self.as_of - back * timedelta(weeks=self.weeks)

    def known(self, back: int) -> Dataset:  # noqa: ARG002 - features cut at the instant
        """All data: whoever reads it cuts at `instant`."""
        return self.data

    def window(self, items: pl.DataFrame, back: int) -> Window:
        """Window 0 is the one after `as_of`."""
        return open_window(self.data, items, self.instant(back), self.weeks)


@dataclass(frozen=True, slots=True)
class LastOutSplit:
    """Windows of one event per shopper, counted from each shopper's end."""

    data: Dataset

    def instant(self, back: int) -> datetime:  # noqa: ARG002 - other shoppers' events are no later or earlier
        """Just after the last event of all."""
        last: datetime = self.data.events["event_time"].max()  # type: ignore[assignment]
        return last + timedelta(microseconds=1)

    def known(self, back: int) -> Dataset:
        """All but each shopper's last `back` events."""
        return replace(self.data, events=self._from_end().filter(pl.col("from_end") > back).drop("from_end"))

    def window(self, items: pl.DataFrame, back: int) -> Window:
        """Each shopper's event number `back` from the end is the truth; who has none before it is left out."""
        as_of = self.instant(back)
        target = self._from_end().filter(pl.col("from_end") == back).drop("from_end")
        known = known_events(self.known(back).events, as_of)
        asked = known_events(target, as_of).join(known.select("user_id").unique(), on="user_id", how="semi")
        return pose(known, asked, items, self.data.promotions, as_of, at_last_event=True)

    def _from_end(self) -> pl.DataFrame:
        ordered = self.data.events.sort("event_time", "event_id")
        return ordered.with_columns(from_end=pl.len().over("user_id") - pl.int_range(pl.len()).over("user_id"))


def without_last(data: Dataset) -> Dataset:
    """What leave-one-out lets training see."""
    return LastOutSplit(data).known(1)


def now_us(split: Split, back: int) -> int:
    """`instant` in microseconds since 1970."""
    return to_us(split.instant(back))
