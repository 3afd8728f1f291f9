"""What right answers are known from when freshness is measured: the bundle's own vectors, and items that are to come.

The nearest neighbour of a new item is found here, by the served text tower and these vectors, as the largest cosine.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from features import bundle as files
from features.bundle import Bundle
from features.encode import Floats
from features.item_text import item_text
from features.vocab import Rows
from services.common.scorer import TritonScorer
from services.common.towers import TowerModels
from services.ranking.ordering.explain import EVIDENCE_ITEMS

_CLEARLY = 1e-3
_TEXT_SECONDS = 30.0
TASTE_CLICKS = 8
"""Neighbours of a new item by clicks on which a shopper comes to its taste."""


@dataclass(frozen=True, slots=True)
class Shop:
    """What right answers are known from."""

    items: pl.DataFrame
    """The bundle's ITEMS."""
    vectors: Floats
    """float32 [N, 128], in their order."""
    may_show: Rows
    """int32 [M]: the rows that a list without a filter may hold."""
    shown: Floats
    """float32 [M, 128], the vectors of these."""
    item_ids: Sequence[str]
    """Outside ids, by row."""
    row_of: Mapping[str, int]
    """By outside id."""

    @classmethod
    def of(cls, bundle: Bundle) -> "Shop":
        """What a bundle says."""
        items = pl.read_parquet(bundle.path(files.ITEMS))
        vectors = np.load(bundle.path(files.ITEM_VECTORS), allow_pickle=False).astype(np.float32)
        item_ids = items["item_id"].to_list()
        row_of = {item_id: row for row, item_id in enumerate(item_ids)}
        may_show = np.flatnonzero(~items["sensitive"].to_numpy()).astype(np.int32)
        return cls(items, vectors, may_show, vectors[may_show], item_ids, row_of)

    def neighbours(self, draw: np.random.Generator, items: int, count: int) -> list[tuple[int, int]]:
        """Rows of so many items, drawn from those that may be shown, each with `count` others to which its dot product
        is largest, one after another; made before anything is timed, since it costs as much as a service does."""
        drawn = draw.choice(self.may_show, min(items, len(self.may_show)), replace=False)
        return [
            (row, near)
            for row in drawn.tolist()
            for near in self._largest(self.shown @ self.vectors[row], count + 1)
            if near != row
        ]

    def alike(self, vector: Floats, count: int) -> list[int]:
        """Rows of the largest cosines, best first, of those that may be shown."""
        return self._largest(self.shown @ vector / np.maximum(np.linalg.norm(self.shown, axis=1), 1e-12), count)

    def _largest(self, scores: Floats, count: int) -> list[int]:
        best = np.sort(np.argpartition(-scores, count)[:count])
        found: list[int] = self.may_show[best[np.argsort(-scores[best], kind="stable")]].tolist()
        return found

    def is_nearer(self, to: int, row: int, others: Sequence[str]) -> bool:
        """Whether a row comes among the evidence for another one, of which these others are the present one: there is
        room, or it is clearly more alike than the last of them."""
        if len(others) < EVIDENCE_ITEMS:
            return True
        mine, its = self.vectors[row], self.vectors[self.row_of[others[-1]]]
        target = self.vectors[to]
        return float(mine @ target / np.linalg.norm(mine)) > float(its @ target / np.linalg.norm(its)) + _CLEARLY

    def id_of(self, row: int) -> str:
        """The outside id."""
        return self.item_ids[row]


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item that is to come, and where it must appear."""

    item_id: str
    title: str
    description: str
    neighbours: tuple[int, ...]
    """Rows of the items nearest to it, best first."""


async def coming_items(triton: str, bundle: Bundle, shop: Shop, count: int) -> list[NewItem]:
    """Items with new texts, and the rows that they are most alike to."""
    rows = np.random.default_rng(3).permutation(shop.may_show)[:count].tolist()
    texts = [(f"New {shop.items['title'][row]}", str(shop.items["description"][row])) for row in rows]
    scorer = TritonScorer(triton, TowerModels.of_version(bundle.version))
    try:
        vectors = await scorer.text_vectors([item_text(*text) for text in texts], _TEXT_SECONDS)
    finally:
        await scorer.close()
    return [
        NewItem(f"new-{time.time_ns()}-{number}", *text, tuple(shop.alike(vector, TASTE_CLICKS)))
        for number, (text, vector) in enumerate(zip(texts, vectors, strict=True))
    ]
