"""The items whose categories features are made of: the bundle's and the live ones.

Choices: the live catalogue is read anew only as far as its stream of changes has moved, or all of it where changes may
have been trimmed away before they were read. A live item stands for the whole item; a deleted one keeps counting as
what the bundle says it was, since what somebody bought goes on saying something.

Knows nothing of who changes items.
"""

import logging

import polars as pl

from features import bundle as files
from features.bundle import Bundle, BundleError
from features.live_items import LiveItem, from_json, items_table
from features.transforms import ItemFacts
from services.common.streams import BEGINNING, CATALOGUE_CHANGES, CATALOGUE_ITEMS, Client, EntryId, one_error

logger = logging.getLogger(__name__)

_COLUMNS = ("item_id", "category")
_PAGE = 1000


class Catalogue:
    """What a bundle knows of items, with the live ones laid over it."""

    def __init__(self, client: Client) -> None:
        """Empty until a bundle is given."""
        self._client = client
        self._items, self._prices = pl.DataFrame(), pl.DataFrame()
        self._live: dict[str, LiveItem] = {}
        self._seen: EntryId | None = None
        self._facts: ItemFacts | None = None

    def use(self, bundle: Bundle) -> None:
        """Take a bundle's items and prices.

        Raises:
            BundleError: the bundle was made before live events and lacks regular prices.
        """
        try:
            prices = bundle.path(files.REGULAR_PRICES)
        except BundleError as error:
            raise BundleError(f"{error}; live events need a bundle that was trained with this version") from None
        self._prices = pl.read_parquet(prices)
        self._items = pl.read_parquet(bundle.path(files.ITEMS), columns=list(_COLUMNS))
        self._facts = None

    async def facts(self) -> ItemFacts:
        """Items and prices as they stand.

        Raises:
            Unavailable: Valkey did not answer.
        """
        if await self._read_changes() or self._facts is None:
            self._facts = ItemFacts.of(self._table(), self._prices)
        return self._facts

    async def _read_changes(self) -> bool:
        """Whether live items have changed since the last call; what has failed in between is read again by the next."""
        with one_error():
            if self._seen is None:
                await self._read_everything()
                return True
            newest, changed = await self._changed_after(self._seen)
            if newest == self._seen:
                return False
            oldest = await self._client.xrange(CATALOGUE_CHANGES, count=1)
            if oldest and EntryId.parse(oldest[0][0]) > self._seen:  # others may have been trimmed away
                await self._read_everything()
                return True
            if changed:
                self._take(await self._client.hmget(CATALOGUE_ITEMS, list(changed)))
            self._seen = newest
            return bool(changed)

    async def _read_everything(self) -> None:
        """All live items; changes that come meanwhile are read once more."""
        newest = await self._client.xrevrange(CATALOGUE_CHANGES, count=1)
        self._take(list((await self._client.hgetall(CATALOGUE_ITEMS)).values()))
        self._seen = EntryId.parse(newest[0][0]) if newest else BEGINNING

    async def _changed_after(self, position: EntryId) -> tuple[EntryId, set[bytes]]:
        """The last change, and the ids of the items that have changed."""
        changed: set[bytes] = set()
        while page := await self._client.xrange(CATALOGUE_CHANGES, f"({position}", count=_PAGE):
            changed |= {fields[b"item_id"] for _, fields in page if b"item_id" in fields}
            position = EntryId.parse(page[-1][0])
        return position, changed

    def _take(self, written: list[bytes | None]) -> None:
        for text in written:
            if text is None:
                continue
            try:
                item = from_json(text)
            except ValueError as error:
                logger.error("passed over a live item", extra={"reason": str(error)})
                continue
            self._live[item.item_id] = item

    def _table(self) -> pl.DataFrame:
        known = set(self._items["item_id"])
        live = items_table([item for name, item in self._live.items() if not item.deleted or name not in known])
        live = live.select(_COLUMNS)
        return pl.concat([live, self._items.join(live, on="item_id", how="anti", maintain_order="left")])
