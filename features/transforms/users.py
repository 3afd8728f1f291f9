"""Shoppers' features: one row per shopper, as of the shopper's own last event.

Choice: ids become numbers in the order of their texts, and the many small groups (a shopper's days with an item) are
runs of sorted arrays: a third of the time of group-bys over texts, and the same values to the last bit.

Knows nothing of items' features, nor of what "now" is: ages and decays up to now are taken where a row is encoded.
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features import spec
from features.transforms.events import DAY_US, category_name, decay, mean_gap_days, microseconds, regular_prices, typed
from features.transforms.grouping import (
    Codes,
    largest_first,
    lengths_of,
    order_by,
    starts_of,
    sums,
    within,
)

_ON_SALE = 0.9
"""A purchase below this share of the item's regular price counts as discounted."""
_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """Items as shoppers' features need them, in the order of their ids."""

    item_ids: pl.Series
    """Enum [N], whose categories are these ids: a number is an item's place here."""
    leaves: pl.Series
    """Enum [N]: the whole category path of each, in the order of the texts; empty for an item without."""
    categories: pl.Series
    """Enum [N]: likewise, of its first two levels."""
    regular_prices: pl.Series
    """float64 [N], null where nothing was asked."""

    @classmethod
    def of(cls, items: pl.DataFrame, prices: pl.DataFrame) -> "ItemFacts":
        """Args: items: The ITEMS table. prices: `regular_prices`, also of other items."""
        table = (
            items.select("item_id", leaf=category_name().fill_null(""), category=category_name(2).fill_null(""))
            .join(prices, on="item_id", how="left", maintain_order="left")
            .sort("item_id")
        )
        item_ids = table["item_id"].cast(pl.Enum(table["item_id"]))
        return cls(item_ids, _coded(table["leaf"]), _coded(table["category"]), table["regular_price"])


def user_features(known: pl.DataFrame, items: pl.DataFrame, prices: pl.DataFrame | None = None) -> pl.DataFrame:
    """One row per shopper with the USER_FEATURES, from `known_events`.

    Args:
        known: The result of `known_events`.
        items: The ITEMS table; only events with these items count.
        prices: What `regular_prices` made of more events than these; by default it is asked of `known`.

    Returns:
        `user_id` and the USER_FEATURES columns, sorted by `user_id`.
    """
    return shoppers_features(known, ItemFacts.of(items, regular_prices(known) if prices is None else prices))


def shoppers_features(known: pl.DataFrame, facts: ItemFacts) -> pl.DataFrame:
    """`user_features` over items that were made ready once.

    Args:
        known: `known_events`, or as much of them as `_Events` takes; it is enough that each shopper's events are in
            its order. Ids may be Enums: shoppers' in the order of their texts, items' of the type of `item_ids`.
        facts: Only events with these items count.

    Returns:
        As `user_features`.
    """
    events = _Events.of(known, facts)
    pairs = _Pairs.of(events)
    per_shopper = [_user_scalars(events, pairs), _histories(events), _repeats(pairs, facts.item_ids)]
    table = pl.concat([per_shopper[0], *(frame.drop("shopper") for frame in per_shopper[1:])], how="horizontal")
    for frame in (
        _affinities(pairs, facts.leaves, "leaf_names", "leaf_weights", spec.LEAF_LENGTH),
        _affinities(pairs, facts.categories, "category_names", "category_weights", spec.CATEGORY_LENGTH),
    ):
        table = table.join(frame, on="shopper", how="left", maintain_order="left")
    table = table.with_columns(user_id=events.user_ids)
    return table.select("user_id", *(typed(feature) for feature in spec.USER_FEATURES))


def _coded(texts: pl.Series) -> pl.Series:
    """Texts as an Enum, whose numbers have the order of the texts."""
    return texts if isinstance(texts.dtype, pl.Enum) else texts.cast(pl.Enum(texts.unique().drop_nulls().sort()))


def _numbers(texts: pl.Series) -> NDArray[Any]:
    return texts.to_physical().to_numpy()


@dataclass(frozen=True, slots=True)
class _Events:
    """Events with a known item, shopper by shopper in the order of `user_id`, each shopper's oldest first."""

    frame: pl.DataFrame
    """The columns of `known_events`, and `regular_price`."""
    user_ids: pl.Series
    """One for each shopper."""
    starts: Codes
    """Where each shopper's events begin."""
    shoppers: Codes
    """For each event, the place in `user_ids`; ascending."""
    items: Codes
    """For each event, the place among the items."""
    times_us: Codes

    @classmethod
    def of(cls, known: pl.DataFrame, facts: ItemFacts) -> "_Events":
        columns = ("user_id", "item_id", "event_type", "event_time", "price", "session_id", "weight")
        frame = known.select(columns).with_columns(pl.col("item_id").cast(facts.item_ids.dtype, strict=False))
        frame = frame.filter(pl.col("item_id").is_not_null()) if frame["item_id"].has_nulls() else frame
        user_ids = _coded(frame["user_id"])
        users = _numbers(user_ids)
        if (users[1:] < users[:-1]).any():
            order = order_by(users)
            frame, user_ids, users = frame[order], user_ids[order], users[order]
        begins, items = starts_of(users), _numbers(frame["item_id"]).astype(np.int64)
        starts = np.flatnonzero(begins)
        return cls(
            frame.with_columns(regular_price=facts.regular_prices.gather(items)),
            frame["user_id"][starts],
            starts,
            np.cumsum(begins) - 1,
            items,
            frame.select(microseconds("event_time")).to_series().to_numpy(),
        )

    @property
    def last_us(self) -> Codes:
        """Each shopper's last event."""
        last: Codes = self.times_us[self.starts + lengths_of(self.starts, len(self.times_us)) - 1]
        return last


@dataclass(frozen=True, slots=True)
class _Pairs:
    """One row per shopper and item, heaviest first per shopper."""

    shoppers: Codes
    items: Codes
    frame: pl.DataFrame
    """`count` (days with an event), decayed `weight`, `first_us`, `last_us`, `purchase_us`, `gap_days`."""

    @classmethod
    def of(cls, events: _Events) -> "_Pairs":
        size = len(events.times_us)
        order = order_by(events.shoppers, events.items)
        shoppers, items, times_us = events.shoppers[order], events.items[order], events.times_us[order]
        begins = starts_of(shoppers, items)
        pair_starts = np.flatnonzero(begins)
        day_starts = np.flatnonzero(begins | starts_of(times_us // DAY_US))
        day_us = times_us[day_starts + lengths_of(day_starts, size) - 1]
        day_pairs = np.cumsum(begins)[day_starts] - 1
        first_days = np.flatnonzero(starts_of(day_pairs))
        counts = lengths_of(first_days, len(day_starts))
        weights = events.frame["weight"].to_numpy()[order]
        decayed = pl.select(
            pl.lit(pl.Series(_largest(weights, day_starts)))
            * decay(pl.lit(pl.Series(events.last_us[shoppers[day_starts]] - day_us)), spec.HALF_LIFE_DAYS)
        ).to_series()
        weight = sums(day_pairs, decayed.to_numpy())
        bought = (events.frame["event_type"] == "purchase").to_numpy()[order]
        purchase_us = _largest(np.where(bought, times_us, _NEVER), pair_starts)
        shoppers, items = shoppers[pair_starts], items[pair_starts]
        heaviest = order_by(shoppers, largest_first(weight))
        frame = pl.DataFrame(
            {
                "count": counts.astype(np.uint32)[heaviest],
                "weight": weight[heaviest],
                "first_us": day_us[first_days][heaviest],
                "last_us": day_us[first_days + counts - 1][heaviest],
                "purchase_us": np.where(purchase_us == _NEVER, 0, purchase_us)[heaviest],
            }
        ).with_columns(gap_days=mean_gap_days())
        return cls(shoppers[heaviest], items[heaviest], frame)


def _largest(values: NDArray[Any], starts: Codes) -> NDArray[Any]:
    return np.maximum.reduceat(values, starts) if len(starts) else values[:0]


def _user_scalars(events: _Events, pairs: _Pairs) -> pl.DataFrame:
    session = pl.col("session_id")
    if events.frame["session_id"].has_nulls():  # days as text take longer than all the rest
        session = pl.coalesce(session, pl.col("event_time").dt.date().cast(pl.String))
    bought = pl.col("event_type") == "purchase"
    rows = events.frame.select(
        shopper=pl.Series(events.shoppers.astype(np.uint32)),
        session=session,
        log_price=pl.col("price").log1p(),
        discounted=pl.when(bought).then(pl.col("price") < _ON_SALE * pl.col("regular_price")),
    )
    new_session = pl.any_horizontal(pl.col("session", "shopper").ne_missing(pl.col("session", "shopper").shift()))
    by_shopper = pl.DataFrame(
        {
            "shopper": np.arange(len(events.starts), dtype=np.uint32),
            "last_event_us": events.last_us,
            "event_count": lengths_of(events.starts, len(events.times_us)),
            "distinct_item_count": np.bincount(pairs.shoppers, minlength=len(events.starts)),
            "span_days": (events.last_us - events.times_us[events.starts]) / DAY_US,
        }
    )
    sessions = rows.filter(new_session).group_by("shopper").agg(session_count=pl.col("session").n_unique())
    means = rows.group_by("shopper", maintain_order=True).agg(
        mean_log_price=pl.col("log_price").mean(), discount_share=pl.col("discounted").mean()
    )
    return (
        by_shopper.join(sessions, on="shopper", how="left", maintain_order="left")
        .join(means, on="shopper", how="left", maintain_order="left")
        .with_columns(
            session_gap_days=pl.when(pl.col("session_count") > 1).then(
                pl.col("span_days") / (pl.col("session_count") - 1)
            )
        )
    )


def _histories(events: _Events) -> pl.DataFrame:
    lengths = lengths_of(events.starts, len(events.times_us))
    after = np.repeat(events.starts + lengths, lengths) - np.arange(len(events.times_us))
    kept = np.flatnonzero(after <= spec.HISTORY_LENGTH)
    latest = events.frame.select("item_id", "event_type", "event_time")[kept]
    return _lists(
        events.shoppers[kept],
        latest.select(
            history_item_ids="item_id",
            history_event_types=pl.col("event_type").replace_strict(spec.EVENT_CODES, return_dtype=pl.Int64),
            history_times_us=microseconds("event_time"),
        ),
    )


def _repeats(pairs: _Pairs, item_ids: pl.Series) -> pl.DataFrame:
    kept = _head(pairs.shoppers, spec.REPEAT_LENGTH)
    frame = pairs.frame[kept]
    return _lists(
        pairs.shoppers[kept],
        pl.DataFrame(
            {
                "repeat_item_ids": item_ids[pairs.items[kept]],
                "repeat_counts": frame["count"],
                "repeat_weights": frame["weight"],
                "repeat_last_us": frame["last_us"],
                "repeat_purchase_us": frame["purchase_us"],
                "repeat_gap_days": frame["gap_days"],
            }
        ),
    )


def _affinities(pairs: _Pairs, level: pl.Series, names: str, weights: str, length: int) -> pl.DataFrame:
    texts: pl.Series = cast(pl.Enum, level.dtype).categories
    categories = _numbers(level)[pairs.items].astype(np.int64)
    named = np.flatnonzero((texts != "").to_numpy()[categories])
    shoppers, categories, weight = pairs.shoppers[named], categories[named], pairs.frame["weight"].to_numpy()[named]
    totals = (
        pl.DataFrame(
            {"shopper": shoppers, "category": categories, "key": shoppers * len(texts) + categories, "weight": weight}
        )
        .group_by("key", maintain_order=True)
        .agg(pl.col("shopper", "category").first(), pl.col("weight").sum())
        .set_sorted("shopper")
        .select("shopper", "category", share=pl.col("weight") / pl.col("weight").sum().over("shopper"))
    )
    shoppers, categories = totals["shopper"].to_numpy(), totals["category"].to_numpy()
    order = order_by(shoppers, largest_first(totals["share"].to_numpy()), categories)
    kept = order[_head(shoppers[order], length)]
    return _lists(
        shoppers[kept], pl.DataFrame({names: texts[categories[kept]], weights: totals["share"].to_numpy()[kept]})
    )


def _head(groups: Codes, length: int) -> Codes:
    """The places of the first rows of each group, where rows of one group stand together."""
    return np.flatnonzero(within(np.flatnonzero(starts_of(groups)), len(groups)) < length)


def _lists(shoppers: Codes, values: pl.DataFrame) -> pl.DataFrame:
    """One row per shopper, every column a list, from rows that are sorted by shopper."""
    keyed = values.with_columns(shopper=pl.Series(shoppers.astype(np.uint32))).set_sorted("shopper")
    return keyed.group_by("shopper", maintain_order=True).agg(pl.all())
