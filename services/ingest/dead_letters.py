"""Events that could not be counted: `python -m services.ingest.dead_letters list|show|replay|drop`.

A dead letter is known by its shard and its id there, `3/1732471200000-0`. Replayed, its event comes to the end of its
stream as if it were new; dropped, it is gone.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from services.common import streams
from services.common.streams import BEGINNING, SHARDS_DEFAULT, Client, EntryId, ShardKeys, all_shards, one_error
from services.ingest import records
from services.ingest.records import Event, UnreadableEvent

_COMMAND_SECONDS = 10.0
_PAGE = 200
_REPLAY = """
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if not found[1] then return false end
local fields = found[1][2]
for i = 1, #fields, 2 do
  if fields[i] == 'e' then
    redis.call('XDEL', KEYS[1], ARGV[1])
    return redis.call('XADD', KEYS[2], '*', 'e', fields[i + 1])
  end
end
return false
"""


class DeadLetter(NamedTuple):
    """An event that could not be counted."""

    shard: int
    id: EntryId
    entry: str
    """The entry of the stream that it was."""
    reason: str
    event: bytes

    @property
    def name(self) -> str:
        """How the command line calls it."""
        return f"{self.shard}/{self.id}"


async def letters(client: Client, shards: int) -> AsyncIterator[DeadLetter]:
    """All of them, shard by shard, oldest first.

    Raises:
        Unavailable: Valkey did not answer.
    """
    for keys in all_shards(shards):
        after = BEGINNING
        while True:
            with one_error():
                page = await client.xrange(keys.dead, f"({after}", count=_PAGE)
            for key, fields in page:
                after = EntryId.parse(key)
                entry, reason = (fields.get(name, b"").decode(errors="replace") for name in (b"entry", b"reason"))
                yield DeadLetter(keys.shard, after, entry, reason, fields.get(b"e", b""))
            if len(page) < _PAGE:
                break


async def replay(client: Client, letter: DeadLetter) -> bool:
    """Put an event into its stream again and remove the letter, both or neither; False where the letter is gone."""
    keys = ShardKeys(letter.shard)
    with one_error():
        return bool(await client.eval(_REPLAY, 2, keys.dead, keys.events, str(letter.id)))


async def drop(client: Client, letter: DeadLetter) -> bool:
    """Remove a letter for good; False where it is gone."""
    with one_error():
        return bool(await client.xdel(ShardKeys(letter.shard).dead, str(letter.id)))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; ends with status 1 where a named letter is not there."""
    parser = argparse.ArgumentParser(prog="python -m services.ingest.dead_letters", description=__doc__)
    parser.add_argument("action", choices=("list", "show", "replay", "drop"))
    parser.add_argument("names", nargs="*", metavar="SHARD/ID", help="which; for `list` all")
    parser.add_argument("--all", action="store_true", help="every one")
    parser.add_argument("--redis", default="127.0.0.1:6379", help="host:port (default %(default)s)")
    parser.add_argument("--shards", type=int, default=SHARDS_DEFAULT, help="as AISLE_SHARDS (default %(default)s)")
    options = parser.parse_args(arguments)
    if options.action != "list" and bool(options.names) == options.all:
        parser.error("name letters, or all of them by --all")
    missing = asyncio.run(_run(options))
    if missing:
        sys.exit(f"not there: {', '.join(sorted(missing))}")


async def _run(options: argparse.Namespace) -> set[str]:
    """Does it; the names of letters that are not there."""
    client = streams.connect(options.redis, _COMMAND_SECONDS)
    missing = set(options.names)
    try:
        async for letter in letters(client, options.shards):
            if options.names and letter.name not in missing:
                continue
            missing.discard(letter.name)
            if options.action == "replay" and not await replay(client, letter):
                missing.add(letter.name)
            if options.action == "drop" and not await drop(client, letter):
                missing.add(letter.name)
            print(_told(letter) if options.action == "show" else f"{letter.name}  {letter.reason}")
    finally:
        await client.aclose()
    return missing


def _told(letter: DeadLetter) -> str:
    try:
        event = str(Event.FromString(letter.event)).strip() if records.parse(letter.event) else ""
    except UnreadableEvent:
        event = repr(letter.event)
    return f"{letter.name}\nentry: {letter.entry}\nreason: {letter.reason}\n{event}\n"


if __name__ == "__main__":
    main()
