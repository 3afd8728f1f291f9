"""Writes checked events to Valkey: durable, once, and never those of shoppers who opted out.

Choices:
- One script call per shard decides and writes: whoever repeats a batch, even while the first attempt is on its way,
  finds each event either written or not. A reply means that the script has run, and what that is worth on the disk is
  Valkey's `appendfsync`.
- In the script the event is written before its id is noted, so that what fails in between repeats an event rather than
  lose it.
- Ids are noted by UTC day of arrival. Yesterday's still count, and tomorrow's, which a process whose clock is ahead may
  have written already.
- All shards go in one pipeline; what failed there for itself (a new server that does not know the script) is called
  once more. In a cluster every shard is called by itself, since each has its own server.

Knows nothing of what makes an event valid.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias

from aisle.v1 import event_service_pb2 as messages

from features.shopper_digest import Digest
from services.common.streams import Client, ShardKeys, Unavailable, all_shards, event_digest, one_error, shard_of

_Answer: TypeAlias = Sequence[messages.EventStatus] | None
"""What became of the events of one shard; None where it did not answer."""

_SEEN_SECONDS = 25 * 3_600
"""How long the ids of a day are kept after the day's last event: a day, and what clocks may differ by."""

_SCRIPT = """
local accepted, duplicate, opted_out = 1, 2, 5
local events, out, today = KEYS[1], KEYS[2], KEYS[3]
local write, statuses, new = ARGV[1] == '1', {}, {}
for i = 3, #ARGV, 4 do
  local shopper, beside, id, event = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local status = accepted
  if redis.call('SISMEMBER', out, shopper) == 1 or beside ~= '' and redis.call('SISMEMBER', out, beside) == 1 then
    status = opted_out
  else
    for day = 3, #KEYS do
      if new[id] or redis.call('SISMEMBER', KEYS[day], id) == 1 then status = duplicate break end
    end
  end
  if status == accepted then
    new[id] = true
    if write then
      redis.call('XADD', events, '*', 'e', event)
      redis.call('SADD', today, id)
    end
  end
  statuses[#statuses + 1] = status
end
if write and next(new) then redis.call('EXPIRE', today, ARGV[2]) end
return statuses
"""
# The numbers are those of EventStatus. `beside` stands for the visitor where an event names a known shopper, too.


class _Call(NamedTuple):
    """The script's arguments for one shard."""

    keys: Sequence[str]
    arguments: list[bytes | str | int]
    positions: list[int]
    """Of its events within the batch."""


class EventWriter:
    """Writes batches of events. For one event loop."""

    def __init__(
        self,
        client: Client,
        shards: int,
        timeout_seconds: float,
        digest: Digest,
        is_cluster: bool = False,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """Args:
        client: Of `streams.connect`.
        shards: How many there are.
        timeout_seconds: How long a batch may take.
        digest: What shoppers who opted out are listed by.
        is_cluster: Whether shards may lie on several servers.
        now: The wall clock, an aware datetime; says on which day an event arrives.
        """
        self._client = client
        self._script = client.register_script(_SCRIPT)
        self._shards = list(all_shards(shards))
        self._timeout_seconds = timeout_seconds
        self._digest = digest
        self._run = self._one_by_one if is_cluster else self._in_one_pipeline
        self._now = now or (lambda: datetime.now(UTC))

    async def write(self, events: Sequence[messages.Event], *, dry_run: bool = False) -> list[messages.EventStatus]:
        """Writes each event, unless its id is known, or its shopper or the visitor beside has opted out.

        Args:
            events: Checked, with their times.
            dry_run: Only say what would become of them.

        Returns:
            ACCEPTED, DUPLICATE, OPTED_OUT or UNAVAILABLE for each. One that is UNAVAILABLE may have been written all
            the same: writing it again is harmless.
        """
        calls = self._calls(events, dry_run)
        answers = await self._run(list(calls.values()))
        statuses = [messages.EVENT_STATUS_UNAVAILABLE] * len(events)
        for call, answer in zip(calls.values(), answers, strict=True):
            for position, status in zip(call.positions, answer or (), strict=answer is not None):
                statuses[position] = status
        return statuses

    def _calls(self, events: Sequence[messages.Event], dry_run: bool) -> Mapping[int, _Call]:
        """Shard to its call."""
        now, calls = self._now(), dict[int, _Call]()
        for position, event in enumerate(events):
            shopper = event.user_id or event.visitor_id
            shard = shard_of(shopper, len(self._shards))
            if shard not in calls:
                calls[shard] = _Call(_keys(self._shards[shard], now), [int(not dry_run), _SEEN_SECONDS], [])
            call = calls[shard]
            beside = self._digest(event.visitor_id) if event.visitor_id and event.visitor_id != shopper else ""
            id_digest = event_digest(event.event_id)
            call.arguments.extend((self._digest(shopper), beside, id_digest, event.SerializeToString()))
            call.positions.append(position)
        return calls

    async def _in_one_pipeline(self, calls: Sequence[_Call]) -> list[_Answer]:
        """What each call was answered."""
        try:
            with one_error():
                async with asyncio.timeout(self._timeout_seconds), self._client.pipeline(transaction=False) as pipeline:
                    for call in calls:
                        pipeline.evalsha(self._script.sha, len(call.keys), *call.keys, *call.arguments)
                    answers = await pipeline.execute(raise_on_error=False)
        except Unavailable:
            return [None] * len(calls)
        failed = [position for position, answer in enumerate(answers) if isinstance(answer, Exception)]
        again = await self._one_by_one([calls[position] for position in failed])
        for position, answer in zip(failed, again, strict=True):
            answers[position] = answer
        return list(answers)

    async def _one_by_one(self, calls: Sequence[_Call]) -> list[_Answer]:
        """The same, each on a connection of its own."""
        return list(await asyncio.gather(*map(self._answer, calls)))

    async def _answer(self, call: _Call) -> _Answer:
        try:
            with one_error():
                async with asyncio.timeout(self._timeout_seconds):
                    answer: _Answer = await self._script(call.keys, call.arguments)
                    return answer
        except Unavailable:
            return None


def _keys(shard: ShardKeys, now: datetime) -> Sequence[str]:
    return (shard.events, shard.opted_out, *shard.seen_lately(now), shard.seen(now + timedelta(days=1)))
