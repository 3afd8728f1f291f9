"""Items that came after the bundle, and changes of those it has, in what a ranking process serves.

Choices:
- A release with live items is made anew in a thread, from the bundle's own and all live items, and takes the other's
  place by one assignment (swap): a request keeps the one that it began with.
- What a new item is like is looked for once for each bundle and vector, not at every change.
- An item whose vector for a bundle is missing is served without: filtered, ranked, popular, but near to nothing, until
  a further change says that the vector is there. A release that is about to take over waits some seconds for vectors.
- While Valkey is away nothing changes; afterwards all items are read again, since no change may have been missed.

Knows nothing of how items come into Valkey, nor of how a release is put together.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import TypeVar

from prometheus_client import CollectorRegistry, Gauge, Histogram

from features.live_items import LiveItem
from services.common.streams import Unavailable
from services.ranking.live_catalogue import Changes, LiveCatalogue, Vector
from services.ranking.ordering import Remembered, extended, nearest_in_bundle
from services.ranking.release import Release

logger = logging.getLogger(__name__)

VECTORS_SECONDS = 5.0
"""How long a release that is to take over waits for the vectors of its live items."""
_VECTORS_POLL_SECONDS = 0.2
_START_SECONDS = 3.0
"""How long a start waits for the items."""
_RETRY_SECONDS = 0.5
_VERSIONS_MAX = 2
"""Bundles whose vectors are kept: the one that serves and the one that is about to."""
_AGE_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)

T = TypeVar("T")
Refresh = Callable[[], Awaitable[None]]
"""Serves the items as they stand now."""


class LiveItems:
    """The items as they stand, for the releases of one process; for one event loop."""

    def __init__(self, catalogue: LiveCatalogue, registry: CollectorRegistry) -> None:
        """Know of none yet. Registers `aisle_live_items` and `aisle_catalogue_age_seconds`."""
        self._catalogue = catalogue
        self._items: dict[str, LiveItem] = {}
        self._vectors: dict[str, dict[str, Vector]] = {}
        self._nearest: dict[str, Remembered] = {}
        self._reading = asyncio.Lock()
        self._is_behind = True
        self._is_away = False
        self._count = Gauge("aisle_live_items", "Items that are new or changed since the bundle.", registry=registry)
        self._age = Histogram(
            "aisle_catalogue_age_seconds",
            "Time from a change of the catalogue until it is served, by the oldest of those taken in together.",
            buckets=_AGE_BUCKETS,
            registry=registry,
        )

    async def extended(self, release: Release) -> Release:
        """A bundle's own release with the items as they stand; the very same where there are none."""
        if release.version not in self._vectors:
            await self._take_up(release)
        vectors = self._vectors.get(release.version, {})
        find_nearest = self._nearest.get(release.version, nearest_in_bundle)
        items = [(item, vectors.get(item_id)) for item_id, item in self._items.items()]
        model = await asyncio.to_thread(
            lambda: extended(release.model, [replace(item, vector=vector) for item, vector in items], find_nearest)
        )
        self._count.set(len(items))
        return release if model is release.model else replace(release, model=model)

    async def start(self, refresh: Refresh) -> None:
        """Serve the items as they stand from the first request on, unless that cannot be done, or not in time."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._read_everything()
            await refresh()
        except Exception as error:  # `follow` tries again
            self._fall_behind(error)

    async def follow(self, refresh: Refresh) -> None:
        """Take in what changes, until cancelled."""
        while True:
            try:
                if self._is_behind:
                    await self._read_everything()
                    await refresh()
                elif changes := await self._catalogue.changes():
                    await self._take_in(changes)
                    await refresh()
                    self._age.observe(max(0.0, time.time() - changes.oldest.milliseconds / 1000.0))
                self._is_away = False
            except Exception as error:  # whatever it is, what changes later should still be heard of
                self._fall_behind(error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _read_everything(self) -> None:
        async with self._reading:
            items = await self._catalogue.everything()
            vectors = {version: await self._catalogue.vectors(version) for version in self._vectors}
            self._items, self._vectors, self._is_behind = items, vectors, False

    async def _take_in(self, changes: Changes) -> None:
        if not changes.are_all:
            await self._read_everything()
            return
        async with self._reading:
            items = await self._catalogue.items(changes.item_ids)
            found = {version: await self._catalogue.vectors(version, changes.item_ids) for version in self._vectors}
            _update(self._items, changes.item_ids, items)
            for version, vectors in found.items():
                _update(self._vectors[version], changes.item_ids, vectors)

    async def _take_up(self, release: Release) -> None:
        """Read the vectors for a release; wait for those that are missing where another one serves meanwhile."""
        version, is_first = release.version, not self._vectors
        deadline = time.monotonic() + (0.0 if is_first else VECTORS_SECONDS)
        lacking: Collection[str] | None = None
        async with self._reading:
            kept = list(self._vectors)[-(_VERSIONS_MAX - 1) :]
            self._vectors = {other: self._vectors[other] for other in kept} | {version: {}}
            self._nearest = {known: self._nearest.get(known, Remembered(nearest_in_bundle)) for known in self._vectors}
        try:
            while True:
                async with self._reading:
                    self._vectors[version].update(await self._catalogue.vectors(version, lacking))
                lacking = self._lacking(release)
                if not lacking or time.monotonic() >= deadline:
                    break
                await asyncio.sleep(_VECTORS_POLL_SECONDS)
        except Unavailable as error:
            self._fall_behind(error)
            return
        if lacking and not is_first:
            logger.warning("vectors are missing", extra={"version": version, "items": len(lacking)})

    def _lacking(self, release: Release) -> list[str]:
        """New items without a vector for the release."""
        vectors = self._vectors.get(release.version, {})
        wanted = [name for name, item in self._items.items() if not item.deleted and name not in vectors]
        rows = release.model.items.vocabulary.rows(wanted)
        return [name for name, row in zip(wanted, rows.tolist(), strict=True) if row < 0]

    def _fall_behind(self, error: Exception) -> None:
        """Everything is to be read again; said once until that has been done."""
        self._is_behind = True
        if not self._is_away:
            self._is_away = True
            unforeseen = not isinstance(error, Unavailable | TimeoutError)
            logger.error("items stay as they are", exc_info=unforeseen, extra={"reason": repr(error)})


def _update(known: dict[str, T], names: Collection[str], found: Mapping[str, T]) -> None:
    """Of these names, know what was found and nothing else."""
    for name in names:
        known.pop(name, None)
    known.update(found)
