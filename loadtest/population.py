"""Who visits the shop, and what they come for: a few do most of it.

Choices: shoppers are those of the shop's own data, the most active first, and items those of its bundle that may be
shown, the most popular first; both are drawn by Zipf's law with exponent 1, so that the k-th of them comes up 1/k as
often as the first. That is about how demand falls with rank in retail, and it keeps the popular rows of every store and
cache as warm as they are in a shop. Everything drawn comes from the generator that is handed in.

Knows nothing of calls.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Self

import numpy as np
import polars as pl

from features import bundle as files
from features.adapters import load
from features.bundle import Bundle, open_bundle, serving_path
from features.transforms import known_events

ZIPF_EXPONENT = 1.0
SEARCH_RESULTS = 100
"""How many hits a search hands on to be ranked, at most."""
STRANGERS = 2_000
"""How many shoppers come where no data says who they are."""

_WORD = re.compile(r"[^\W\d_]{3,}")


class Zipf:
    """Places 0, 1, …, drawn by Zipf's law."""

    def __init__(self, count: int) -> None:
        """Args: count: of the places, 1 or more."""
        self._upper = list(accumulate(place**-ZIPF_EXPONENT for place in range(1, count + 1)))

    def draw(self, rng: Random) -> int:
        """A place, 0 to count - 1."""
        return bisect_right(self._upper, rng.random() * self._upper[-1], hi=len(self._upper) - 1)


@dataclass(frozen=True, slots=True)
class Population:
    """The shoppers and the items of a load test."""

    shoppers: Sequence[str]
    """Ids, the most active first."""
    items: Sequence[str]
    """Ids of what may be shown, the most popular first."""
    prices: Mapping[str, float]
    """Item id to its price, where that is known."""
    hits: Mapping[str, Sequence[str]]
    """A word of the shop's titles, in small letters, to the items that have it, the most popular first; at most
    SEARCH_RESULTS."""
    words: Mapping[str, Sequence[str]]
    """Item id to the words of its title, where it has any."""
    _of_shoppers: Zipf
    _of_items: Zipf

    @classmethod
    def of(cls, bundle: Path, data: str | None, cache: Path) -> Self:
        """The population of a shop.

        Args:
            bundle: a bundle's folder, or the pointer `bundles/serving`.
            data: where shoppers' histories come from, ADAPTER or ADAPTER:DIR, as the shop's online store was filled
                from; None: STRANGERS whom the shop does not know yet, whose lists are cheaper to make.
            cache: where adapters keep prepared copies.

        Raises:
            BundleError: `bundle` is none.
            AdapterError, SchemaError: `data` cannot be loaded.
            ValueError: nobody in the data did anything before the bundle was made, or no item may be shown.
        """
        opened = open_bundle(serving_path(bundle.parent) if bundle.is_file() else bundle)
        shoppers = _strangers() if data is None else _by_activity(opened, data, cache)
        return cls.from_tables(shoppers, _by_popularity(opened))

    @classmethod
    def from_tables(cls, shoppers: Sequence[str], items: pl.DataFrame) -> Self:
        """A population of these shoppers and of `item_id`, `title` and `price`, both in the order of their demand.

        Raises:
            ValueError: there are none of either.
        """
        if not shoppers or items.is_empty():
            raise ValueError(f"population: {len(shoppers)} shoppers and {items.height} items; needs one of each")
        ids = items["item_id"].to_list()
        words = dict(zip(ids, map(_words, items["title"]), strict=True))
        prices = {item: price for item, price in zip(ids, items["price"], strict=True) if price is not None}
        return cls(list(shoppers), ids, prices, _hits(words), words, Zipf(len(shoppers)), Zipf(len(ids)))

    def shopper(self, rng: Random) -> str:
        """A known shopper's id."""
        return self.shoppers[self._of_shoppers.draw(rng)]

    def item(self, rng: Random) -> str:
        """An item that somebody comes for."""
        return self.items[self._of_items.draw(rng)]

    def query(self, rng: Random) -> str:
        """What a shopper types who looks for an item: a word of its title, which other items may have as well; the
        item's own id where its title has no words."""
        item = self.item(rng)
        words = self.words[item]
        return rng.choice(words) if words else item

    def search(self, query: str) -> Sequence[str]:
        """What the shop's own search finds, to be ranked: SEARCH_RESULTS items at most; nothing is also possible."""
        return self.hits.get(query, [query] if query in self.words else [])


def _strangers() -> list[str]:
    return [f"load-shopper-{number}" for number in range(STRANGERS)]


def _by_activity(bundle: Bundle, data: str, cache: Path) -> list[str]:
    """Everybody of whom the bundle's features know something, the most active first."""
    counts = known_events(load(data, cache).events, bundle.as_of)["user_id"].value_counts()
    ids: list[str] = counts.sort(["count", "user_id"], descending=[True, False])["user_id"].to_list()
    if not ids:
        raise ValueError(
            f"{data}: nobody did anything before {bundle.as_of:%Y-%m-%d}, which bundle {bundle.version} knows"
        )
    return ids


def _by_popularity(bundle: Bundle) -> pl.DataFrame:
    """`item_id`, `title` and `price` of what may be shown, the most popular first."""
    items = pl.read_parquet(bundle.path(files.ITEMS), columns=["item_id", "title", "price", "sensitive"])
    popular = np.load(bundle.path(files.POPULARITY), allow_pickle=False)
    may_be_shown: pl.DataFrame = items[popular].filter(~pl.col("sensitive")).drop("sensitive")
    return may_be_shown


def _words(title: str) -> list[str]:
    return list(dict.fromkeys(_WORD.findall(title.lower())))


def _hits(words: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item, its_words in words.items():
        for word in its_words:
            hits = found.setdefault(word, [])
            if len(hits) < SEARCH_RESULTS:
                hits.append(item)
    return found
