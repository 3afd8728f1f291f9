"""How old the events are that features do not know yet, by shard.

Choices: one read-only script per shard, all of them sent at once; "now" is Valkey's own clock, whose milliseconds the
entries carry. Knows nothing of who does the work.
"""

from services.common.streams import Client, EntryId, ShardKeys, all_shards, one_error

_OLDEST = """
local done = redis.call('HGET', KEYS[2], 'features') or '0-0'
local waiting = redis.call('XRANGE', KEYS[1], '(' .. done, '+', 'COUNT', 1)
local time = redis.call('TIME')
return {waiting[1] and waiting[1][1] or '', time[1] * 1000 + math.floor(time[2] / 1000)}
"""


async def lags(client: Client, shards: int) -> list[float]:
    """Age of the oldest event that is not in features yet, for each shard, seconds; 0 where there is none.

    Raises:
        Unavailable: Valkey did not answer.
    """
    pipeline = client.pipeline(transaction=False)
    for keys in all_shards(shards):
        _ask(pipeline, keys)
    with one_error():
        answers = await pipeline.execute()
    return [_age(entry, now_ms) for entry, now_ms in answers]


def _ask(pipeline: Client, keys: ShardKeys) -> None:
    pipeline.eval(_OLDEST, 2, keys.events, keys.progress)


def _age(entry: bytes, now_ms: int) -> float:
    return max(0.0, (now_ms - EntryId.parse(entry).milliseconds) / 1000.0) if entry else 0.0
