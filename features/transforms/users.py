"""Shoppers' features: one row per shopper, as of the shopper's own last event.

Knows nothing of items' features, nor of what "now" is: ages and decays up to now are taken where a row is encoded.
"""

import polars as pl

from features import spec
from features.transforms.events import DAY_US, category_name, decay, mean_gap_days, microseconds, regular_prices, typed

_ON_SALE = 0.9
"""A purchase below this share of the item's regular price counts as discounted."""


def user_features(known: pl.DataFrame, items: pl.DataFrame, prices: pl.DataFrame | None = None) -> pl.DataFrame:
    """One row per shopper with the USER_FEATURES, from `known_events`.

    Args:
        known: The result of `known_events`.
        items: The ITEMS table; only events with these items count.
        prices: What `regular_prices` made of more events than these; by default it is asked of `known`.

    Returns:
        `user_id` and the USER_FEATURES columns, sorted by `user_id`.
    """
    catalogue = items.select("item_id", leaf=category_name(), category_2=category_name(2))
    joined = known.join(catalogue, on="item_id", how="inner", maintain_order="left").join(
        regular_prices(known) if prices is None else prices, on="item_id", how="left", maintain_order="left"
    )
    last = joined.group_by("user_id").agg(last_event_us=microseconds("event_time").max())
    pairs = _pairs(joined, last)
    frames = [
        last,
        _user_scalars(joined),
        _histories(joined),
        _repeats(pairs),
        _affinities(pairs, "leaf", "leaf_names", "leaf_weights", spec.LEAF_LENGTH),
        _affinities(pairs, "category_2", "category_names", "category_weights", spec.CATEGORY_LENGTH),
    ]
    table = frames[0]
    for frame in frames[1:]:
        table = table.join(frame, on="user_id", how="left")
    return table.select("user_id", *(typed(feature) for feature in spec.USER_FEATURES)).sort("user_id")


def _user_scalars(joined: pl.DataFrame) -> pl.DataFrame:
    session = pl.col("session_id")
    if joined["session_id"].has_nulls():  # days as text take longer than all the rest
        session = pl.coalesce(session, pl.col("event_time").dt.date().cast(pl.String))
    bought = pl.col("event_type") == "purchase"
    span_days = (microseconds("event_time").max() - microseconds("event_time").min()) / DAY_US
    return (
        joined.with_columns(session=session)
        .group_by("user_id", maintain_order=True)
        .agg(
            event_count=pl.len(),
            session_count=pl.col("session").n_unique(),
            distinct_item_count=pl.col("item_id").n_unique(),
            span_days=span_days,
            mean_log_price=pl.col("price").log1p().mean(),
            discount_share=(pl.col("price") < _ON_SALE * pl.col("regular_price")).filter(bought).mean(),
        )
        .with_columns(
            session_gap_days=pl.when(pl.col("session_count") > 1).then(
                pl.col("span_days") / (pl.col("session_count") - 1)
            )
        )
    )


def _histories(joined: pl.DataFrame) -> pl.DataFrame:
    code = pl.col("event_type").replace_strict(spec.EVENT_CODES, return_dtype=pl.Int64)
    return joined.group_by("user_id", maintain_order=True).agg(
        history_item_ids=pl.col("item_id").tail(spec.HISTORY_LENGTH),
        history_event_types=code.tail(spec.HISTORY_LENGTH),
        history_times_us=microseconds("event_time").tail(spec.HISTORY_LENGTH),
    )


def _pairs(joined: pl.DataFrame, last: pl.DataFrame) -> pl.DataFrame:
    """One row per shopper and item: days with an event, decayed weight, first and last time, heaviest first per
    shopper."""
    daily = (
        joined.with_columns(day=microseconds("event_time") // DAY_US)
        .group_by("user_id", "item_id", "day", maintain_order=True)
        .agg(
            pl.col("weight").max(),
            pl.col("leaf", "category_2").first(),
            time_us=microseconds("event_time").max(),
            purchase_us=microseconds("event_time").filter(pl.col("event_type") == "purchase").max(),
        )
        .join(last, on="user_id", how="left", maintain_order="left")
        .with_columns(
            decayed=pl.col("weight") * decay(pl.col("last_event_us") - pl.col("time_us"), spec.HALF_LIFE_DAYS)
        )
    )
    return (
        daily.group_by("user_id", "item_id", maintain_order=True)
        .agg(
            pl.col("leaf", "category_2").first(),
            count=pl.len(),
            weight=pl.col("decayed").sum(),
            first_us=pl.col("time_us").min(),
            last_us=pl.col("time_us").max(),
            purchase_us=pl.col("purchase_us").max().fill_null(0),
        )
        .with_columns(gap_days=mean_gap_days())
        .sort("user_id", "weight", "item_id", descending=[False, True, False])
    )


def _repeats(pairs: pl.DataFrame) -> pl.DataFrame:
    n = spec.REPEAT_LENGTH
    return pairs.group_by("user_id", maintain_order=True).agg(
        repeat_item_ids=pl.col("item_id").head(n),
        repeat_counts=pl.col("count").head(n),
        repeat_weights=pl.col("weight").head(n),
        repeat_last_us=pl.col("last_us").head(n),
        repeat_purchase_us=pl.col("purchase_us").head(n),
        repeat_gap_days=pl.col("gap_days").head(n),
    )


def _affinities(pairs: pl.DataFrame, level: str, names: str, weights: str, length: int) -> pl.DataFrame:
    share = pl.col("weight") / pl.col("weight").sum().over("user_id")
    return (
        pairs.filter(pl.col(level) != "")
        .group_by("user_id", level, maintain_order=True)
        .agg(pl.col("weight").sum())
        .with_columns(share=share)
        .sort("user_id", "share", level, descending=[False, True, False])
        .group_by("user_id", maintain_order=True)
        .agg(pl.col(level).head(length).alias(names), pl.col("share").head(length).alias(weights))
    )
