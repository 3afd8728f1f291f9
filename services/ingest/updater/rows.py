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

from features.transforms import user_features, weighted
from features.transforms.grouping import order_by
from services.ingest.updater.state import EVENTS_OF_STATE, counts, lines_of, numbered_frame_of, shopper_type

END = datetime(9999, 1, 1, tzinfo=UTC)
"""After every event: what was accepted counts at once, also when its clock was ahead of ours."""
_REASON_LENGTH = 500
_KEYS = ["user_id", "event_id"]


class Shop:
    """What shoppers' features need beside their events."""

    def __init__(self, items: pl.DataFrame, regular_prices: pl.DataFrame) -> None:
        """Args: items: `item_id` and `category` of the ITEMS table. regular_prices: `item_id` and `regular_price`."""
        self.item_id = pl.Enum(items["item_id"].sort())
        """Type of the items' ids, in the order of their texts."""
        known = regular_prices.filter(pl.col("item_id").is_in(items["item_id"].implode()))
        self.items = items.select(pl.col("item_id").cast(self.item_id), "category")
        self.regular_prices = known.with_columns(pl.col("item_id").cast(self.item_id))


@dataclass(frozen=True, slots=True)
class Update:
    """What new events change."""

    rows: pl.DataFrame
    """`user_id` and the USER_FEATURES of shoppers with an event of a known item."""
    appended: dict[str, bytes]
    """Shopper to the lines that their state grows by."""


def update(states: Mapping[str, bytes], new: pl.DataFrame, shop: Shop) -> Update:
    """The rows of shoppers after their new events.

    Args:
        states: Shopper to state, for every shopper of `new`; empty for one who is new.
        new: At least the columns of EVENTS_OF_STATE. An event id that the shopper has already changes nothing.
        shop: Items and prices.

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
    events = pl.concat([before, fresh]).with_columns(pl.col("item_id").cast(shop.item_id, strict=False))
    known = _in_order(events).lazy().pipe(weighted).collect()
    items = shop.items.join(known.select("item_id").unique(), on="item_id", how="semi")
    rows = user_features(known, items, shop.regular_prices).with_columns(pl.col("user_id").cast(pl.String))
    return Update(rows, lines_of(fresh.with_columns(pl.col("user_id").cast(pl.String))))


def _in_order(events: pl.DataFrame) -> pl.DataFrame:
    """Shopper by shopper, each one's events as `known_events` orders them; mostly they arrived in that order."""
    shoppers = events["user_id"].to_physical().to_numpy()
    order = order_by(shoppers)
    shoppers, times = shoppers[order], events["event_time"].dt.timestamp("us").to_numpy()[order]
    ids = events["event_id"][order]
    tied = times[1:] == times[:-1]
    unordered = (times[1:] < times[:-1]) | (tied & (ids[1:] < ids[:-1]).to_numpy())
    unordered &= shoppers[1:] == shoppers[:-1]
    if unordered.any():
        places = np.flatnonzero(np.isin(shoppers, shoppers[1:][unordered]))
        theirs = events[order[places]].select(pl.arg_sort_by("user_id", "event_time", "event_id")).to_series()
        order[places] = order[places][theirs.to_numpy()]
    return events[order]


def update_isolated(states: Mapping[str, bytes], new: pl.DataFrame, shop: Shop) -> tuple[list[Update], dict[str, str]]:
    """`update`, where one shopper whose row cannot be computed does not stop the others: halves are tried apart.

    Returns:
        Updates of distinct shoppers, and shopper to reason of those who have none.
    """
    if not states:
        return [], {}
    try:
        return [update(states, new, shop)], {}
    except (Exception, pl.exceptions.PanicException) as error:
        if len(states) == 1:
            return [], {next(iter(states)): f"{type(error).__name__}: {error}"[:_REASON_LENGTH]}
    updates: list[Update] = []
    failed: dict[str, str] = {}
    names = list(states)
    for half in (names[: len(names) // 2], names[len(names) // 2 :]):
        theirs = new.filter(pl.col("user_id").is_in(half))
        done, wrong = update_isolated({name: states[name] for name in half}, theirs, shop)
        updates += done
        failed |= wrong
    return updates, failed
