"""The same point-in-time features in pandas, as someone who knows it would write them: codes for ids, no Python loops.

Here is what shoppers' and items' features share. Knows nothing of Polars but how the tables come in. What each feature
means stands in features/spec.py.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from features import spec
from features.transforms import category_name

DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Tables:
    """What both ways start from, as pandas has it; ids are texts."""

    events: Any
    """`known_events` with `time_us`, in its order."""
    items: Any
    """`item_id`, `price`, `leaf`, `category_2`, in the order of the bundle."""
    promotions: Any

    @classmethod
    def of(cls, known: pl.DataFrame, items: pl.DataFrame, promotions: pl.DataFrame) -> "Tables":
        """Converted once, outside what is timed."""
        events = known.with_columns(time_us=pl.col("event_time").dt.timestamp("us")).to_pandas()
        levels = {"leaf": category_name().fill_null(""), "category_2": category_name(2).fill_null("")}
        return cls(events, items.select("item_id", "price", **levels).to_pandas(), promotions.to_pandas())


def coded(events: Any, *columns: str) -> Any:
    """Columns of texts as categories, whose codes have the order of the texts."""
    return events.assign(**{column: pd.Categorical(events[column]) for column in columns})


def regular_prices(events: Any) -> Any:
    return events.groupby("item_id", observed=True)["price"].quantile(0.9, interpolation="nearest")


def decay(age_us: Any, half_life_days: float) -> Any:
    return np.exp(age_us / DAY_US * (-np.log(2) / half_life_days))


def gap_days(pairs: Any) -> Any:
    span = (pairs["last_us"] - pairs["first_us"]) / DAY_US
    return (span / (pairs["count"] - 1)).where(pairs["count"] > 1, -1.0)


def finished(table: Any, key: str, features: tuple[spec.Feature, ...]) -> Any:
    """Defaults for what is missing, declared types, declared order."""
    finished = {key: table[key]}
    for feature in features:
        column = table[feature.name]
        if not feature.dtype.startswith("list["):
            column = column.fillna(feature.default).astype(feature.dtype)
        finished[feature.name] = column
    return pd.DataFrame(finished)
