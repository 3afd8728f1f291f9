"""Items' features: one row per item, as of an instant.

Knows nothing of shoppers' features.
"""

from datetime import datetime, timedelta

import polars as pl

from features import spec
from features.transforms.events import DAY_US, category_name, decay, mean_gap_days, microseconds, regular_prices, typed

_TREND_WEEKS = 8


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
        regular_prices(known),
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
        item_share_of_leaf=pl.when(pl.col("leaf_weight") > 0).then(weight_28d / pl.col("leaf_weight")),
    )
    return table.select("item_id", *(typed(feature) for feature in spec.ITEM_FEATURES))


def _item_counts(known: pl.DataFrame, now_us: pl.Expr) -> pl.DataFrame:
    age_us = now_us - microseconds("event_time")
    weight = pl.col("weight")
    recent = weight.filter(age_us <= 7 * DAY_US).sum()
    longer = weight.filter(age_us <= _TREND_WEEKS * 7 * DAY_US).sum() / _TREND_WEEKS
    return known.group_by("item_id", maintain_order=True).agg(
        item_log_count=weight.sum().log1p(),
        item_log_users=pl.col("user_id").n_unique().log1p(),
        item_log_weight_7d=(weight * decay(age_us, 7.0)).sum().log1p(),
        weight_28d=(weight * decay(age_us, 28.0)).sum(),
        item_log_weight_28d=(weight * decay(age_us, 28.0)).sum().log1p(),
        item_trend=((recent + 1.0) / (longer + 1.0)).log(),
        item_age_days=age_us.max() / DAY_US,
        item_idle_days=age_us.min() / DAY_US,
    )


def _recent_prices(known: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    recent = known.filter(pl.col("event_time") >= as_of - timedelta(days=7))
    return recent.group_by("item_id").agg(recent_price=pl.col("price").median())


def _item_repeats(known: pl.DataFrame) -> pl.DataFrame:
    """Purchases only: how many of an item's buyers came back on another day, and after how long."""
    pairs = (
        known.filter(pl.col("event_type") == "purchase")
        .with_columns(day=microseconds("event_time") // DAY_US, time_us=microseconds("event_time"))
        .group_by("user_id", "item_id")
        .agg(count=pl.col("day").n_unique(), first_us=pl.col("time_us").min(), last_us=pl.col("time_us").max())
        .with_columns(gap_days=mean_gap_days())
    )
    back = pl.col("count") > 1
    return pairs.group_by("item_id").agg(
        item_repeat_rate=back.mean(),
        item_gap_days=pl.col("gap_days").filter(back).median(),
    )


def _item_promotions(promotions: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    known = promotions.filter(pl.col("start_time") < as_of)
    week_ago = as_of - timedelta(days=7)

    def reach(kind: str, ends_after: datetime) -> pl.Expr:
        running = (pl.col("kind") == kind) & (pl.col("end_time") > ends_after)
        return pl.col("reach").filter(running).max().fill_null(0.0)

    return (
        known.group_by("item_id")
        .agg(
            item_display_reach=reach("display", week_ago),
            item_mailer_reach=reach("mailer", week_ago),
            item_coupon_reach=reach("coupon", as_of),
        )
        .join(_promoted_shares(known, as_of), on="item_id", how="left")
    )


def _promoted_shares(known: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Share of the last weeks' time that display or mailer covered; where two overlap, time counts once."""
    end_us = pl.lit(as_of).dt.timestamp("us")
    start_us = end_us - _TREND_WEEKS * 7 * DAY_US
    covered_before = pl.col("end_us").cum_max().shift(1).over("item_id")
    covered_us = pl.col("end_us") - pl.max_horizontal("start_us", covered_before)
    return (
        known.filter(pl.col("kind").is_in(["display", "mailer"]))
        .select(
            "item_id",
            start_us=pl.max_horizontal(microseconds("start_time"), start_us),
            end_us=pl.min_horizontal(microseconds("end_time"), end_us),
        )
        .sort("item_id", "start_us")
        .with_columns(covered_us=covered_us.clip(lower_bound=0))
        .group_by("item_id")
        .agg(item_promotion_share=pl.col("covered_us").sum() / (_TREND_WEEKS * 7 * DAY_US))
    )
