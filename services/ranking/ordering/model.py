"""What ordering needs of one bundle, in memory. Immutable: a request takes one and keeps it to the end."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from features import bundle as files
from features.bundle import Bundle, BundleError
from features.encode import Floats, ItemColumns, item_columns
from features.vectors import MappedVectors, Vectors, every_vector
from features.vocab import Rows
from services.ranking.ordering.facets import Facets
from services.ranking.ordering.item_to_item import ItemToItem
from services.ranking.ordering.selection import Mask
from services.retrieval.delta import DeltaIndex
from services.retrieval.index import Index

LITTLE_KNOWN_SHOPPERS = 20
"""Fewer shoppers than this say little about an item."""
_COLUMNS = ("item_id", "category", "brand", "price", "attributes", "in_stock", "sensitive")
"""What ordering reads of the ITEMS table: texts would take most of the memory."""


@dataclass(frozen=True, slots=True)
class OrderingModel:
    """Index, columns and vectors of one bundle; N items, D vector width."""

    items: ItemColumns
    vectors: Vectors
    """Of every item, D numbers each."""
    index: Index | DeltaIndex
    item_to_item: ItemToItem
    popular_rows: Rows
    """int32 [N], every row, most popular first."""
    popular_in_leaf: Sequence[Rows]
    """For each most specific category its rows, most popular first."""
    trending_rows: Rows
    """int32, the rows whose demand is rising, by `trend_scores`, best first."""
    little_known: Mask
    """bool [N], items that fewer than LITTLE_KNOWN_SHOPPERS have had; not writable."""
    tie_keys: npt.NDArray[np.uint64]
    """uint64 [N], see `tie_keys`."""
    rows_by_key: Rows
    """int32 [N], every row by rising tie key."""
    facets: Facets
    """What a filter can ask of every item."""

    @property
    def item_count(self) -> int:
        """N."""
        return len(self.items.vocabulary)

    def rows_of_keys(self, keys: npt.NDArray[np.uint64]) -> Rows:
        """Row of each tie key, int32 [n]; -1 for a key that no item of this bundle has."""
        rows = np.full(keys.size, -1, dtype=np.int32)
        if self.rows_by_key.size:
            places = np.searchsorted(self.tie_keys, keys, sorter=self.rows_by_key)
            found = self.rows_by_key[np.minimum(places, self.rows_by_key.size - 1)]
            rows = np.where(self.tie_keys[found] == keys, found, rows)
        return rows

    @classmethod
    def assemble(
        cls,
        items: ItemColumns,
        vectors: Vectors,
        index: Index,
        item_to_item: ItemToItem,
        popular_rows: Rows,
        facets: Facets | None = None,
    ) -> "OrderingModel":
        """Build with what follows from the parts; without facets (training filters nothing) every item is plain."""
        keys = tie_keys(items.vocabulary.ids)
        return cls(
            items=items,
            vectors=vectors,
            index=index,
            item_to_item=item_to_item,
            popular_rows=popular_rows,
            popular_in_leaf=_by_leaf(items, popular_rows),
            trending_rows=_rising(items, keys),
            little_known=_little_known(items),
            tie_keys=keys,
            rows_by_key=np.argsort(keys, kind="stable").astype(np.int32),
            facets=facets or Facets.plain(len(items.vocabulary)),
        )


def tie_keys(item_ids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """A fixed pseudo-random key per item id, uint64 [N]: equal scores are ordered by it, alike on every machine."""
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for name in item_ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def trend_scores(items: ItemColumns, rows: Rows) -> Floats:
    """How much the demand for rows int32 [n] is rising, float32 [n]: ln of this week's rate over that of the last eight
    weeks, times what they sell this week, so that one purchase after none is no trend."""
    scores: Floats = items.column("item_trend")[rows] * items.column("item_log_weight_7d")[rows]
    return scores


def popular_rows(items: ItemColumns) -> Rows:
    """Every row, int32 [N], by event weight with a half-life of 28 days, most popular first; ties by tie key."""
    order: Rows = np.lexsort((tie_keys(items.vocabulary.ids), -items.column("item_log_weight_28d"))).astype(np.int32)
    return order


def open_model(bundle: Bundle) -> OrderingModel:
    """Load what ordering needs from a verified bundle.

    Raises:
        BundleError: if the files do not fit each other; the message names the file.
    """
    table = pl.read_parquet(bundle.path(files.ITEMS), columns=list(_COLUMNS))
    try:
        items = item_columns(table, pl.read_parquet(bundle.path(files.ITEM_COLUMNS)), bundle.as_of)
        index = Index.load(bundle.path(files.INDEX))
        item_to_item = ItemToItem.load(bundle.path(files.ITEM_TO_ITEM))
        mapped = MappedVectors(bundle.path(files.ITEM_VECTORS))
    except ValueError as error:
        raise BundleError(f"{bundle.root}: {error}") from error
    vectors: Vectors = every_vector(mapped) if index.kind == "flat" else mapped
    popular = np.load(bundle.path(files.POPULARITY), allow_pickle=False)
    counts = {files.ITEM_VECTORS: len(vectors), files.POPULARITY: len(popular), files.INDEX: index.row_count}
    for name, count in counts.items():
        if count != table.height:
            raise BundleError(f"{bundle.root / name}: {count} items, {files.ITEMS} has {table.height}")
    last = int(item_to_item.rows.max(initial=-1))
    if last >= table.height:
        raise BundleError(f"{bundle.root / files.ITEM_TO_ITEM}: row {last}, {files.ITEMS} has {table.height}")
    return OrderingModel.assemble(items, vectors, index, item_to_item, popular, Facets.of(table))


def _by_leaf(items: ItemColumns, popular_rows: Rows) -> list[Rows]:
    """Rows of each leaf, keeping the order of popularity."""
    leaf_of = items.leaf[popular_rows]
    order = np.argsort(leaf_of, kind="stable")
    bounds = np.searchsorted(leaf_of[order], np.arange(len(items.leaves) + 1))
    rows = popular_rows[order]
    return [rows[start:stop] for start, stop in pairwise(bounds)]


def _rising(items: ItemColumns, keys: npt.NDArray[np.uint64]) -> Rows:
    """Rows with a positive trend, best first, ties by tie key."""
    scores = trend_scores(items, np.arange(len(items.vocabulary), dtype=np.int32))
    rows = np.flatnonzero(scores > 0).astype(np.int32)
    return rows[np.lexsort((keys[rows], -scores[rows]))]


def _little_known(items: ItemColumns) -> Mask:
    mask: Mask = items.column("item_log_users") < np.log1p(np.float32(LITTLE_KNOWN_SHOPPERS))
    mask.setflags(write=False)
    return mask
