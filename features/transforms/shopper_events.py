"""Shoppers' events as arrays, and the facts about items that go with them: what shoppers' features are made of.

Choices:
- Ids are numbers in the order of their texts, which are compared and sorted much faster.
- A session is a hash of its name, 64 bits: sessions are only told apart, and only those of one shopper. An event
  without a session belongs to that of its day.

Knows nothing of any one feature.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features import spec
from features.transforms.events import category_name, microseconds
from features.transforms.grouping import Codes, Flags, Floats, lengths_of, order_by, starts_of

Types = NDArray[np.uint8]
"""spec.EVENT_CODES."""
Hashes = NDArray[np.uint64]

_WEIGHTS: Floats = np.zeros(max(spec.EVENT_CODES.values()) + 1)
for _name, _weight in spec.EVENT_WEIGHTS.items():
    _WEIGHTS[spec.EVENT_CODES[_name]] = _weight


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """Items as shoppers' features need them, in the order of their ids."""

    item_ids: pl.Series
    """Enum [N], whose categories are these ids: a number is an item's place here."""
    leaves: pl.Series
    """Enum [N]: the whole category path of each, in the order of the texts; empty for an item without."""
    categories: pl.Series
    """Enum [N]: likewise, of its first two levels."""
    regular_prices: Floats
    """[N], NaN where nothing was asked."""

    @classmethod
    def of(cls, items: pl.DataFrame, prices: pl.DataFrame) -> "ItemFacts":
        """Args: items: The ITEMS table. prices: `regular_prices`, also of other items."""
        table = (
            items.select("item_id", leaf=category_name().fill_null(""), category=category_name(2).fill_null(""))
            .join(prices, on="item_id", how="left", maintain_order="left")
            .sort("item_id")
        )
        item_ids = table["item_id"].cast(pl.Enum(table["item_id"]))
        regular_prices = table["regular_price"].cast(pl.Float64).to_numpy()
        return cls(item_ids, _coded(table["leaf"]), _coded(table["category"]), regular_prices)

    def places_of(self, item_ids: pl.Series) -> Codes:
        """Places of some items here, by their ids; -1 for those that are not."""
        known = item_ids.cast(self.item_ids.dtype, strict=False)
        return known.to_physical().cast(pl.Int64).fill_null(-1).to_numpy()


@dataclass(frozen=True, slots=True)
class EventColumns:
    """Columns of some events, [E] each."""

    items: Codes
    """Places in ItemFacts; -1 for an item that is not there."""
    types: Types
    times_us: Codes
    """Microseconds since 1970, UTC."""
    prices: Floats
    """Of one piece; NaN where it is not known."""
    sessions: Hashes

    def __getitem__(self, kept: Codes | Flags) -> "EventColumns":
        """Some of them."""
        return EventColumns(
            self.items[kept], self.types[kept], self.times_us[kept], self.prices[kept], self.sessions[kept]
        )


@dataclass(frozen=True, slots=True)
class ShopperEvents:
    """Events with a known item, shopper by shopper in the order of `user_ids`, each shopper's oldest first."""

    user_ids: pl.Series
    """[S], ascending; every one has an event here."""
    starts: Codes
    """[S]: where each shopper's events begin."""
    shoppers: Codes
    """[E]: the place in `user_ids`; ascending."""
    columns: EventColumns

    @classmethod
    def of(cls, user_ids: pl.Series, shoppers: Codes, columns: EventColumns) -> "ShopperEvents":
        """Leaves events of unknown items out.

        Args:
            user_ids: Ascending.
            shoppers: For each event, the place in `user_ids`; ascending, and those of one shopper oldest first.
            columns: Of the events.
        """
        if (columns.items < 0).any():
            kept = np.flatnonzero(columns.items >= 0)
            shoppers, columns = shoppers[kept], columns[kept]
        begins = starts_of(shoppers)
        starts = np.flatnonzero(begins)
        return cls(user_ids[shoppers[starts]], starts, np.cumsum(begins) - 1, columns)

    @classmethod
    def of_known(cls, known: pl.DataFrame, facts: ItemFacts) -> "ShopperEvents":
        """From `known_events`."""
        names = known["user_id"].unique().sort()
        shoppers = known["user_id"].cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64)
        order = order_by(shoppers)
        columns = EventColumns(facts.places_of(known["item_id"]), *numbers_of(known))
        return cls.of(names, shoppers[order], columns[order])

    @property
    def count(self) -> int:
        """Events."""
        return len(self.shoppers)

    @property
    def lengths(self) -> Codes:
        """[S]: events of each shopper."""
        return lengths_of(self.starts, self.count)

    @property
    def last_us(self) -> Codes:
        """[S]: each shopper's last event, microseconds since 1970, UTC."""
        last: Codes = self.columns.times_us[self.starts + self.lengths - 1]
        return last

    @property
    def weights(self) -> Floats:
        """[E]: how much each event says about taste."""
        return _WEIGHTS[self.columns.types]


def numbers_of(events: pl.DataFrame) -> tuple[Types, Codes, Floats, Hashes]:
    """Types, times, prices and sessions of events, as EventColumns has them."""
    session: pl.Expr = pl.col("session_id")
    if events["session_id"].has_nulls():  # days as text take longer than all the rest
        session = pl.coalesce(session, pl.col("event_time").dt.date().cast(pl.String))
    numbers = events.select(
        pl.col("event_type").replace_strict(spec.EVENT_CODES, return_dtype=pl.UInt8),
        microseconds("event_time"),
        pl.col("price"),
        session.hash(),
    )
    arrays: list[NDArray[Any]] = [column.to_numpy() for column in numbers.iter_columns()]
    return arrays[0], arrays[1], arrays[2], arrays[3]


def _coded(texts: pl.Series) -> pl.Series:
    """Texts as an Enum, whose numbers have the order of the texts."""
    return texts.cast(pl.Enum(texts.unique().sort()))
