"""The catalogue as one process sees it: the bundles that may be served just now, and the live items over them.

Choices:
- Two bundles: the one that the pointer names and the one before it, since ranking processes switch a moment apart, and
  back at once when a promotion is taken back. Vectors are kept for both.
- The live items are a copy of what Valkey holds, kept by following the changes; after an outage, or where changes were
  trimmed away before they were read, it is made anew. Requests read Valkey itself; the copy answers what may be a
  moment old: whether there is such an item, and what lacks a vector.

Knows nothing of Triton.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from features.live_items import LiveItem
from services.common import streams
from services.common.streams import BEGINNING, Unavailable
from services.ingest.catalog.bundle_items import BundleItems
from services.ingest.catalog.store import CatalogueStore

logger = logging.getLogger(__name__)

_READ_MAX = 1000
_WAIT_MS = 500
"""Less than a command of the catalogue's client may take (`store.COMMAND_SECONDS`)."""
_PAUSE_SECONDS = 0.5
"""Between two attempts while Valkey is away."""


class Serving:
    """Bundles and live items; one event loop only."""

    def __init__(self, current: BundleItems, store: CatalogueStore) -> None:
        """Args: current: of the bundle that serves; store: where the live items are."""
        self._bundles = [current]
        self._store = store
        self._live: dict[str, LiveItem] = {}
        self._lacking: dict[str, dict[str, LiveItem]] = {current.version: {}}
        self._position = BEGINNING
        self._is_whole = False
        self.changed = asyncio.Event()
        """Set at every change that arrives, and when the copy was made anew; whoever waits clears it."""

    @property
    def bundles(self) -> Sequence[BundleItems]:
        """The one that serves, then the one before it, if there was one."""
        return self._bundles

    @property
    def versions(self) -> list[str]:
        """Of `bundles`."""
        return [bundle.version for bundle in self._bundles]

    @property
    def current(self) -> BundleItems:
        """The items of the bundle that serves."""
        return self._bundles[0]

    @property
    def live(self) -> Mapping[str, LiveItem]:
        """The live items by id, deleted ones among them."""
        return self._live

    @property
    def is_whole(self) -> bool:
        """Whether `live` holds everything up to a moment ago."""
        return self._is_whole

    def lacking(self, version: str) -> Mapping[str, LiveItem]:
        """The live items that need a vector for a bundle and have none, by id."""
        return self._lacking.get(version, {})

    def settle(self, version: str, items: Sequence[LiveItem]) -> None:
        """These lack nothing any more, unless they have changed since they were asked for."""
        lacking = self._lacking.get(version, {})
        for item in items:
            if lacking.get(item.item_id) is item:
                del lacking[item.item_id]

    def serve(self, bundle: BundleItems) -> None:
        """From now on `bundle` is the one that serves."""
        others = [other for other in self._bundles if other.version != bundle.version]
        self._bundles = [bundle, *others][:2]
        self._is_whole = False  # what lacks a vector is another question now

    async def follow(self) -> None:
        """Keep the copy, until cancelled."""
        while True:
            try:
                await self.step(_WAIT_MS)
            except Unavailable as error:
                if self._is_whole:
                    logger.warning("the live items are not followed", extra={"reason": str(error)})
            except Exception:
                logger.exception("the live items are read anew after an error")
            else:
                continue
            self._is_whole = False
            await asyncio.sleep(_PAUSE_SECONDS)

    async def step(self, wait_ms: int) -> None:
        """Take in what has changed, or make the copy anew where it is not whole.

        Raises:
            Unavailable: Valkey does not answer.
        """
        if not self._is_whole:
            await self._reload()
            return
        position, item_ids = await self._store.changes_after(self._position, _READ_MAX, wait_ms)
        if len(item_ids) >= _READ_MAX // 2 and await self._store.may_have_lost(self._position):
            self._is_whole = False
            return
        if item_ids:
            await self._take(item_ids)
            self._position = position
            self.changed.set()

    async def _take(self, item_ids: Sequence[str]) -> None:
        bundles = list(self._bundles)
        found, _ = await self._store.read(item_ids)
        has_vector = {bundle.version: await self._store.are_encoded(bundle.version, item_ids) for bundle in bundles}
        for place, item_id in enumerate(item_ids):
            item = found.get(item_id)
            if item is None:
                self._live.pop(item_id, None)
            else:
                self._live[item_id] = item
            for bundle in bundles:
                lacking = self._lacking.setdefault(bundle.version, {})
                lacking.pop(item_id, None)
                if item is not None and bundle.needs_vector(item) and not has_vector[bundle.version][place]:
                    lacking[item_id] = item

    async def _reload(self) -> None:
        bundles = list(self._bundles)
        position = await self._store.last_change()  # first: what changes while the rest is read is read again
        live = await self._store.all_items(streams.CATALOGUE_ITEMS)
        lacking = {}
        for bundle in bundles:
            encoded = await self._store.encoded(bundle.version)
            needing = {item_id: item for item_id, item in live.items() if bundle.needs_vector(item)}
            lacking[bundle.version] = {item_id: item for item_id, item in needing.items() if item_id not in encoded}
        if bundles == self._bundles:
            self._live, self._lacking, self._position, self._is_whole = live, lacking, position, True
            self.changed.set()
