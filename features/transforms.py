"""Point-in-time features: what was known about every shopper and item just before an instant.

Everything is a Polars expression over the events strictly before `as_of`; nothing here calls `now()`. Sums run over
sorted rows with kept order, so that two runs agree to the last bit. Promotions count as known from their first
instant: one that starts at `as_of` is not known yet.

This module does not know Feast, the ranker's matrix or item rows: ids in, ids out.
"""

import math
from datetime import datetime, timedelta

import polars as pl

from features import spec

_DAY_US = 86_400_000_000
_TREND_WEEKS = 8
_ON_SALE = 0.9
"""A purchase below this share of the item's regular price counts as discounted."""


def category_name(depth: int | None = None) -> pl.Expr:
    """The category path (its first `depth` names, or all of them) as one string; empty for an item without a
    category."""
    path = pl.col("category") if depth is None else pl.col("category").list.head(depth)
    return path.list.join(" > ")


def known_events(events: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Events strictly before `as_of` that say something about taste, with their `weight`, oldest first.

    Args:
        events: The EVENTS table.
        as_of: Aware UTC instant.

    Returns:
        The same columns plus `weight` (float64), sorted by time then event id.
    """
    weights = {name: spec.EVENT_WEIGHTS.get(name, 0.0) for name in spec.EVENT_TYPES}
    weight = pl.col("event_type").replace_strict(weights, default=0.0, return_dtype=pl.Float64)
    return (
        events.filter(pl.col("event_time") < as_of)
        .with_columns(weight.alias("weight"))
        .filter(pl.col("weight") > 0)
        .sort("event_time", "event_id")
    )


def _decay(age_us: pl.Expr, half_life_days: float) -> pl.Expr:
    """0.5 ** (age / half-life), by exp, for ages in microseconds."""
    return (age_us / _DAY_US * (-math.log(2) / half_life_days)).exp()


def _us(column: str) -> pl.Expr:
    return pl.col(column).dt.timestamp("us")


# ----------------------------------------------------------------------------------------------------------------
# shoppers


def user_features(known: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """One row per shopper with the USER_FEATURES, from `known_events`.

    Args:
        known: The result of `known_events`.
        items: The ITEMS table; only events with these items count.

    Returns:
        `user_id` and the USER_FEATURES columns, sorted by `user_id`.
    """
    catalogue = items.select("item_id", leaf=category_name(), category_2=category_name(2))
    joined = known.join(catalogue, on="item_id", how="inner", maintain_order="left").join(
        _regular_prices(known), on="item_id", how="left", maintain_order="left"
    )
    last = joined.group_by("user_id").agg(last_event_us=_us("event_time").max())
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
    return table.select("user_id", *(_typed(feature) for feature in spec.USER_FEATURES)).sort("user_id")


def _typed(feature: spec.Feature) -> pl.Expr:
    """The feature's column with its default for missing values and its declared type."""
    scalars = {"int64": pl.Int64, "float32": pl.Float32, "string": pl.String}
    inner = feature.dtype.removeprefix("list[").removesuffix("]")
    if feature.dtype.startswith("list["):
        return pl.col(feature.name).fill_null(pl.lit([], dtype=pl.List(scalars[inner]))).cast(pl.List(scalars[inner]))
    return pl.col(feature.name).fill_nan(None).fill_null(feature.default).cast(scalars[inner])


def _user_scalars(joined: pl.DataFrame) -> pl.DataFrame:
    session = pl.coalesce("session_id", pl.col("event_time").dt.date().cast(pl.String))
    bought = pl.col("event_type") == "purchase"
    span_days = (_us("event_time").max() - _us("event_time").min()) / _DAY_US
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
        history_times_us=_us("event_time").tail(spec.HISTORY_LENGTH),
    )


def _pairs(joined: pl.DataFrame, last: pl.DataFrame) -> pl.DataFrame:
    """One row per shopper and item: days with an event, decayed weight, first and last time, heaviest first per
    shopper."""
    daily = (
        joined.with_columns(day=_us("event_time") // _DAY_US)
        .group_by("user_id", "item_id", "day", maintain_order=True)
        .agg(
            pl.col("weight").max(),
            pl.col("leaf", "category_2").first(),
            time_us=_us("event_time").max(),
        )
        .join(last, on="user_id", how="left", maintain_order="left")
        .with_columns(
            decayed=pl.col("weight") * _decay(pl.col("last_event_us") - pl.col("time_us"), spec.HALF_LIFE_DAYS)
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
        )
        .with_columns(gap_days=_mean_gap_days())
        .sort("user_id", "weight", "item_id", descending=[False, True, False])
    )


def _mean_gap_days() -> pl.Expr:
    span = (pl.col("last_us") - pl.col("first_us")) / _DAY_US
    return pl.when(pl.col("count") > 1).then(span / (pl.col("count") - 1)).otherwise(-1.0)


def _repeats(pairs: pl.DataFrame) -> pl.DataFrame:
    n = spec.REPEAT_LENGTH
    return pairs.group_by("user_id", maintain_order=True).agg(
        repeat_item_ids=pl.col("item_id").head(n),
        repeat_counts=pl.col("count").head(n),
        repeat_weights=pl.col("weight").head(n),
        repeat_last_us=pl.col("last_us").head(n),
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


# -------------------------------------------------------------------------------------------------------------------
# items


def item_features(known: pl.DataFrame, items: pl.DataFrame, promotions: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """One row per item with the ITEM_FEATURES, from `known_events`.

    Args:
        known: The result of `known_events(events, as_of)`.
        items: The ITEMS table; its order is kept, so that a row of the result is a row of the bundle.
        promotions: The PROMOTIONS table.
        as_of: Aware UTC instant.

    Returns:
        `item_id` and the ITEM_FEATURES columns in the order of `items`. Items nobody touched yet carry the defaults.
    """
    now_us = pl.lit(as_of).dt.timestamp("us")
    catalogue = items.select("item_id", "price", leaf=category_name())
    table = catalogue
    for frame in (
        _item_counts(known, now_us),
        _regular_prices(known),
        _recent_prices(known, as_of),
        _item_repeats(known),
        _item_promotions(promotions, as_of),
    ):
        table = table.join(frame, on="item_id", how="left", maintain_order="left")
    weight_28d = pl.col("weight_28d").fill_null(0.0)
    price = pl.coalesce("recent_price", "regular_price", "price")
    in_leaf = pl.col("leaf") != ""
    table = table.with_columns(
        leaf_weight=pl.when(in_leaf).then(weight_28d.sum().over("leaf")).otherwise(0.0),
        item_log_price=price.log1p(),
        item_discount=(1.0 - price / pl.col("regular_price")).clip(0.0, 1.0),
    ).with_columns(
        item_leaf_log_weight=pl.col("leaf_weight").log1p(),
        item_share_of_leaf=weight_28d / pl.col("leaf_weight").clip(lower_bound=1e-9),
    )
    return table.select("item_id", *(_typed(feature) for feature in spec.ITEM_FEATURES))


def _item_counts(known: pl.DataFrame, now_us: pl.Expr) -> pl.DataFrame:
    age_us = now_us - _us("event_time")
    weight = pl.col("weight")
    recent = weight.filter(age_us <= 7 * _DAY_US).sum()
    longer = weight.filter(age_us <= _TREND_WEEKS * 7 * _DAY_US).sum() / _TREND_WEEKS
    return known.group_by("item_id", maintain_order=True).agg(
        item_log_count=weight.sum().log1p(),
        item_log_users=pl.col("user_id").n_unique().log1p(),
        item_log_weight_7d=(weight * _decay(age_us, 7.0)).sum().log1p(),
        weight_28d=(weight * _decay(age_us, 28.0)).sum(),
        item_log_weight_28d=(weight * _decay(age_us, 28.0)).sum().log1p(),
        item_trend=((recent + 1.0) / (longer + 1.0)).log(),
        item_age_days=age_us.max() / _DAY_US,
    )


def _regular_prices(known: pl.DataFrame) -> pl.DataFrame:
    return known.group_by("item_id").agg(regular_price=pl.col("price").quantile(0.9, "nearest"))


def _recent_prices(known: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    recent = known.filter(pl.col("event_time") >= as_of - timedelta(days=7))
    return recent.group_by("item_id").agg(recent_price=pl.col("price").median())


def _item_repeats(known: pl.DataFrame) -> pl.DataFrame:
    """Purchases only: how many of an item's buyers came back on another day, and after how long."""
    pairs = (
        known.filter(pl.col("event_type") == "purchase")
        .with_columns(day=_us("event_time") // _DAY_US, time_us=_us("event_time"))
        .group_by("user_id", "item_id")
        .agg(count=pl.col("day").n_unique(), first_us=pl.col("time_us").min(), last_us=pl.col("time_us").max())
        .with_columns(gap_days=_mean_gap_days())
    )
    back = pl.col("count") > 1
    return pairs.group_by("item_id").agg(
        item_repeat_rate=back.mean(),
        item_gap_days=pl.col("gap_days").filter(back).median(),
    )


def _item_promotions(promotions: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    known = promotions.filter(pl.col("start_time") < as_of)
    week_ago, weeks_ago = as_of - timedelta(days=7), as_of - timedelta(weeks=_TREND_WEEKS)

    def reach(kind: str, ends_after: datetime) -> pl.Expr:
        running = (pl.col("kind") == kind) & (pl.col("end_time") > ends_after)
        return pl.col("reach").filter(running).max().fill_null(0.0)

    in_shop = pl.col("kind").is_in(["display", "mailer"]) & (pl.col("end_time") > weeks_ago)
    return known.group_by("item_id").agg(
        item_display_reach=reach("display", week_ago),
        item_mailer_reach=reach("mailer", week_ago),
        item_coupon_reach=reach("coupon", as_of),
        item_promotion_share=(pl.col("start_time").filter(in_shop).n_unique() / _TREND_WEEKS).clip(upper_bound=1.0),
    )
