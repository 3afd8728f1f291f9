"""The live items in Valkey: read, written with their vectors, folded into a bundle and back.

Choices: an item and what belongs to its text change in one script (`scripts`), a few dozen items at a time, so that
nobody else waits for long. What cannot be read back is passed over and logged: one item must not stop the others.
Knows neither texts nor towers.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from features.live_items import LiveItem, from_json, to_json, vector_to_bytes
from services.common import streams
from services.common.streams import BEGINNING, Client, EntryId, catalogue_vectors, one_error
from services.common.towers import FloatArray
from services.ingest.catalog import scripts

logger = logging.getLogger(__name__)

CHANGES_MAX = 100_000
"""About so many changes are kept for those who follow them."""
ITEMS_PER_SCRIPT = 64
COMMAND_SECONDS = 2.0
"""How long a command may take, and a request waits for one: the client itself tries again for longer where nobody
listens."""

LEAVE, DROP = b"", b"-"
"""What becomes of a vector if it is not replaced."""

_KEYS = (streams.CATALOGUE_ITEMS, streams.CATALOGUE_FOLDED, streams.CATALOGUE_CHANGES, streams.CATALOGUE_VERSIONS)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be stored of one item."""

    item: LiveItem
    expected_revision: int
    """The revision of the live item that it replaces; 0 where there is none."""
    vectors: tuple[bytes, ...]
    """For each bundle: LEAVE, DROP or the vector's bytes."""


class CatalogueStore:
    """The live items of one Valkey. Every method raises `Unavailable` where it does not answer."""

    def __init__(self, client: Client) -> None:
        """Args: client: from `streams.connect`, with COMMAND_SECONDS."""
        self._client = client

    async def read(self, item_ids: Sequence[str]) -> tuple[dict[str, LiveItem], dict[str, LiveItem]]:
        """The live and the folded ones among some items, by id."""
        if not item_ids:
            return {}, {}
        with one_error():
            async with asyncio.timeout(COMMAND_SECONDS):
                live = await self._client.hmget(streams.CATALOGUE_ITEMS, item_ids)
                folded = await self._client.hmget(streams.CATALOGUE_FOLDED, item_ids)
        return _items(live), _items(folded)

    async def all_items(self, key: str) -> dict[str, LiveItem]:
        """Every item of CATALOGUE_ITEMS or CATALOGUE_FOLDED, by id."""
        found: dict[str, LiveItem] = {}
        with one_error():
            async for _, text in self._client.hscan_iter(key, count=500):
                found |= _items([text])
        return found

    async def encoded(self, version: str) -> set[str]:
        """The ids of the items that have a vector for a bundle."""
        with one_error():
            return {item_id.decode() for item_id in await self._client.hkeys(catalogue_vectors(version))}

    async def are_encoded(self, version: str, item_ids: Sequence[str]) -> list[bool]:
        """Whether each of some items, at least one, has a vector for a bundle."""
        with one_error():
            return [found is not None for found in await self._client.hmget(catalogue_vectors(version), item_ids)]

    async def revisions(self, count: int) -> range:
        """`count` revisions that no item has had."""
        with one_error():
            last = int(await self._client.incrby(streams.CATALOGUE_REVISION, count))
        return range(last - count + 1, last + 1)

    async def write(self, changes: Sequence[Change], versions: Sequence[str]) -> list[bool]:
        """Store items, `item.revision` being the new one, with what becomes of their vectors for some bundles.

        Returns:
            For each, False where the live item has not the expected revision any more; nothing of it was written.
        """
        done: list[bool] = []
        for some in _portions(changes):
            words: list[object] = []
            for change in some:
                item = change.item
                words += [item.item_id, change.expected_revision, item.revision, to_json(item), *change.vectors]
            done += await self._run(scripts.WRITE, versions, [CHANGES_MAX, *words])
        if versions and any(vector not in (LEAVE, DROP) for change in changes for vector in change.vectors):
            with one_error():
                await self._client.sadd(streams.CATALOGUE_VERSIONS, *versions)
        return done

    async def write_vectors(self, version: str, items: Sequence[LiveItem], vectors: FloatArray) -> list[bool]:
        """Store the vectors [B, 128] of items for a bundle; False where an item is not the one that was encoded."""
        words: list[object] = []
        for item, vector in zip(items, vectors, strict=True):
            words += [item.item_id, item.revision, vector_to_bytes(vector)]
        return await self._run(scripts.ENCODE, [version], [CHANGES_MAX, version, *words])

    async def fold(self, items: Iterable[LiveItem], versions: Sequence[str]) -> list[bool]:
        """Take items out of the live ones, with their vectors for some bundles, and keep them for the next training."""
        return await self._move(scripts.FOLD, items, versions)

    async def unfold(self, items: Iterable[LiveItem]) -> list[bool]:
        """Make folded items live ones again."""
        return await self._move(scripts.UNFOLD, items, [])

    async def keep_vectors(self, versions: Sequence[str]) -> list[str]:
        """Forget the vectors for all bundles but some; returns the versions of those that are gone."""
        with one_error():
            known = {version.decode() for version in await self._client.smembers(streams.CATALOGUE_VERSIONS)}
            gone = sorted(known - set(versions))
            for version in gone:
                await self._client.unlink(catalogue_vectors(version))
                await self._client.srem(streams.CATALOGUE_VERSIONS, version)
        return gone

    async def last_change(self) -> EntryId:
        """Where those who follow the changes begin."""
        with one_error():
            found = await self._client.xrevrange(streams.CATALOGUE_CHANGES, count=1)
        return EntryId.parse(found[0][0]) if found else BEGINNING

    async def changes_after(self, position: EntryId, count: int, wait_ms: int) -> tuple[EntryId, list[str]]:
        """The ids of items that changed, each once, and the position after; waits for the first one."""
        with one_error():
            found = await self._client.xread({streams.CATALOGUE_CHANGES: str(position)}, count=count, block=wait_ms)
        # A list of streams with version 2 of the protocol, a mapping with version 3.
        entries = next(iter(found.values()))[0] if isinstance(found, dict) and found else found[0][1] if found else []
        ids = dict.fromkeys(fields[b"item_id"].decode() for _, fields in entries)
        return (EntryId.parse(entries[-1][0]) if entries else position), list(ids)

    async def may_have_lost(self, position: EntryId) -> bool:
        """Whether changes after a position can have been trimmed away."""
        with one_error():
            found = await self._client.xrange(streams.CATALOGUE_CHANGES, count=1)
        return bool(found) and EntryId.parse(found[0][0]) > position

    async def hold_lease(self, token: str, milliseconds: int) -> bool:
        """Take or renew the lease; False if somebody else has it."""
        with one_error():
            return bool(await self._client.eval(scripts.HOLD, 1, streams.CATALOGUE_OWNER, token, milliseconds))

    async def release_lease(self, token: str) -> None:
        """Give the lease back, if it is ours."""
        with one_error():
            await self._client.eval(scripts.RELEASE, 1, streams.CATALOGUE_OWNER, token)

    async def _move(self, script: str, items: Iterable[LiveItem], versions: Sequence[str]) -> list[bool]:
        done: list[bool] = []
        for some in _portions(list(items)):
            words = [word for item in some for word in (item.item_id, item.revision)]
            done += await self._run(script, versions, [CHANGES_MAX, *words])
        return done

    async def _run(self, script: str, versions: Sequence[str], arguments: Sequence[object]) -> list[bool]:
        keys = [*_KEYS, *map(catalogue_vectors, versions)]
        with one_error():
            async with asyncio.timeout(COMMAND_SECONDS):
                answers = await self._client.eval(script, len(keys), *keys, *arguments)
        return [bool(answer) for answer in answers]


def _items(texts: Iterable[bytes | None]) -> dict[str, LiveItem]:
    found: dict[str, LiveItem] = {}
    for text in texts:
        if text is None:
            continue
        try:
            item = from_json(text)
        except ValueError as error:
            logger.error("passed over a stored item", extra={"reason": str(error)})
        else:
            found[item.item_id] = item
    return found


def _portions(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (values[start : start + ITEMS_PER_SCRIPT] for start in range(0, len(values), ITEMS_PER_SCRIPT))
