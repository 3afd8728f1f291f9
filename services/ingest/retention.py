"""Forgets what is old: `python -m services.ingest.retention --days 730`. For every night, after the nightly training.

Choices:
- The log and dead letters go by when events arrived (the machine's clock, whole days), shoppers' states by when events
  happened (the serving clock): that is what each of them tells.
- A shopper of whom nothing is left loses the feature rows, too. Of others the rows follow with their next event; until
  then lists may still be made from what they did before.
- States are trimmed shard by shard while no updater works on it (privacy/handover.py).

The shop's own data and what was made of it (bundles, prepared copies) are not touched: their age is for the shop to
choose.
"""

import argparse
import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, get_args

import polars as pl

from features.bundle import open_bundle, serving_path
from features.clock import ClockMode, open_clock
from features.event_log import drop_before
from features.lean_imports import block
from services.common.streams import (
    SHARDS_DEFAULT,
    Client,
    EntryId,
    ShardKeys,
    all_shards,
    connect,
    one_error,
)
from services.ingest.privacy.audit import AuditLog
from services.ingest.privacy.handover import Handover
from services.ingest.privacy.personal_store import Eraser
from services.ingest.updater.state import frame_of, lines_of

log = logging.getLogger("services.ingest.retention")

_COMMAND_SECONDS = 10.0
_LEASE_SECONDS = 10.0
_HANDOVER_SECONDS = 60.0
_PAGE = 500
_DAY_US = 86_400_000_000


class Trimmed(NamedTuple):
    """How much was forgotten of states."""

    events: int
    shoppers: int
    """Of whom nothing is left."""


def trimmed(states: Mapping[str, bytes], from_us: int) -> dict[str, bytes]:
    """States without what happened before an instant; those that change, empty where nothing is left.

    Args:
        states: Shopper to state.
        from_us: Microseconds since 1970.
    """
    known = frame_of(states)
    is_old = pl.col("event_time").dt.timestamp("us") < from_us
    changed = known.filter(is_old)["user_id"].unique()
    kept = lines_of(known.filter(~is_old & pl.col("user_id").is_in(changed.implode())))
    return {shopper: kept.get(shopper, b"") for shopper in changed}


async def trim_shard(client: Client, keys: ShardKeys, from_us: int, eraser: Eraser) -> Trimmed:
    """Trim the states of a shard, which the caller holds.

    Raises:
        Unavailable: Valkey did not answer.
    """
    start, events, gone = len(keys.shopper("")), 0, 0
    with one_error():
        names = [key.decode()[start:] async for key in client.scan_iter(match=keys.shopper("*"), count=_PAGE)]
    for at in range(0, len(names), _PAGE):
        page = names[at : at + _PAGE]
        with one_error():
            found = await client.mget([keys.shopper(name) for name in page])
        states = {name: state for name, state in zip(page, found, strict=True) if state}
        for name, state in trimmed(states, from_us).items():
            events += states[name].count(b"\n") - state.count(b"\n")
            if not state:
                gone += 1
                await eraser.erase([name])
            with one_error():
                await (client.set(keys.shopper(name), state) if state else client.delete(keys.shopper(name)))
    return Trimmed(events, gone)


async def forget(
    client: Client, shards: int, live_dir: Path, days: int, wall: datetime, serving_us: int, eraser: Eraser
) -> dict[str, int]:
    """Forget what is older than some days, and put that down in the audit log; what was removed, by kind.

    Args:
        client: From streams.connect.
        shards: As for every process.
        live_dir: The live folder.
        days: 1 or more.
        wall: The machine's clock.
        serving_us: The serving clock, microseconds since 1970.
        eraser: Of the online store.

    Raises:
        Unavailable: Valkey did not answer, or an updater did not give a shard back; to be repeated.
    """
    oldest = (wall - timedelta(days=days)).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    removed = {"logged_events": await asyncio.to_thread(drop_before, live_dir, oldest.date())}
    removed |= dict.fromkeys(("dead_letters", "state_events", "shoppers"), 0)
    handover = Handover(client, _LEASE_SECONDS, _HANDOVER_SECONDS)
    for keys in all_shards(shards):
        first = EntryId(int(oldest.timestamp() * 1000), 0)
        with one_error():
            removed["dead_letters"] += await client.xtrim(keys.dead, minid=str(first), approximate=False)
        async with handover.holding([keys.shard]):
            states = await trim_shard(client, keys, serving_us - days * _DAY_US, eraser)
        removed["state_events"] += states.events
        removed["shoppers"] += states.shoppers
    await asyncio.to_thread(AuditLog(live_dir).append, wall, "retention", (), {"days": days, "removed": removed})
    return removed


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _parser().parse_args(arguments)
    if options.days < 1:
        raise SystemExit("--days: must be 1 or more")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    block("torch", "transformers", "sklearn", "matplotlib")
    log.info("removed %s", asyncio.run(_run(options)))


async def _run(options: argparse.Namespace) -> dict[str, int]:
    from features.store import UserEraser, close_store, open_store  # noqa: PLC0415 - Feast takes seconds to import

    clock = open_clock(options.clock, open_bundle(serving_path(options.bundles)).as_of)
    client = connect(options.redis, _COMMAND_SECONDS)
    store = open_store(options.feast_dir, options.offline_dir, options.redis)
    try:
        wall, eraser = datetime.now(UTC), UserEraser(store)
        return await forget(client, options.shards, options.live_dir, options.days, wall, clock.now_us(), eraser)
    finally:
        await close_store(store)
        await client.aclose()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.ingest.retention", description=__doc__)
    parser.add_argument("--days", type=int, required=True, help="how long to remember")
    parser.add_argument("--bundles", type=Path, default=Path("bundles"))
    parser.add_argument("--clock", choices=get_args(ClockMode), default="bundle", help="as AISLE_CLOCK (%(default)s)")
    parser.add_argument("--redis", default="127.0.0.1:6379", help="host:port (default %(default)s)")
    parser.add_argument("--shards", type=int, default=SHARDS_DEFAULT, help="as AISLE_SHARDS (default %(default)s)")
    parser.add_argument("--live-dir", type=Path, default=Path("build/live"), help="as AISLE_LIVE_DIR (%(default)s)")
    parser.add_argument("--feast-dir", type=Path, default=Path("build/feast"), help="Feast's registry")
    parser.add_argument("--offline-dir", type=Path, default=Path("build/offline"), help="Feast's offline tables")
    return parser


if __name__ == "__main__":
    main()
