"""Feature rows from states and new events: the very transforms that training uses, over a batch of shoppers.

Choices:
- Ids are Polars Enums while it computes, numbers whose order is that of the texts: a quarter less time, and the same
  rows to the last bit.
- A state is mostly in the order of time already: only shoppers for whom it is not are sorted.

Knows nothing of streams, keys or leases.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from features.transforms import ItemFacts, shoppers_features, weighted
from features.transforms.grouping import Codes, order_by, starts_of
from services.ingest.updater.state import EVENTS_OF_STATE, counts, lines_of, numbered_frame_of, shopper_type

END = datetime(9999, 1, 1, tzinfo=UTC)
"""After every event: what was accepted counts at once, also when its clock was ahead of ours."""
_REASON_LENGTH = 500
_KEYS = ["user_id", "event_id"]


@dataclass(frozen=True, slots=True)
class Update:
    """What new events change."""

    rows: pl.DataFrame
    """`user_id` and the USER_FEATURES of shoppers with an event of a known item."""
    appended: dict[str, bytes]
    """Shopper to the lines that their state grows by."""


def update(states: Mapping[str, bytes], new: pl.DataFrame, facts: ItemFacts) -> Update:
    """The rows of shoppers after their new events.

    Args:
        states: Shopper to state, for every shopper of `new`; empty for one who is new.
        new: At least the columns of EVENTS_OF_STATE. An event id that the shopper has already changes nothing.
        facts: Items and prices.

    Raises:
        ValueError: a state cannot be read.
    """
    before, user_id = numbered_frame_of(states), shopper_type(states)
    arrived = new.filter(counts()).select(EVENTS_OF_STATE.names()).unique(_KEYS, keep="first", maintain_order=True)
    arrived = arrived.with_columns(pl.col("user_id").cast(user_id))
    again = before.filter(pl.col("event_id").is_in(arrived["event_id"].implode()))
    fresh = arrived.join(again, on=_KEYS, how="anti", maintain_order="left")
    if (shoppers := fresh["user_id"].unique()).len() < len(states):
        before = before.filter(pl.col("user_id").is_in(shoppers.implode()))
    events = pl.concat([before, fresh]).with_columns(pl.col("item_id").cast(facts.item_ids.dtype, strict=False))
    known = events[_order(events)].lazy().pipe(weighted).collect()
    rows = shoppers_features(known, facts).with_columns(pl.col("user_id").cast(pl.String))
    return Update(rows, lines_of(fresh.with_columns(pl.col("user_id").cast(pl.String))))


def _order(events: pl.DataFrame) -> Codes:
    """Shopper by shopper, each one's events as `known_events` orders them; mostly they arrived in that order."""
    shoppers = events["user_id"].to_physical().to_numpy()
    times = events["event_time"].dt.timestamp("us").to_numpy()
    order = order_by(shoppers)
    if ((times[order][1:] < times[order][:-1]) & ~starts_of(shoppers[order])[1:]).any():
        order = order[np.lexsort((times[order], shoppers[order]))]
    begins = starts_of(shoppers[order], times[order])
    tied = np.flatnonzero(~begins[1:])
    ids = events["event_id"]
    unordered = tied[(ids[order[tied + 1]] < ids[order[tied]]).to_numpy()]
    if len(unordered):
        moments = np.cumsum(begins)
        places = np.flatnonzero(np.isin(moments, moments[unordered]))
        same = pl.DataFrame({"moment": moments[places], "event_id": ids[order[places]]})
        order[places] = order[places][same.select(pl.arg_sort_by("moment", "event_id")).to_series().to_numpy()]
    return order


def update_isolated(
    states: Mapping[str, bytes], new: pl.DataFrame, facts: ItemFacts
) -> tuple[list[Update], dict[str, str]]:
    """`update`, where one shopper whose row cannot be computed does not stop the others: halves are tried apart.

    Returns:
        Updates of distinct shoppers, and shopper to reason of those who have none.
    """
    if not states:
        return [], {}
    try:
        return [update(states, new, facts)], {}
    except (Exception, pl.exceptions.PanicException) as error:
        if len(states) == 1:
            return [], {next(iter(states)): f"{type(error).__name__}: {error}"[:_REASON_LENGTH]}
    updates: list[Update] = []
    failed: dict[str, str] = {}
    names = list(states)
    for half in (names[: len(names) // 2], names[len(names) // 2 :]):
        theirs = new.filter(pl.col("user_id").is_in(half))
        done, wrong = update_isolated({name: states[name] for name in half}, theirs, facts)
        updates += done
        failed |= wrong
    return updates, failed
