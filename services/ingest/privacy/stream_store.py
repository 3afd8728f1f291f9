"""What Valkey keeps of a shopper outside the online store: "stream".

Choices: entries of all shards are looked at, not only of the shopper's own: a visitor's id is kept beside the known
shopper's in that shopper's stream. A record is an entry, a dead letter or an event of the state. What remains is
counted in keys; the append-only file, which no client can read, is made anew once keys are clean. Entries hold ids;
states are kept by pseudonyms, too, where files hide ids and a seed was made of them.

Sets of seen event ids and of who has opted out hold hashes only and are left as they are.
"""

from collections.abc import AsyncIterator, Collection

from aisle.v1 import event_service_pb2 as messages
from google.protobuf.message import DecodeError

from services.common.streams import Client, EntryId, ShardKeys, all_shards, one_error, shard_of
from services.ingest.privacy.shopper import Shopper

_PAGE = 1000


class StreamStore:
    """Entries, dead letters and states."""

    name = "stream"

    def __init__(self, client: Client, shards: int) -> None:
        """Args: shards: as for every process."""
        self._client, self._shards = client, shards

    async def count(self, shopper: Shopper) -> int:
        """Entries, dead letters and events of states."""
        count = await self._state_events(shopper)
        for keys in all_shards(self._shards):
            for stream in (keys.events, keys.dead):
                count += len([found async for found in self._entries(stream, shopper.ids)])
        return count

    async def remove(self, shopper: Shopper) -> int:
        """Remove them all."""
        count = await self._state_events(shopper)
        for keys in all_shards(self._shards):
            for stream in (keys.events, keys.dead):
                found = [entry async for entry, _ in self._entries(stream, shopper.ids)]
                for start in range(0, len(found), _PAGE):
                    with one_error():
                        count += int(await self._client.xdel(stream, *map(str, found[start : start + _PAGE])))
        with one_error():
            for name in shopper.names:
                await self._client.delete(self._state_key(name))
        return count

    async def shards_of(self, shopper: Shopper) -> set[int]:
        """The shards whose owner may have something of the shopper under way."""
        found = {shard_of(name, self._shards) for name in shopper.names}
        for keys in all_shards(self._shards):
            async for _ in self._entries(keys.events, shopper.ids):
                found.add(keys.shard)
                break
        return found

    async def events(self, shopper: Shopper) -> list[tuple[int, EntryId, messages.Event]]:
        """The shopper's entries that are still in streams, dead letters too: shard, entry and event."""
        found = []
        for keys in all_shards(self._shards):
            for stream in (keys.events, keys.dead):
                async for entry, event in self._entries(stream, shopper.ids):
                    if event is not None:
                        found.append((keys.shard, entry, event))
        return found

    async def states(self, shopper: Shopper) -> dict[str, bytes]:
        """The shopper's states by name; without those that there are not."""
        with one_error():
            found = {name: await self._client.get(self._state_key(name)) for name in sorted(shopper.names)}
        return {name: state for name, state in found.items() if state}

    async def _state_events(self, shopper: Shopper) -> int:
        return sum(state.count(b"\n") for state in (await self.states(shopper)).values())

    def _state_key(self, name: str) -> str:
        return ShardKeys(shard_of(name, self._shards)).shopper(name)

    async def _entries(self, stream: str, ids: Collection[str]) -> AsyncIterator[tuple[EntryId, messages.Event | None]]:
        """A stream's entries that name one of the ids; None for bytes that are no event and yet hold an id."""
        sought = [name.encode() for name in ids]
        after = "-"
        while True:
            with one_error():
                page = await self._client.xrange(stream, after, count=_PAGE)
            for key, fields in page:
                serialized = fields.get(b"e", b"")
                if any(name in serialized for name in sought):  # most entries are not even decoded
                    event = _decoded(serialized)
                    if event is None or event.user_id in ids or event.visitor_id in ids:
                        yield EntryId.parse(key), event
            if len(page) < _PAGE:
                return
            after = f"({EntryId.parse(page[-1][0])}"


def _decoded(serialized: bytes) -> messages.Event | None:
    try:
        return messages.Event.FromString(serialized)
    except DecodeError:
        return None
