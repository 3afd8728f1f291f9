"""Which events count, how much, and the expressions that shoppers' and items' features share.

Knows nothing of any one feature.
"""

import math
from datetime import datetime

import polars as pl

from features import spec

DAY_US = 86_400_000_000
"""Microseconds of a day."""


def category_name(depth: int | None = None) -> pl.Expr:
    """The category path (its first `depth` names, or all of them) as one string; empty for an item without a
    category."""
    path = pl.col("category") if depth is None else pl.col("category").list.head(depth)
    return path.list.join(" > ")


_READ = ("user_id", "item_id", "event_id", "event_type", "event_time", "price", "session_id")


def known_events(events: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Events strictly before `as_of` that say something about taste, with their `weight`, oldest first.

    Args:
        events: The EVENTS table.
        as_of: Aware UTC instant.

    Returns:
        The columns that features are made of, and `weight` (float64), sorted by time then event id.
    """
    before = events.lazy().filter(pl.col("event_time") < as_of)
    return before.pipe(weighted).sort("event_time", "event_id").collect()


def weighted(events: pl.LazyFrame) -> pl.LazyFrame:
    """Events that say something about taste, with their `weight`, as `known_events`, in the order given."""
    weights = {name: spec.EVENT_WEIGHTS.get(name, 0.0) for name in spec.EVENT_TYPES}
    weight = pl.col("event_type").replace_strict(weights, default=0.0, return_dtype=pl.Float64)
    return events.select(*_READ, weight=weight).filter(pl.col("weight") > 0)


def microseconds(column: str) -> pl.Expr:
    """A Datetime column as microseconds since 1970, Int64."""
    return pl.col(column).dt.timestamp("us")


def decay(age_us: pl.Expr, half_life_days: float) -> pl.Expr:
    """0.5 ** (age / half-life), by exp, for ages in microseconds."""
    return (age_us / DAY_US * (-math.log(2) / half_life_days)).exp()


def mean_gap_days() -> pl.Expr:
    """Mean days between `count` days with an event from `first_us` to `last_us`; -1 after only one."""
    span = (pl.col("last_us") - pl.col("first_us")) / DAY_US
    return pl.when(pl.col("count") > 1).then(span / (pl.col("count") - 1)).otherwise(-1.0)


def regular_prices(known: pl.DataFrame) -> pl.DataFrame:
    """`item_id` and `regular_price`: the 90th percentile of what was asked for the item, null if nothing was."""
    return known.group_by("item_id").agg(regular_price=pl.col("price").quantile(0.9, "nearest"))


def typed(feature: spec.Feature) -> pl.Expr:
    """The feature's column with its default for missing values and its declared type."""
    scalars = {"int64": pl.Int64, "float32": pl.Float32, "string": pl.String}
    inner = feature.dtype.removeprefix("list[").removesuffix("]")
    if feature.dtype.startswith("list["):
        return pl.col(feature.name).fill_null(pl.lit([], dtype=pl.List(scalars[inner]))).cast(pl.List(scalars[inner]))
    return pl.col(feature.name).fill_nan(None).fill_null(feature.default).cast(scalars[inner])
