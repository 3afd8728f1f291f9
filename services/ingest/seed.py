"""Gives shoppers the state of what they did before:
`python -m services.ingest.seed --data complete-journey+live:build/live`.

Without it a known shopper's first live event would be all that their features know. To be run once, before events come
in: a shopper who has a state already keeps it, and one who has opted out gets none. Who is left out or forgotten while
this is at work loses it again at its end. Without `+live:DIR` in the data, what was purged before comes back.

The events are those of the data up to the serving bundle's `as_of`, and all of the log where the data has one
(`+live:DIR`): historical data goes on beyond that instant, what was taken in live is never ahead of the clock.
"""

import argparse
import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from features.adapters import live_folder, load
from features.bundle import open_bundle, serving_path
from features.event_log import events_of, read
from features.left_out import NewlyLeftOut
from features.shopper_digest import Digest, configured_key_file, open_digest
from features.transforms import known_events
from services.common import streams
from services.common.streams import SHARDS_DEFAULT, Client, ShardKeys, one_error, shard_of
from services.ingest.updater.state import lines_of

log = logging.getLogger("services.ingest.seed")

_END = datetime(9999, 1, 1, tzinfo=UTC)
"""After every event: what was accepted counts at once, also when its clock was ahead of ours."""
_TAKE_BACK = """
local state, written = redis.call('GET', KEYS[1]), ARGV[1]
if not state or string.sub(state, 1, #written) ~= written then return end
if #state == #written then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], string.sub(state, #written + 1))
"""
"""Takes what was written here out of a state; what came in afterwards stays."""
_PIPELINE_SHOPPERS = 100
_COMMAND_SECONDS = 10.0


class Seeded(NamedTuple):
    """What became of shoppers."""

    written: int
    kept: int
    """Had a state already."""
    opted_out: int
    """Or forgotten meanwhile."""


async def seed(
    client: Client, states: Mapping[str, bytes], shards: int, digest: Digest, newly: NewlyLeftOut | None = None
) -> Seeded:
    """Write states where there are none.

    Args:
        client: From streams.connect.
        states: Shopper to state.
        shards: As for every process.
        digest: What shoppers who opted out are listed by.
        newly: Made before the states' events were read; None where nobody can be forgotten meanwhile.

    Raises:
        Unavailable: Valkey did not answer; to be repeated.
    """
    written, opted_out = set[str](), 0
    shoppers = list(states)
    for start in range(0, len(shoppers), _PIPELINE_SHOPPERS):
        names = shoppers[start : start + _PIPELINE_SHOPPERS]
        keys = {name: ShardKeys(shard_of(name, shards)) for name in names}
        out = await _run(client, [("SISMEMBER", keys[name].opted_out, digest(name)) for name in names])
        theirs = [name for name, is_out in zip(names, out, strict=True) if not is_out]
        opted_out += len(names) - len(theirs)
        answers = await _run(client, [("SETNX", keys[name].shopper(name), states[name]) for name in theirs])
        written |= {name for name, is_new in zip(theirs, answers, strict=True) if is_new}
    kept = len(states) - len(written) - opted_out
    while newly is not None and (gone := newly.among(written)):
        await _take_back(client, {name: states[name] for name in gone}, shards)
        written, opted_out = written.difference(gone), opted_out + len(gone)
    return Seeded(len(written), kept, opted_out)


async def _take_back(client: Client, states: Mapping[str, bytes], shards: int) -> None:
    """A row that an updater has made of such a state meanwhile is right again after the shopper's next event."""
    with one_error():
        for name, state in states.items():
            await client.eval(_TAKE_BACK, 1, ShardKeys(shard_of(name, shards)).shopper(name), state)


async def _run(client: Client, commands: list[tuple[str | bytes, ...]]) -> list[int]:
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    with one_error():
        return list(await pipeline.execute())


def _counted(events: pl.DataFrame, live: Path | None, as_of: datetime) -> pl.DataFrame:
    """The events that go into states."""
    before = known_events(events, as_of)
    if live is None:
        return before
    logged = events_of(read(live))["event_id"]
    later = events.filter(pl.col("event_time") >= as_of, pl.col("event_id").is_in(logged.implode()))
    return pl.concat([before, known_events(later, _END)])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m services.ingest.seed", description=__doc__)
    parser.add_argument("--data", default="complete-journey", help="ADAPTER[:ARGUMENT][+live:DIR] (%(default)s)")
    parser.add_argument("--cache", type=Path, default=Path("build/data"), help="prepared data (default %(default)s)")
    parser.add_argument("--bundles", type=Path, default=Path("bundles"))
    parser.add_argument("--redis", default="127.0.0.1:6379", help="host:port (default %(default)s)")
    parser.add_argument("--shards", type=int, default=SHARDS_DEFAULT, help="as AISLE_SHARDS (default %(default)s)")
    parser.add_argument("--live-dir", type=Path, default=Path("build/live"), help="as AISLE_LIVE_DIR (%(default)s)")
    options = parser.parse_args()
    digest, newly = open_digest(options.live_dir, configured_key_file()), NewlyLeftOut(options.live_dir)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    bundle = open_bundle(serving_path(options.bundles))
    events = load(options.data, options.cache).events
    states = lines_of(_counted(events, live_folder(options.data), bundle.as_of))

    async def run() -> Seeded:
        client = streams.connect(options.redis, _COMMAND_SECONDS)
        try:
            return await seed(client, states, options.shards, digest, newly)
        finally:
            await client.aclose()

    done = asyncio.run(run())
    log.info("%d shoppers seeded, %d had a state already, %d have opted out", *done)


if __name__ == "__main__":
    main()
