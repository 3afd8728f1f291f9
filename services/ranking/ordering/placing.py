"""Which rows live items have beside those of a bundle.

Shapes: N items in the bundle, M >= N in all, n of them new or changed.

Knows nothing of what follows from them for lists.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from features.live_items import LiveItem, items_table
from features.vocab import Rows
from services.ranking.ordering.model import OrderingModel, tie_keys


@dataclass(frozen=True, slots=True)
class Placed:
    """Live items with their rows: n of the bundle, then those that are new."""

    items: list[LiveItem]
    rows: Rows
    """int32 [n], ascending."""
    gone: Rows
    """int32, deleted rows of the bundle, of which nothing else changes."""
    new_keys: npt.NDArray[np.uint64]
    """uint64, tie keys of the new items, ascending."""
    table: pl.DataFrame
    """The ITEMS table of `items`; those with flags are sensitive."""
    base_count: int
    """N."""

    @property
    def row_count(self) -> int:
        """M."""
        return self.base_count + self.new_keys.size

    @property
    def new_rows(self) -> Rows:
        """int32, from N to M - 1."""
        return np.arange(self.base_count, self.row_count, dtype=np.int32)

    @property
    def old(self) -> slice:
        """Which of the n the bundle has."""
        return slice(0, len(self.items) - self.new_keys.size)


def place(model: OrderingModel, changes: Sequence[LiveItem]) -> Placed | None:
    """Give live items their rows, whatever order they come in; None where nothing differs from the bundle."""
    latest = {item.item_id: item for item in changes}
    known = model.items.vocabulary.rows(list(latest)).tolist()
    pairs = sorted(zip(known, latest.values(), strict=True), key=lambda pair: pair[0])
    old = [(row, item) for row, item in pairs if row >= 0]
    gone = [row for row, item in old if item.deleted]
    there = [(row, item) for row, item in old if not item.deleted]
    # What was deleted before anything was known of it leaves no trace.
    new = [item for row, item in pairs if row < 0 and not (item.deleted and item.vector is None)]
    if not old and not new:
        return None
    keys = tie_keys([item.item_id for item in new])
    order = np.argsort(keys, kind="stable")
    items = [item for _, item in there] + [new[place] for place in order]
    rows = [row for row, _ in there] + list(range(model.item_count, model.item_count + len(new)))
    return Placed(
        items=items,
        rows=np.array(rows, dtype=np.int32),
        gone=np.array(gone, dtype=np.int32),
        new_keys=keys[order],
        table=items_table(items).with_columns(
            sensitive=pl.Series([item.is_hidden for item in items], dtype=pl.Boolean)
        ),
        base_count=model.item_count,
    )
