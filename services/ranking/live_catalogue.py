"""The live catalogue as Valkey keeps it: all of it, what has changed of it, and the vectors made for a bundle.

Choices: a place in the stream of changes is taken before all items are read, so that what changes meanwhile is read
twice and nothing is missed. What cannot be read as an item or a vector is left out and said in the log: it must not
keep the others back. Everything is read in parts, between which the event loop does other things.

Knows nothing of what is done with items.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from features.live_items import LiveItem, from_json, vector_from_bytes
from services.common.streams import (
    BEGINNING,
    CATALOGUE_CHANGES,
    CATALOGUE_ITEMS,
    Client,
    EntryId,
    catalogue_vectors,
    one_error,
)
from services.common.towers import VECTOR_WIDTH

logger = logging.getLogger(__name__)

COLLECT_SECONDS = 0.05
"""How long after the first change more of them are waited for."""
CHANGES_MAX = 1000
"""Where this many have come, some may be gone from the stream already: all items are read instead."""
_BLOCK_MS = 1000
_PART = 500

Vector = npt.NDArray[np.float32]
T = TypeVar("T")


class Changes(NamedTuple):
    """What the stream says since it was read last."""

    item_ids: set[str]
    oldest: EntryId
    """The first of the entries."""
    are_all: bool
    """Whether there can be no others."""


class LiveCatalogue:
    """Reads the catalogue of one Valkey; for one event loop."""

    def __init__(self, client: Client) -> None:
        """Nothing is read yet."""
        self._client = client
        self._position = BEGINNING

    async def everything(self) -> dict[str, LiveItem]:
        """All live items; `changes` go on from here.

        Raises:
            Unavailable: Valkey did not answer.
        """
        with one_error():
            last = await self._client.xrevrange(CATALOGUE_CHANGES, count=1)
            written = await self._whole(CATALOGUE_ITEMS)
        self._position = EntryId.parse(last[0][0]) if last else BEGINNING
        return _readable(written, from_json)

    async def changes(self) -> Changes | None:
        """What has changed since the last call; None where nothing has for about a second.

        Raises:
            Unavailable: Valkey did not answer.
        """
        with one_error():
            entries = await self._entries(block=_BLOCK_MS)
            if not entries:
                return None
            await asyncio.sleep(COLLECT_SECONDS)
            more = await self._entries(block=None)
        item_ids = {fields[b"item_id"].decode() for _, fields in (*entries, *more) if b"item_id" in fields}
        return Changes(item_ids, EntryId.parse(entries[0][0]), max(len(entries), len(more)) < CHANGES_MAX)

    async def items(self, item_ids: Collection[str]) -> dict[str, LiveItem]:
        """Those of the items that are there.

        Raises:
            Unavailable: Valkey did not answer.
        """
        return _readable(await self._some(CATALOGUE_ITEMS, item_ids), from_json)

    async def vectors(self, bundle_version: str, item_ids: Collection[str] | None = None) -> dict[str, Vector]:
        """The text vectors of these items by a bundle's tower, or of all, as far as they are there.

        Raises:
            Unavailable: Valkey did not answer.
        """
        key = catalogue_vectors(bundle_version)
        if item_ids is not None:
            return _readable(await self._some(key, item_ids), _vector)
        with one_error():
            return _readable(await self._whole(key), _vector)

    async def _entries(self, block: int | None) -> list[tuple[bytes, dict[bytes, bytes]]]:
        found = await self._client.xread({CATALOGUE_CHANGES: str(self._position)}, count=CHANGES_MAX, block=block)
        entries: list[tuple[bytes, dict[bytes, bytes]]] = found[0][1] if found else []
        if entries:
            self._position = EntryId.parse(entries[-1][0])
        return entries

    async def _whole(self, key: str) -> dict[str, bytes]:
        return {name.decode(): value async for name, value in self._client.hscan_iter(key, count=_PART)}

    async def _some(self, key: str, names: Collection[str]) -> dict[str, bytes]:
        ordered = sorted(names)
        found: dict[str, bytes] = {}
        with one_error():
            for start in range(0, len(ordered), _PART):
                part = ordered[start : start + _PART]
                values = await self._client.hmget(key, part)
                found |= {name: value for name, value in zip(part, values, strict=True) if value is not None}
        return found


def _vector(written: bytes) -> Vector:
    return vector_from_bytes(written, VECTOR_WIDTH)


def _readable(written: Mapping[str, bytes], read: Callable[[bytes], T]) -> dict[str, T]:
    found = {}
    for name, value in written.items():
        try:
            found[name] = read(value)
        except ValueError as error:
            logger.error("left out of the live catalogue", extra={"item_id": name, "reason": str(error)})
    return found
