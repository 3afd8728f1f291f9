"""One shard in Valkey as its owner reads and writes it.

Choices:
- Whatever an owner changes is one script that first looks whether it still is the owner.
- A commit also looks whether position and states are those that were read, and whether somebody whom an event names
  has opted out since: what others do to a shopper meanwhile (a purge, a seed), or a commit whose answer was lost, sends
  the round back to its beginning.
- The time stamp of rows is reserved before they are pushed. Otherwise whoever repeats a push after a crash might stamp
  it lower than the first time, and the online store would keep the older row.
- An entry that ends as a dead letter, or that belongs to a shopper who has opted out, leaves the stream in the same
  commit: the log of events never sees it, and a replayed letter is there once.

Knows nothing of what an event says.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from features.shopper_digest import Digest
from services.common.streams import BEGINNING, Client, EntryId, ShardKeys, one_error

_EVENT = b"e"
_RESERVE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local last = redis.call('HGET', KEYS[2], 'stamp')
local stamp = ARGV[2]
if last and tonumber(last) >= tonumber(stamp) then stamp = string.format('%.0f', tonumber(last) + 1) end
redis.call('HSET', KEYS[2], 'stamp', stamp)
return tonumber(stamp)
"""
# KEYS: owner, progress, opted_out, dead, events, then one state per shopper.
# ARGV: token, position before, position, people P, P digests, shoppers N, N times (length before, lines), letters M,
#       M times (event, entry, reason), then the entries that leave the stream.
_COMMIT = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'lost' end
if (redis.call('HGET', KEYS[2], 'features') or '0-0') ~= ARGV[2] then return 'changed' end
local at = 4 + tonumber(ARGV[4])
for i = 5, at do
  if redis.call('SISMEMBER', KEYS[3], ARGV[i]) == 1 then return 'changed' end
end
local shoppers = tonumber(ARGV[at + 1])
for i = 1, shoppers do
  if redis.call('STRLEN', KEYS[5 + i]) ~= tonumber(ARGV[at + i * 2]) then return 'changed' end
end
for i = 1, shoppers do redis.call('APPEND', KEYS[5 + i], ARGV[at + i * 2 + 1]) end
at = at + 2 + shoppers * 2
local letters = tonumber(ARGV[at])
for i = 1, letters do
  redis.call('XADD', KEYS[4], '*', 'e', ARGV[at + 1], 'entry', ARGV[at + 2], 'reason', ARGV[at + 3])
  redis.call('XDEL', KEYS[5], ARGV[at + 2])
  at = at + 3
end
for i = at + 1, #ARGV do redis.call('XDEL', KEYS[5], ARGV[i]) end
redis.call('HSET', KEYS[2], 'features', ARGV[3])
return 'done'
"""
_LOGGED = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'lost' end
redis.call('HSET', KEYS[2], 'logged', ARGV[2])
redis.call('XTRIM', KEYS[3], 'MINID', ARGV[3])
return 'done'
"""


class LeaseLost(Exception):  # noqa: N818 - named for what happened
    """Another updater owns the shard."""


class StateChanged(Exception):  # noqa: N818 - named for what happened
    """A shopper's state or the position is not what it was when the round began, or somebody has opted out."""


class Entry(NamedTuple):
    """An entry of a stream."""

    id: EntryId
    event: bytes
    """The serialized event; empty where the entry has none."""


class Letter(NamedTuple):
    """An entry that cannot be counted, and why."""

    entry: Entry
    reason: str


class Positions(NamedTuple):
    """How far a shard has come."""

    features: EntryId
    """Last entry whose effect on features is committed."""
    logged: EntryId
    """Last entry that is in a file."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What a round does to a shard."""

    before: EntryId
    """The shard's position when the round began."""
    position: EntryId
    """Last entry that it took."""
    named: Collection[str] = ()
    """All whom its events name, none of whom has opted out."""
    lengths: Mapping[str, int] = field(default_factory=dict)
    """Shopper to the bytes of the state that was read; of those in `appended`, and perhaps more."""
    appended: Mapping[str, bytes] = field(default_factory=dict)
    """Shopper to new lines."""
    letters: Sequence[Letter] = ()
    """Dead letters."""
    left_out: Sequence[EntryId] = ()
    """Entries of shoppers who have opted out."""


class ShardStore:
    """One shard, for the updater that holds `token`. Everything raises `Unavailable` when Valkey does not answer."""

    def __init__(self, client: Client, shard: int, token: str, digest: Digest) -> None:
        """Connects at its first use. Args: digest: what shoppers who opted out are listed by."""
        self._client, self._keys, self._token, self._digest = client, ShardKeys(shard), token, digest
        self.shard = shard

    async def positions(self) -> Positions:
        """How far it has come."""
        with one_error():
            found = await self._client.hmget(self._keys.progress, "features", "logged")
        return Positions(*(EntryId.parse(value) if value else BEGINNING for value in found))

    async def entries(self, after: EntryId, count: int, last: EntryId | None = None) -> list[Entry]:
        """Up to `count` entries after one and up to another (default: the newest), oldest first."""
        with one_error():
            found = await self._client.xrange(self._keys.events, f"({after}", str(last or "+"), count=count)
        return [Entry(EntryId.parse(key), fields.get(_EVENT, b"")) for key, fields in found]

    async def wait(self, after: EntryId, seconds: float) -> bool:
        """Until there is an entry after one, or the time is over; whether there is."""
        with one_error():
            wait_ms = max(1, int(seconds * 1000))
            return bool(await self._client.xread({self._keys.events: str(after)}, count=1, block=wait_ms))

    async def length(self) -> int:
        """Entries in the stream: those of which a file or the features know nothing, and perhaps a few more."""
        with one_error():
            return int(await self._client.xlen(self._keys.events))

    async def opted_out(self, shoppers: Sequence[str]) -> set[str]:
        """Those of some shoppers who have opted out."""
        if not shoppers:
            return set()
        with one_error():
            found = await self._client.smismember(self._keys.opted_out, list(map(self._digest, shoppers)))
        return {shopper for shopper, out in zip(shoppers, found, strict=True) if out}

    async def states(self, shoppers: Sequence[str]) -> dict[str, bytes]:
        """The states of some shoppers; empty for one who has none."""
        if not shoppers:
            return {}
        with one_error():
            found = await self._client.mget([self._keys.shopper(shopper) for shopper in shoppers])
        return {shopper: state or b"" for shopper, state in zip(shoppers, found, strict=True)}

    async def reserve(self, now_us: int) -> int:
        """A time stamp for rows, microseconds: now, or later where one as late was given out before.

        Raises:
            LeaseLost: another updater owns the shard.
        """
        with one_error():
            keys = (self._keys.owner, self._keys.progress)
            stamp = int(await self._client.eval(_RESERVE, len(keys), *keys, self._token, now_us))
        if stamp < 0:
            raise LeaseLost
        return stamp

    async def commit(self, commit: Commit) -> None:
        """All of a round, or nothing.

        Raises:
            LeaseLost: another updater owns the shard.
            StateChanged: somebody has changed a shopper meanwhile.
        """
        keys = self._keys
        states = [keys.shopper(shopper) for shopper in commit.appended]
        arguments: list[str | bytes | int] = [self._token, str(commit.before), str(commit.position), len(commit.named)]
        arguments += map(self._digest, commit.named)
        arguments.append(len(states))
        for shopper, lines in commit.appended.items():
            arguments += [commit.lengths[shopper], lines]
        arguments.append(len(commit.letters))
        for letter in commit.letters:
            arguments += [letter.entry.event, str(letter.entry.id), letter.reason]
        arguments += map(str, commit.left_out)
        names = [keys.owner, keys.progress, keys.opted_out, keys.dead, keys.events, *states]
        with one_error():
            answer = await self._client.eval(_COMMIT, len(names), *names, *arguments)
        _check(answer)

    async def logged(self, position: EntryId) -> None:
        """Entries up to one, all of them counted, are in files: the stream need not keep them.

        Raises:
            LeaseLost: another updater owns the shard.
        """
        keys = (self._keys.owner, self._keys.progress, self._keys.events)
        kept_from = EntryId(position.milliseconds, position.sequence + 1)
        with one_error():
            answer = await self._client.eval(_LOGGED, len(keys), *keys, self._token, str(position), str(kept_from))
        _check(answer)


def _check(answer: bytes) -> None:
    if answer == b"lost":
        raise LeaseLost
    if answer == b"changed":
        raise StateChanged
