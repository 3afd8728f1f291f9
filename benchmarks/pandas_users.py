"""Shoppers' features in pandas: `features.transforms.user_features`, value for value."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.pandas_tables import DAY_US, Tables, coded, decay, finished, gap_days, regular_prices
from features import spec

_ON_SALE = 0.9


def pandas_user_features(tables: Tables) -> Any:
    """`features.transforms.user_features`."""
    catalogue = tables.items.sort_values("item_id").reset_index(drop=True)
    every = coded(tables.events, "user_id", "item_id", "event_type", "session_id")
    regular = regular_prices(every)
    events = every[every["item_id"].isin(catalogue["item_id"])]
    ids = events["item_id"].cat.categories
    items = pd.Series(np.arange(len(catalogue)), index=catalogue["item_id"]).reindex(ids).to_numpy()
    regular_of = regular.reindex(ids).to_numpy()
    codes = events["item_id"].cat.codes.to_numpy()
    events = events.assign(
        item=items[codes].astype(np.int64), regular_price=regular_of[codes], shopper=events["user_id"].cat.codes
    )
    events = events.sort_values("shopper", kind="stable")
    pairs = _pairs(events)
    table = _user_scalars(events)
    table = table.join(_histories(events)).join(_repeats(pairs, catalogue))
    for level, prefix, length in (
        ("leaf", "leaf", spec.LEAF_LENGTH),
        ("category_2", "category", spec.CATEGORY_LENGTH),
    ):
        table = table.join(_affinities(pairs, catalogue[level], prefix, length))
    table.insert(0, "user_id", events["user_id"].cat.categories[table.index.to_numpy()])
    return finished(table.reset_index(drop=True), "user_id", spec.USER_FEATURES)


def _pairs(events: Any) -> Any:
    """A row per shopper and item, heaviest first per shopper, equal ones by item."""
    last_us = events.groupby("shopper")["time_us"].transform("last")
    rows = events[["shopper", "item", "time_us", "weight"]].assign(day=events["time_us"] // DAY_US, shopper_us=last_us)
    days = (
        rows.groupby(["shopper", "item", "day"])
        .agg(weight=("weight", "max"), day_us=("time_us", "last"), shopper_us=("shopper_us", "last"))
        .reset_index()
    )
    days["weight"] *= decay(days["shopper_us"] - days["day_us"], spec.HALF_LIFE_DAYS)
    pairs = days.groupby(["shopper", "item"]).agg(
        count=("day", "size"), weight=("weight", "sum"), first_us=("day_us", "first"), last_us=("day_us", "last")
    )
    bought = events[events["event_type"] == "purchase"].groupby(["shopper", "item"])["time_us"].max()
    pairs["purchase_us"] = bought.reindex(pairs.index, fill_value=0)
    pairs["gap_days"] = gap_days(pairs)
    return pairs.reset_index().sort_values(["shopper", "weight"], ascending=[True, False], kind="stable")


def _user_scalars(events: Any) -> Any:
    session = events["session_id"].cat.codes.astype(np.int64)
    day = -2 - events["time_us"] // DAY_US  # a day is a session of its own where there is none
    bought = events["event_type"] == "purchase"
    known = bought & events["price"].notna() & events["regular_price"].notna()
    rows = events.assign(
        session=session.where(session >= 0, day),
        log_price=np.log1p(events["price"]),
        discounted=(events["price"] < _ON_SALE * events["regular_price"]).astype(float).where(known),
    )
    table = rows.groupby("shopper").agg(
        first_us=("time_us", "first"),
        last_event_us=("time_us", "last"),
        event_count=("time_us", "size"),
        session_count=("session", "nunique"),
        distinct_item_count=("item", "nunique"),
        mean_log_price=("log_price", "mean"),
        discount_share=("discounted", "mean"),
    )
    span = (table["last_event_us"] - table["first_us"]) / DAY_US
    table["session_gap_days"] = (span / (table["session_count"] - 1)).where(table["session_count"] > 1)
    return table


def _histories(events: Any) -> Any:
    latest = events.groupby("shopper").tail(spec.HISTORY_LENGTH)
    codes = np.array([spec.EVENT_CODES[name] for name in latest["event_type"].cat.categories])
    return _lists(
        latest["shopper"].to_numpy(),
        {
            "history_item_ids": latest["item_id"].astype(object).to_numpy(),
            "history_event_types": codes[latest["event_type"].cat.codes],
            "history_times_us": latest["time_us"].to_numpy(),
        },
    )


def _repeats(pairs: Any, catalogue: Any) -> Any:
    kept = pairs.groupby("shopper").head(spec.REPEAT_LENGTH)
    ids = catalogue["item_id"].to_numpy()[kept["item"].to_numpy()]
    names = {"count": "repeat_counts", "weight": "repeat_weights", "last_us": "repeat_last_us"} | {
        "purchase_us": "repeat_purchase_us",
        "gap_days": "repeat_gap_days",
    }
    columns = {new: kept[old].to_numpy() for old, new in names.items()}
    return _lists(kept["shopper"].to_numpy(), {"repeat_item_ids": ids, **columns})


def _affinities(pairs: Any, level: Any, prefix: str, length: int) -> Any:
    level = level.astype("category")
    rows = pairs[["shopper", "weight"]].assign(category=level.cat.codes.to_numpy()[pairs["item"].to_numpy()])
    if "" in level.cat.categories:
        rows = rows[rows["category"] != level.cat.categories.get_loc("")]
    totals = rows.groupby(["shopper", "category"])["weight"].sum().reset_index()
    totals["share"] = totals["weight"] / totals.groupby("shopper")["weight"].transform("sum")
    totals = totals.sort_values(["shopper", "share"], ascending=[True, False], kind="stable")
    kept = totals.groupby("shopper").head(length)
    names = level.cat.categories.to_numpy()[kept["category"].to_numpy()]
    columns = {f"{prefix}_names": names, f"{prefix}_weights": kept["share"].to_numpy()}
    return _lists(kept["shopper"].to_numpy(), columns)


def _lists(shoppers: NDArray[Any], columns: dict[str, NDArray[Any]]) -> Any:
    """One row per shopper, every column its array, from rows that are sorted by shopper."""
    names, starts = np.unique(shoppers, return_index=True)
    cells = {}
    for column, values in columns.items():
        cell = np.empty(len(names), dtype=object)
        cell[:] = np.split(values, starts[1:])
        cells[column] = cell
    return pd.DataFrame(cells, index=names)
