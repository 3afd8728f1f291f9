"""Items into the live catalogue and out of it: what is stored of each, and which of them need the text tower.

Choices:
- Whether a text is new is judged against the live item, or against the bundle's where there is none. A price or the
  stock changes without a vector being asked for; an item that is just as it was changes nothing at all.
- An item that Triton gives no vector for is stored without one, and gets it later: it can be found by its category and
  in searches meanwhile.
- Items are taken a portion at a time, each portion visible as soon as it is written. One that somebody else changed in
  between is looked at anew.

Knows nothing of requests.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from features.live_items import LiveItem, vector_to_bytes
from services.common.breaker import Breaker, BreakerOpen
from services.common.scorer import ScorerUnavailable
from services.common.streams import Unavailable
from services.ingest.catalog.bundle_items import BundleItems, text_of
from services.ingest.catalog.serving import Serving
from services.ingest.catalog.store import DROP, ITEMS_PER_SCRIPT, LEAVE, CatalogueStore, Change
from services.ingest.catalog.texts import TextVectors

_ATTEMPTS = 5


class Changing:
    """Changes the live items."""

    def __init__(
        self, serving: Serving, store: CatalogueStore, texts: TextVectors, breaker: Breaker, text_seconds: float
    ) -> None:
        """Args:
        serving: Says which bundles there are.
        store: Where the live items are.
        texts: Makes the vectors for the bundle that serves.
        breaker: Around it.
        text_seconds: How long one request waits for it in all.
        """
        self._serving = serving
        self._store = store
        self._texts = texts
        self._breaker = breaker
        self._text_seconds = text_seconds

    async def upsert(self, items: Sequence[LiveItem]) -> list[bool]:
        """Store items with distinct ids; False for each that could not be."""
        text_until = time.monotonic() + self._text_seconds
        return await self._all({item.item_id: item for item in items}, text_until)

    async def delete(self, item_ids: Sequence[str]) -> list[bool | None]:
        """Mark items with distinct ids as deleted.

        Returns:
            For each: None if nobody has such an item, False if it could not be done now.
        """
        deleted: list[bool | None] = []
        for start in range(0, len(item_ids), ITEMS_PER_SCRIPT):
            deleted += await self._delete(item_ids[start : start + ITEMS_PER_SCRIPT])
        return deleted

    async def _delete(self, item_ids: Sequence[str]) -> list[bool | None]:
        try:
            live, folded = await self._store.read(item_ids)
        except Unavailable:
            return [False] * len(item_ids)
        bundle = self._serving.current
        found = {item_id: live.get(item_id) or folded.get(item_id) or bundle.get(item_id) for item_id in item_ids}
        gone = {item_id: replace(item, deleted=True) for item_id, item in found.items() if item is not None}
        done = dict(zip(gone, await self._all(gone, 0.0), strict=True))
        return [done.get(item_id) for item_id in item_ids]

    async def _all(self, items: Mapping[str, LiveItem], text_until: float) -> list[bool]:
        done: set[str] = set()
        waiting = list(items.values())
        try:
            for start in range(0, len(waiting), ITEMS_PER_SCRIPT):
                portion = waiting[start : start + ITEMS_PER_SCRIPT]
                for _ in range(_ATTEMPTS):
                    done.update(await self._some(portion, text_until))
                    portion = [item for item in portion if item.item_id not in done]
                    if not portion:
                        break
        except Unavailable:
            pass  # nor would the rest be written
        return [item_id in done for item_id in items]

    async def _some(self, items: Sequence[LiveItem], text_until: float) -> list[str]:
        """The ids of those that are now as they should be; the others have changed since they were read."""
        bundles = list(self._serving.bundles)  # one promotion later these are others
        live, folded = await self._store.read([item.item_id for item in items])
        changes, unchanged = [], []
        for item in items:
            before = live.get(item.item_id)
            if _is_same(item, before or folded.get(item.item_id), bundles[0]):
                unchanged.append(item.item_id)
            else:
                vectors = tuple(_fate(item, before, bundle) for bundle in bundles)
                changes.append(Change(item, before.revision if before else 0, vectors))
        if not changes:
            return unchanged
        new = [change.item for change in changes if _is_new(change, bundles[0])]
        vectors_of = await self._encoded(new, bundles[0].version, text_until)
        revisions = await self._store.revisions(len(changes))
        numbered = [
            Change(
                replace(change.item, revision=revision),
                change.expected_revision,
                (vectors_of.get(change.item.item_id, change.vectors[0]), *change.vectors[1:]),
            )
            for change, revision in zip(changes, revisions, strict=True)
        ]
        written = await self._store.write(numbered, [bundle.version for bundle in bundles])
        return unchanged + [change.item.item_id for change, is_done in zip(numbered, written, strict=True) if is_done]

    async def _encoded(self, items: Sequence[LiveItem], version: str, text_until: float) -> dict[str, bytes]:
        """Vectors by id, as they are stored; none where Triton has none in time."""
        seconds = text_until - time.monotonic()
        if not items or seconds <= 0:
            return {}
        try:
            with self._breaker.attempt():
                vectors = await self._texts.of(items, version, seconds)
        except (ScorerUnavailable, BreakerOpen):
            return {}
        return {item.item_id: vector_to_bytes(vector) for item, vector in zip(items, vectors, strict=True)}


def _is_same(item: LiveItem, before: LiveItem | None, bundle: BundleItems) -> bool:
    """Whether there is nothing to change."""
    if before is None:
        return not item.deleted and bundle.represents(item)
    return replace(before, revision=0) == replace(item, revision=0)


def _fate(item: LiveItem, before: LiveItem | None, bundle: BundleItems) -> bytes:
    """What becomes of the vector that is stored for a bundle, if no new one is."""
    is_kept = before is not None and not before.deleted and text_of(before) == text_of(item)
    return LEAVE if is_kept and bundle.needs_vector(item) else DROP


def _is_new(change: Change, bundle: BundleItems) -> bool:
    """Whether the item needs a vector that there is not."""
    return change.vectors[0] == DROP and bundle.needs_vector(change.item)
