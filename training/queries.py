"""What is asked of a ranking: shoppers as they stood at an instant, and what they engaged with in the weeks after it.

Both the ranker's training rows and every evaluation come from here, so that neither sees more than a request would.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

import numpy as np
import polars as pl

from features import spec
from features.clock import to_us
from features.encode import Floats, ItemColumns, Shopper, history_ages_days, item_columns, resolve
from features.schema import Dataset
from features.transforms import item_features, known_events, user_features
from features.vectors import Vectors
from features.vocab import NO_ROWS, Rows
from services.ranking.ordering import Interest, fallback_interest
from training.dataset import Ints, row_of_item

InterestRun: TypeAlias = Callable[[Floats, Ints, Floats], Floats]
"""History vectors [B, T, D], event types [B, T], ages in days [B, T] → interest vectors [B, K, D]."""


@dataclass(frozen=True, slots=True)
class Query:
    """One shopper at one instant."""

    user_id: str
    now_us: int
    """When it is asked, microseconds since 1970."""
    shopper: Shopper
    truth: Rows
    """Rows engaged with in the window, sorted; never empty."""
    truth_weights: Floats
    """float32, the largest event weight of each of them in the window."""
    seen: Rows
    """Rows engaged with before it, sorted."""


@dataclass(frozen=True, slots=True)
class Window:
    """All queries of one instant, with the item columns as they stood then."""

    now_us: int
    """When the item columns were taken."""
    items: ItemColumns
    queries: list[Query]


def open_window(data: Dataset, items: pl.DataFrame, as_of: datetime, weeks: int) -> Window:
    """Shoppers and items at `as_of`, with what was bought or otherwise engaged with in the `weeks` after it.

    Shoppers without an event in the window are left out; shoppers without one before it are kept, unknown.
    """
    known = known_events(data.events, as_of)
    ahead = known_events(data.events, as_of + timedelta(weeks=weeks)).filter(pl.col("event_time") >= as_of)
    return pose(known, ahead, items, data.promotions, as_of)


def pose(
    known: pl.DataFrame,
    ahead: pl.DataFrame,
    items: pl.DataFrame,
    promotions: pl.DataFrame,
    as_of: datetime,
    *,
    at_last_event: bool = False,
) -> Window:
    """Shoppers as `known` left them, and what they engaged with in `ahead`.

    Args:
        known: From `known_events`.
        ahead: From `known_events`; its shoppers are asked about.
        items: The ITEMS table.
        promotions: The PROMOTIONS table.
        as_of: When items' features are taken.
        at_last_event: Every shopper is asked at their last known event instead of at `as_of`.
    """
    columns = item_columns(items, item_features(known, items, promotions, as_of), as_of)
    truth, seen = _rows_by_user(ahead, items), _rows_by_user(known, items)
    shoppers = {
        row["user_id"]: resolve(row, columns)
        for row in user_features(known, items).iter_rows(named=True)
        if row["user_id"] in truth
    }
    unknown, nothing = resolve(None, columns), (np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32))
    return Window(
        now_us=to_us(as_of),
        items=columns,
        queries=[
            _query(user, shoppers.get(user, unknown), had, seen.get(user, nothing)[0], to_us(as_of), at_last_event)
            for user, had in truth.items()
        ],
    )


def _query(
    user_id: str, shopper: Shopper, truth: tuple[Rows, Floats], seen: Rows, as_of_us: int, at_last_event: bool
) -> Query:
    now_us = shopper.last_event_us if at_last_event and shopper.is_known else as_of_us
    return Query(user_id, now_us, shopper, *truth, seen)


def _rows_by_user(events: pl.DataFrame, items: pl.DataFrame) -> dict[str, tuple[Rows, Floats]]:
    """Distinct catalogue rows of each shopper, sorted, and their largest event weights; shoppers in id order."""
    grouped = (
        events.lazy()
        .join(row_of_item(items).lazy(), on="item_id")
        .group_by("user_id", "row")
        .agg(pl.col("weight").max())
        .sort("user_id", "row")
        .group_by("user_id", maintain_order=True)
        .agg("row", "weight")
        .collect()
    )
    return {
        user: (np.array(rows, dtype=np.int32), np.array(weights, dtype=np.float32))
        for user, rows, weights in grouped.iter_rows()
    }


def interests_of(
    run: InterestRun, vectors: Vectors, shoppers: Sequence[Shopper], now_us: int, batch_size: int = 256
) -> list[Interest]:
    """Every shopper's interest, as a request would get it: the tower's, or the fallback for an empty history.

    Args:
        run: The tower.
        vectors: Of every item, D numbers each.
        shoppers: Resolved against the same bundle.
        now_us: The instant their histories are looked at from.
        batch_size: Histories per call.
    """
    found: list[Floats] = []
    for start in range(0, len(shoppers), batch_size):
        found.extend(run(*history_batch(vectors, shoppers[start : start + batch_size], now_us)))
    return [
        Interest(interest, is_fallback=False) if shopper.history_rows.size else fallback_interest(vectors[NO_ROWS])
        for shopper, interest in zip(shoppers, found, strict=True)
    ]


def history_batch(vectors: Vectors, shoppers: Sequence[Shopper], now_us: int) -> tuple[Floats, Ints, Floats]:
    """The interest tower's inputs: vectors [B, T, D], event types [B, T], ages [B, T]; left-padded, T =
    HISTORY_LENGTH."""
    shape = (len(shoppers), spec.HISTORY_LENGTH)
    rows, types, ages = np.zeros(shape, np.int32), np.zeros(shape, np.int64), np.zeros(shape, np.float32)
    for position, shopper in enumerate(shoppers):
        size = shopper.history_rows.size
        if size:
            rows[position, -size:] = shopper.history_rows
            types[position, -size:] = shopper.history_event_types
            ages[position, -size:] = history_ages_days(shopper, now_us)
    return vectors[rows] * (types > 0)[..., None].astype(np.float32), types, ages
