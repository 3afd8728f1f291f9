"""What the towers learn from: the catalogue worth serving, its distinct texts, and shoppers' event sequences as arrays.

Everything is cut at an instant: nothing at or after `as_of` enters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from features import spec
from features.item_text import item_text_column
from features.schema import Dataset
from features.transforms import known_events
from features.vocab import Rows

Ints = npt.NDArray[np.int64]


def select_catalogue(data: Dataset, as_of: datetime, min_shoppers: int) -> pl.DataFrame:
    """The items at least `min_shoppers` shoppers engaged with before `as_of`, in item-id order: the bundle's rows.

    Raises:
        ValueError: if no item is left.
    """
    shoppers = known_events(data.events, as_of).group_by("item_id").agg(shoppers=pl.col("user_id").n_unique())
    if min_shoppers > 0:
        kept = data.items.join(shoppers.filter(pl.col("shoppers") >= min_shoppers), on="item_id", how="semi")
    else:
        kept = data.items
    if kept.is_empty():
        raise ValueError(
            f"{data.name}: no item has {min_shoppers} shoppers before {as_of:%Y-%m-%d}; the catalogue would be empty"
        )
    return kept.sort("item_id")


@dataclass(frozen=True, slots=True)
class Texts:
    """The catalogue's distinct texts; many products share theirs."""

    distinct: list[str]
    of_row: Ints
    """int64 [N], index into `distinct` of each item row."""


def item_texts(items: pl.DataFrame) -> Texts:
    """What the text tower reads of each item: title, then description."""
    column = items.select(item_text_column()).to_series()
    distinct = sorted(column.unique().to_list())
    position = {value: index for index, value in enumerate(distinct)}
    return Texts(distinct, np.array([position[value] for value in column], dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Sequences:
    """All shoppers' events in one set of arrays of length E, by shopper and then by time; U shoppers."""

    user_ids: Sequence[str]
    """The U shoppers, sorted."""
    starts: Ints
    """int64 [U + 1]: shopper u's events are starts[u]:starts[u + 1]."""
    rows: Rows
    weights: npt.NDArray[np.float64]
    """float64 [E], how much each event says (spec.EVENT_WEIGHTS)."""
    event_types: Ints
    times_us: Ints
    sessions: Ints
    """int64 [E], equal within one session of one shopper."""
    counts: npt.NDArray[np.float64]
    """float64 [N], event weight of each item row."""
    item_count: int


def row_of_item(items: pl.DataFrame) -> pl.DataFrame:
    """`item_id` and its `row` (Int32) in the catalogue."""
    return items.select("item_id", row=pl.int_range(pl.len(), dtype=pl.Int32))


def sequences(data: Dataset, items: pl.DataFrame, as_of: datetime) -> Sequences:
    """Events with the catalogue's items before `as_of`, as arrays."""
    session = pl.struct("user_id", pl.coalesce("session_id", pl.col("event_time").dt.date().cast(pl.String)))
    known = (
        known_events(data.events, as_of)
        .lazy()
        .join(row_of_item(items).lazy(), on="item_id")
        .sort("user_id", "event_time", "event_id")
        .select(
            "row",
            "weight",
            "user_id",
            user=pl.col("user_id").rle_id(),
            session=session.rank("dense").cast(pl.Int64),
            event_type=pl.col("event_type").replace_strict(spec.EVENT_CODES, return_dtype=pl.Int64),
            time_us=pl.col("event_time").dt.timestamp("us"),
        )
        .collect()
    )
    rows = known["row"].to_numpy()
    _, first = np.unique(known["user"].to_numpy(), return_index=True)
    return Sequences(
        user_ids=known["user_id"].gather(first).to_list(),
        starts=np.append(first, known.height).astype(np.int64),
        rows=rows,
        weights=known["weight"].to_numpy(),
        event_types=known["event_type"].to_numpy(),
        times_us=known["time_us"].to_numpy(),
        sessions=known["session"].to_numpy(),
        counts=np.bincount(rows, known["weight"].to_numpy(), items.height).astype(np.float64),
        item_count=items.height,
    )
