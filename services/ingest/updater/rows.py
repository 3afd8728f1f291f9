"""Feature rows from states and new events: the very transforms that training uses, over a batch of shoppers.

Choices:
- Of a shopper whose state is in the cache only the new events are touched as texts.
- A state is mostly in the order of time already: only shoppers for whom it is not are sorted.

Knows nothing of streams, keys or leases.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl

from features.transforms import ItemFacts, ShopperEvents, shoppers_features
from features.transforms.grouping import Codes, order_by, starts_of
from services.ingest.updater.numbered import ItemNumbers, NumberedEvents, columns_of, joined, merged, numbered
from services.ingest.updater.state import EVENTS_OF_STATE, counts, lines_of, numbered_frame_of, shopper_type
from services.ingest.updater.state_cache import CachedState

_REASON_LENGTH = 500
_KEYS = ["user_id", "event_id"]

State: TypeAlias = bytes | CachedState
"""A shopper's state: its text, or what the cache knows of it. Its length is that of the text."""


@dataclass(frozen=True, slots=True)
class Update:
    """What new events change."""

    rows: pl.DataFrame
    """`user_id` and the USER_FEATURES of shoppers with an event of a known item."""
    appended: dict[str, bytes]
    """Shopper to the lines that their state grows by."""
    events: dict[str, NumberedEvents]
    """Shopper to all events after that; of those in `appended`."""


def update(states: Mapping[str, State], new: pl.DataFrame, facts: ItemFacts, items: ItemNumbers) -> Update:
    """The rows of shoppers after their new events.

    Args:
        states: Shopper to state, for every shopper of `new`; empty for one who is new. One from the cache has place
            for the shopper's events in `new`.
        new: At least the columns of EVENTS_OF_STATE. An event id that the shopper has already changes nothing.
        facts: Items and prices.
        items: The cache's.

    Raises:
        ValueError: a state cannot be read.
    """
    texts = {shopper: state for shopper, state in states.items() if isinstance(state, bytes)}
    user_id = shopper_type(states)
    before = numbered_frame_of(texts, user_id)
    arrived = new.filter(counts()).select(EVENTS_OF_STATE.names()).unique(_KEYS, keep="first", maintain_order=True)
    arrived = arrived.with_columns(pl.col("user_id").cast(user_id))
    again = before.filter(pl.col("event_id").is_in(arrived["event_id"].implode()))
    fresh = arrived.join(again, on=_KEYS, how="anti", maintain_order="left")
    if (shoppers := fresh["user_id"].unique()).len() < len(states):
        before = before.filter(pl.col("user_id").is_in(shoppers.implode()))
    told = pl.concat([before, fresh])
    parts = _by_shopper(told[_order(told)], items)
    for shopper, part in parts.items():
        if isinstance(state := states[shopper], CachedState):
            parts[shopper] = merged(state.events, part)
    rows = shoppers_features(_events_of(parts, facts, items), facts)
    return Update(rows, lines_of(fresh.with_columns(pl.col("user_id").cast(pl.String))), parts)


def _by_shopper(events: pl.DataFrame, items: ItemNumbers) -> dict[str, NumberedEvents]:
    """Shopper to events, from rows in which those of one shopper stand together."""
    numbers = numbered(events, items)
    starts = np.flatnonzero(starts_of(events["user_id"].to_physical().to_numpy()))
    names = events["user_id"][starts].cast(pl.String).to_list()
    return dict(zip(names, np.split(numbers, starts[1:]), strict=True)) if names else {}


def _events_of(parts: Mapping[str, NumberedEvents], facts: ItemFacts, items: ItemNumbers) -> ShopperEvents:
    """Args: parts: in the order of the shoppers' ids."""
    events = joined(list(parts.values()))
    shoppers = np.repeat(np.arange(len(parts)), [len(part) for part in parts.values()])
    user_ids = pl.Series(list(parts), dtype=pl.String)
    return ShopperEvents.of(user_ids, shoppers, columns_of(events, items.places_in(facts)))


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
    states: Mapping[str, State], new: pl.DataFrame, facts: ItemFacts, items: ItemNumbers
) -> tuple[list[Update], dict[str, str]]:
    """`update`, where one shopper whose row cannot be computed does not stop the others: halves are tried apart.

    Returns:
        Updates of distinct shoppers, and shopper to reason of those who have none.
    """
    if not states:
        return [], {}
    try:
        return [update(states, new, facts, items)], {}
    except (Exception, pl.exceptions.PanicException) as error:
        if len(states) == 1:
            return [], {next(iter(states)): f"{type(error).__name__}: {error}"[:_REASON_LENGTH]}
    updates: list[Update] = []
    failed: dict[str, str] = {}
    names = list(states)
    for half in (names[: len(names) // 2], names[len(names) // 2 :]):
        theirs = new.filter(pl.col("user_id").is_in(half))
        done, wrong = update_isolated({name: states[name] for name in half}, theirs, facts, items)
        updates += done
        failed |= wrong
    return updates, failed
