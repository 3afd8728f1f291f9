"""Items' features in pandas: `features.transforms.item_features`, value for value."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.pandas_tables import DAY_US, Tables, coded, decay, finished, gap_days, regular_prices
from features import spec

_TREND_WEEKS = 8


def pandas_item_features(tables: Tables, as_of: datetime) -> Any:
    """`features.transforms.item_features`."""
    events, now_us = coded(tables.events, "user_id", "item_id", "event_type"), round(as_of.timestamp() * 1e6)
    table = tables.items[["item_id", "price", "leaf"]].set_index("item_id")
    table = table.join(_item_counts(events, now_us)).join(regular_prices(events).rename("regular_price"))
    recent = events[events["time_us"] >= now_us - 7 * DAY_US]
    table = table.join(recent.groupby("item_id", observed=True)["price"].median().rename("recent_price"))
    table = table.join(_item_repeats(events)).join(_promotions(tables.promotions, as_of))
    weight = table["weight_28d"].fillna(0.0)
    leaf_weight = weight.groupby(table["leaf"]).transform("sum").where(table["leaf"] != "", 0.0)
    price = table["recent_price"].fillna(table["regular_price"]).fillna(table["price"])
    table = table.assign(
        item_log_price=np.log1p(price),
        item_discount=(1.0 - price / table["regular_price"]).clip(0.0, 1.0),
        item_leaf_log_weight=np.log1p(leaf_weight),
        item_share_of_leaf=(weight / leaf_weight).where(leaf_weight > 0),
    )
    return finished(table.reset_index(), "item_id", spec.ITEM_FEATURES)


def _item_counts(events: Any, now_us: int) -> Any:
    age_us, weight = now_us - events["time_us"], events["weight"]
    rows = events[["item_id", "user_id", "weight"]].assign(
        age_us=age_us,
        user=events["user_id"].cat.codes,
        week=weight * decay(age_us, 7.0),
        month=weight * decay(age_us, 28.0),
        recent=weight.where(age_us <= 7 * DAY_US, 0.0),
        longer=weight.where(age_us <= _TREND_WEEKS * 7 * DAY_US, 0.0),
    )
    sums = rows.groupby("item_id", observed=True).agg(
        weight=("weight", "sum"), users=("user", "nunique"), week=("week", "sum"), weight_28d=("month", "sum"),
        recent=("recent", "sum"), longer=("longer", "sum"), oldest=("age_us", "max"), newest=("age_us", "min"),
    )  # fmt: skip
    return pd.DataFrame(
        {
            "item_log_count": np.log1p(sums["weight"]),
            "item_log_users": np.log1p(sums["users"]),
            "item_log_weight_7d": np.log1p(sums["week"]),
            "item_log_weight_28d": np.log1p(sums["weight_28d"]),
            "item_trend": np.log((sums["recent"] + 1.0) / (sums["longer"] / _TREND_WEEKS + 1.0)),
            "item_age_days": sums["oldest"] / DAY_US,
            "item_idle_days": sums["newest"] / DAY_US,
            "weight_28d": sums["weight_28d"],
        }
    )


def _item_repeats(events: Any) -> Any:
    bought = events[events["event_type"] == "purchase"]
    rows = pd.DataFrame(
        {
            "user": bought["user_id"].cat.codes,
            "item": bought["item_id"].cat.codes,
            "time_us": bought["time_us"],
            "day": bought["time_us"] // DAY_US,
        }
    )
    pairs = rows.groupby(["user", "item"], sort=False).agg(
        count=("day", "nunique"), first_us=("time_us", "min"), last_us=("time_us", "max")
    )
    pairs["gap_days"] = gap_days(pairs)
    back = pairs["count"] > 1
    found = pd.DataFrame(
        {
            "item_repeat_rate": back.groupby("item").mean(),
            "item_gap_days": pairs.loc[back, "gap_days"].groupby("item").median(),
        }
    )
    found.index = events["item_id"].cat.categories[found.index.to_numpy()]
    return found


def _promotions(promotions: Any, as_of: datetime) -> Any:
    known = promotions[promotions["start_time"] < as_of]
    week_ago, found = as_of - timedelta(days=7), {}
    for kind, ends_after in (("display", week_ago), ("mailer", week_ago), ("coupon", as_of)):
        running = known[(known["kind"] == kind) & (known["end_time"] > ends_after)]
        found[f"item_{kind}_reach"] = running.groupby("item_id")["reach"].max()
    start = pd.Timestamp(as_of - timedelta(weeks=_TREND_WEEKS))
    shown = known[known["kind"].isin(["display", "mailer"])]
    spans = pd.DataFrame(
        {
            "item_id": shown["item_id"],
            "start": shown["start_time"].clip(lower=start),
            "end": shown["end_time"].clip(upper=pd.Timestamp(as_of)),
        }
    ).sort_values(["item_id", "start"])
    before = spans.groupby("item_id")["end"].cummax().groupby(spans["item_id"]).shift(1)
    begins = spans["start"].where(before.isna() | (before < spans["start"]), before)
    covered = (spans["end"] - begins).dt.total_seconds().clip(lower=0.0)
    share = covered.groupby(spans["item_id"]).sum() / (_TREND_WEEKS * 7 * 86_400)
    return pd.DataFrame({**found, "item_promotion_share": share})
