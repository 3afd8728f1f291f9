"""Shoppers' features: one row per shopper, as of the shopper's own last event.

Choice: the many small groups (a shopper's days with an item) are runs of sorted arrays, in a third of the time of
group-bys over texts.

Knows nothing of items' features, nor of what "now" is: ages and decays up to now are taken where a row is encoded.
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features import spec
from features.transforms.events import DAY_US, decay, mean_gap_days, regular_prices, typed
from features.transforms.grouping import Codes, Floats, largest_first, lengths_of, order_by, starts_of, sums, within
from features.transforms.shopper_events import ItemFacts, ShopperEvents

_ON_SALE = 0.9
"""A purchase below this share of the item's regular price counts as discounted."""
_PURCHASE = spec.EVENT_CODES["purchase"]
_NEVER = np.iinfo(np.int64).min


def user_features(known: pl.DataFrame, items: pl.DataFrame, prices: pl.DataFrame | None = None) -> pl.DataFrame:
    """One row per shopper with the USER_FEATURES, from `known_events`.

    Args:
        known: The result of `known_events`.
        items: The ITEMS table; only events with these items count.
        prices: What `regular_prices` made of more events than these; by default it is asked of `known`.

    Returns:
        `user_id` and the USER_FEATURES columns, sorted by `user_id`.
    """
    facts = ItemFacts.of(items, regular_prices(known) if prices is None else prices)
    return shoppers_features(ShopperEvents.of_known(known, facts), facts)


def shoppers_features(events: ShopperEvents, facts: ItemFacts) -> pl.DataFrame:
    """`user_features` of events that are numbers already.

    Args:
        events: Of the shoppers that get a row.
        facts: Whose places `events` holds.

    Returns:
        As `user_features`.
    """
    pairs = _Pairs.of(events)
    per_shopper = [_user_scalars(events, pairs, facts), _histories(events, facts), _repeats(pairs, facts)]
    table = pl.concat([per_shopper[0], *(frame.drop("shopper") for frame in per_shopper[1:])], how="horizontal")
    for frame in (
        _affinities(pairs, facts.leaves, "leaf_names", "leaf_weights", spec.LEAF_LENGTH),
        _affinities(pairs, facts.categories, "category_names", "category_weights", spec.CATEGORY_LENGTH),
    ):
        table = table.join(frame, on="shopper", how="left", maintain_order="left")
    table = table.with_columns(user_id=events.user_ids)
    return table.select("user_id", *(typed(feature) for feature in spec.USER_FEATURES))


@dataclass(frozen=True, slots=True)
class _Pairs:
    """One row per shopper and item, heaviest first per shopper."""

    shoppers: Codes
    items: Codes
    frame: pl.DataFrame
    """`count` (days with an event), decayed `weight`, `first_us`, `last_us`, `purchase_us`, `gap_days`."""

    @classmethod
    def of(cls, events: ShopperEvents) -> "_Pairs":
        columns = events.columns
        order = order_by(events.shoppers, columns.items)
        shoppers, items, times_us = events.shoppers[order], columns.items[order], columns.times_us[order]
        begins = starts_of(shoppers, items)
        pair_starts = np.flatnonzero(begins)
        day_starts = np.flatnonzero(begins | starts_of(times_us // DAY_US))
        day_us = times_us[day_starts + lengths_of(day_starts, events.count) - 1]
        day_pairs = np.cumsum(begins)[day_starts] - 1
        first_days = np.flatnonzero(starts_of(day_pairs))
        counts = lengths_of(first_days, len(day_starts))
        decayed = pl.select(
            pl.lit(pl.Series(_largest(events.weights[order], day_starts)))
            * decay(pl.lit(pl.Series(events.last_us[shoppers[day_starts]] - day_us)), spec.HALF_LIFE_DAYS)
        ).to_series()
        weight = sums(day_pairs, decayed.to_numpy())
        bought = columns.types[order] == _PURCHASE
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


def _user_scalars(events: ShopperEvents, pairs: _Pairs, facts: ItemFacts) -> pl.DataFrame:
    columns, size = events.columns, len(events.starts)
    prices, regular_prices = columns.prices, facts.regular_prices[columns.items]
    has_price = ~np.isnan(prices)
    priced = np.flatnonzero(has_price)
    log_prices = pl.Series(prices[priced]).log1p().to_numpy()
    compared = (columns.types == _PURCHASE) & has_price & ~np.isnan(regular_prices)
    discounted = compared & (prices < _ON_SALE * regular_prices)
    span_days = (events.last_us - columns.times_us[events.starts]) / DAY_US
    session_counts = _session_counts(events)
    return pl.DataFrame(
        {
            "shopper": np.arange(size, dtype=np.uint32),
            "last_event_us": events.last_us,
            "event_count": events.lengths,
            "session_count": session_counts,
            "distinct_item_count": np.bincount(pairs.shoppers, minlength=size),
            "session_gap_days": np.where(session_counts > 1, span_days / np.maximum(session_counts - 1, 1), np.nan),
            "mean_log_price": _means(events.shoppers[priced], log_prices, size),
            "discount_share": _shares(events.shoppers, discounted, compared, size),
        }
    )


def _session_counts(events: ShopperEvents) -> Codes:
    """How many different sessions each shopper had."""
    changes = np.flatnonzero(starts_of(events.shoppers, events.columns.sessions))
    shoppers, sessions = events.shoppers[changes], events.columns.sessions[changes]
    order = np.lexsort((sessions, shoppers))
    distinct = starts_of(shoppers[order], sessions[order])
    return np.bincount(shoppers[order][distinct], minlength=len(events.starts))


def _means(shoppers: Codes, values: Floats, size: int) -> Floats:
    """Mean of each shopper's values; NaN for none."""
    counts = np.bincount(shoppers, minlength=size)
    means = np.full(size, np.nan)
    some = np.flatnonzero(counts)
    means[some] = sums(np.repeat(np.arange(len(some)), counts[some]), values) / counts[some]
    return means


def _shares(shoppers: Codes, chosen: NDArray[np.bool_], among: NDArray[np.bool_], size: int) -> Floats:
    """Share of the chosen among each shopper's; NaN where there are none."""
    whole = np.bincount(shoppers[among], minlength=size)
    part = np.bincount(shoppers[chosen], minlength=size)
    shares = np.full(size, np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


def _histories(events: ShopperEvents, facts: ItemFacts) -> pl.DataFrame:
    after = np.repeat(events.starts + events.lengths, events.lengths) - np.arange(events.count)
    kept = np.flatnonzero(after <= spec.HISTORY_LENGTH)
    latest = events.columns[kept]
    return _lists(
        events.shoppers[kept],
        pl.DataFrame(
            {
                "history_item_ids": facts.item_ids[latest.items],
                "history_event_types": latest.types.astype(np.int64),
                "history_times_us": latest.times_us,
            }
        ),
    )


def _repeats(pairs: _Pairs, facts: ItemFacts) -> pl.DataFrame:
    kept = _head(pairs.shoppers, spec.REPEAT_LENGTH)
    frame = pairs.frame[kept]
    return _lists(
        pairs.shoppers[kept],
        pl.DataFrame(
            {
                "repeat_item_ids": facts.item_ids[pairs.items[kept]],
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
    categories = level.to_physical().to_numpy()[pairs.items].astype(np.int64)
    named = np.flatnonzero((texts != "").to_numpy()[categories])
    order = named[order_by(pairs.shoppers[named], categories[named])]
    begins = starts_of(pairs.shoppers[order], categories[order])
    weight = sums(np.cumsum(begins) - 1, pairs.frame["weight"].to_numpy()[order])
    shoppers, categories = pairs.shoppers[order[begins]], categories[order[begins]]
    theirs = np.cumsum(starts_of(shoppers)) - 1
    share = weight / sums(theirs, weight)[theirs]
    heaviest = order_by(shoppers, largest_first(share), categories)
    kept = heaviest[_head(shoppers[heaviest], length)]
    return _lists(shoppers[kept], pl.DataFrame({names: texts[categories[kept]], weights: share[kept]}))


def _head(groups: Codes, length: int) -> Codes:
    """The places of the first rows of each group, where rows of one group stand together."""
    return np.flatnonzero(within(np.flatnonzero(starts_of(groups)), len(groups)) < length)


def _lists(shoppers: Codes, values: pl.DataFrame) -> pl.DataFrame:
    """One row per shopper, every column a list, from rows that are sorted by shopper."""
    keyed = values.with_columns(shopper=pl.Series(shoppers.astype(np.uint32))).set_sorted("shopper")
    return keyed.group_by("shopper", maintain_order=True).agg(pl.all())
