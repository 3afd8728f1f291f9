"""The Amazon Beauty benchmark as a shop's own data: a folder that the `parquet` adapter reads.

The benchmark is never shipped; without its folder the lines that need it say so. Its protocol is leave-one-out. Events
carry a day and no time: within a day they come shuffled (seed 0), or as shipped, by item id, which can be learned.
"""

from pathlib import Path

import numpy as np
import polars as pl

from features.adapters import load
from features.schema import Dataset

ORDERS = ("shuffled", "shipped")


def beauty(source: Path, work: Path, order: str) -> Dataset:
    """The benchmark with events of a day in one of ORDERS.

    Args:
        source: Folder with the benchmark's events.parquet and items.parquet.
        work: Where the prepared copies go.
        order: See ORDERS.
    """
    folder = work / f"beauty-{order}"
    if not (folder / "events.parquet").exists():
        folder.mkdir(parents=True, exist_ok=True)
        items = pl.read_parquet(source / "items.parquet").select("item_id", "title")
        items.sort("item_id").write_parquet(folder / "items.parquet")
        _events(pl.read_parquet(source / "events.parquet"), order).write_parquet(folder / "events.parquet")
    return load(f"parquet:{folder}", work)


def _events(shipped: pl.DataFrame, order: str) -> pl.DataFrame:
    """The events with times: each shopper's events of one day stand a second apart, in order."""
    shipped = shipped.sort("user_id", "pos")
    keys = np.random.default_rng(0).random(shipped.height) if order == "shuffled" else np.arange(shipped.height)
    ordered = shipped.with_columns(day=pl.col("timestamp").dt.truncate("1d"), key=pl.Series(keys)).sort(
        "user_id", "day", "key"
    )
    second = pl.int_range(pl.len()).over("user_id", "day")
    return ordered.select(
        event_id=pl.format("{}-{}", "user_id", "pos"),
        user_id="user_id",
        item_id="item_id",
        event_type=pl.lit("purchase"),
        event_time=(pl.col("day") + pl.duration(seconds=second)).dt.replace_time_zone("UTC"),
    )


def target_on_another_day(data: Dataset) -> set[str]:
    """Shoppers whose last event is not on the day of the one before it."""
    days = data.events.sort("user_id", "event_time").group_by("user_id").agg(pl.col("event_time").dt.date().tail(2))
    return set(days.filter(pl.col("event_time").list.first() != pl.col("event_time").list.last())["user_id"])
