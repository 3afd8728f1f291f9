"""The items of one bundle, by id: what there was before anything came in.

Choices: the table stays in columns, since of a hundred thousand items a few are asked for. Knows nothing of vectors.
"""

from dataclasses import replace
from pathlib import Path

import polars as pl

from features import bundle as files
from features.bundle import open_bundle
from features.item_text import item_text, item_text_column
from features.live_items import LiveItem
from features.vocab import Vocabulary


class BundleItems:
    """One bundle's ITEMS table."""

    def __init__(self, version: str, items: pl.DataFrame) -> None:
        """Args: version: the bundle's; items: its ITEMS table."""
        self.version = version
        self._items = items
        self._texts = items.select(item_text_column()).to_series()
        self._vocabulary = Vocabulary(items["item_id"])

    @classmethod
    def load(cls, root: Path) -> "BundleItems":
        """Those of the bundle in a directory, which is verified. Blocks.

        Raises:
            BundleError: it is damaged.
        """
        bundle = open_bundle(root)
        return cls(bundle.version, pl.read_parquet(bundle.path(files.ITEMS)))

    def __contains__(self, item_id: str) -> bool:
        """Whether the bundle has the item."""
        return self._row(item_id) >= 0

    def get(self, item_id: str) -> LiveItem | None:
        """The item as the bundle has it, at revision 0; None without it."""
        row = self._row(item_id)
        return None if row < 0 else _item(self._items.row(row, named=True))

    def needs_vector(self, item: LiveItem) -> bool:
        """Whether a live item is shown by a vector that is not the bundle's own: its text is another."""
        if item.deleted:
            return False
        row = self._row(item.item_id)
        return row < 0 or self._texts[row] != text_of(item)

    def represents(self, item: LiveItem) -> bool:
        """Whether a reply comes out the same if the live item is forgotten: the bundle has it just so, or, where it is
        deleted, has it not."""
        own = self.get(item.item_id)
        if own is None or item.deleted:
            return own is None and item.deleted
        return _essence(own) == _essence(item)

    def _row(self, item_id: str) -> int:
        return int(self._vocabulary.rows([item_id])[0])


def text_of(item: LiveItem) -> str:
    """What the text tower reads of it."""
    return item_text(item.title, item.description)


def _essence(item: LiveItem) -> LiveItem:
    """Without what makes no difference to a shopper. That it is flagged is no more than that it is hidden."""
    attributes = tuple(sorted(item.attributes))
    return replace(item, attributes=attributes, sensitive=item.is_hidden, flags=(), revision=0, vector=None)


def _item(row: dict[str, object]) -> LiveItem:
    pairs = row.pop("attributes")
    attributes = tuple((pair["key"], pair["value"]) for pair in pairs)  # type: ignore[attr-defined] # List(Struct)
    return LiveItem(**{**row, "category": tuple(row["category"]), "attributes": attributes})  # type: ignore[arg-type]
