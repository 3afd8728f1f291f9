"""What became part of a bundle leaves the live items, and comes back if that bundle is taken back.

Choices: a folded item is kept beside the live ones, because the next training must see it, too: the data that a shop is
first trained on does not hold it. Knows nothing of vectors but that a folded item has none.
"""

import logging
from collections.abc import Iterable

import polars as pl

from features.live_data import CATALOGUE
from features.live_items import LiveItem, items_table
from services.common import streams
from services.ingest.catalog.serving import Serving
from services.ingest.catalog.store import CatalogueStore

logger = logging.getLogger(__name__)


class Folding:
    """The folded items, as their one keeper knows them."""

    def __init__(self, serving: Serving, store: CatalogueStore) -> None:
        """Args: serving: the live items and the bundle; store: where they are kept."""
        self._serving = serving
        self._store = store
        self._folded: dict[str, LiveItem] = {}

    async def unfold(self) -> None:
        """Read what is folded, and make live again what the bundle does not represent.

        Raises:
            Unavailable: Valkey does not answer.
        """
        self._folded = await self._store.all_items(streams.CATALOGUE_FOLDED)
        bundle = self._serving.current
        missing = [item for item in self._folded.values() if not bundle.represents(item)]
        moved = await self._store.unfold(missing)
        if any(moved):
            logger.info("unfolded", extra={"items": sum(moved), "version": bundle.version})

    async def fold(self) -> None:
        """Take out of the live items what the bundle represents. Errors as `unfold`."""
        bundle = self._serving.current
        present = [item for item in self._serving.live.values() if bundle.represents(item)]
        moved = await self._store.fold(present, self._serving.versions)
        self._folded |= {item.item_id: item for item, has_moved in zip(present, moved, strict=True) if has_moved}
        if any(moved):
            logger.info("folded", extra={"items": sum(moved), "version": bundle.version})

    def table(self) -> pl.DataFrame:
        """Live and folded items as CATALOGUE, by id; where an item is both, it is live."""
        items = {**self._folded, **self._serving.live}
        return catalogue_table(items[item_id] for item_id in sorted(items))


def catalogue_table(items: Iterable[LiveItem]) -> pl.DataFrame:
    """CATALOGUE of live items, in order; what is flagged is sensitive."""
    listed = list(items)
    hidden = pl.Series("sensitive", [item.is_hidden for item in listed], pl.Boolean)
    deleted = pl.Series("deleted", [item.deleted for item in listed], pl.Boolean)
    return items_table(listed).with_columns(hidden, deleted).select(CATALOGUE.names())
