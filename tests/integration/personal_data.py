"""Puts a shopper into every place that can hold one, and looks for the id in all of them, byte by byte."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.adapters import cache
from features.event_log import LOGGED, write_part
from features.pseudonyms import pseudonym, with_pseudonyms
from features.schema import EVENTS, ITEMS, PROMOTIONS, USERS, Calendar, Dataset
from features.store import UserWriter, close_store, materialise, open_store, write_offline
from services.common.streams import EntryId
from services.ingest.privacy.places import Places
from services.ingest.privacy.requests import Privacy
from services.ingest.privacy.root import opened
from services.ingest.records import Event, logged_frame
from services.ingest.updater.state import lines_of
from tests.frames import pushed, random_item_frame, random_user_frame
from tests.integration.live_shop import SHARDS, LiveShop

SHOPPER = "shopper-7731-Ärmel"
VISITOR = "visitor-of-7731"
OTHER = "somebody-else"
AS_OF = datetime(2017, 12, 30, 5, tzinfo=UTC)
KEY = b"a key of sixteen bytes or more"


def places(shop: LiveShop) -> Places:
    """The shop's."""
    return Places(
        redis=shop.address,
        shards=SHARDS,
        live_dir=shop.folder / "live",
        feast_dir=shop.folder / "feast",
        offline_dir=shop.folder / "offline",
        training_dir=shop.folder,
    )


@asynccontextmanager
async def privacy_of(shop: LiveShop, pseudonym_key: bytes | None = None) -> AsyncIterator[Privacy]:
    """Privacy over the shop's real stores."""
    async with opened(places(shop), shop.digest, pseudonym_key) as privacy:
        yield privacy


async def plant(shop: LiveShop, *, pseudonym_key: bytes | None = None) -> None:
    """SHOPPER and OTHER into streams, dead letters, states, online rows, and every kind of file.

    With a key the log holds pseudonyms, and so do rows and states that jobs have made of it, beside the live ones.
    """
    for shopper, first in ((SHOPPER, 0), (OTHER, 100)):
        keys = shop.keys(shopper)
        await shop.client.xadd(keys.events, {"e": _event(shop, first, shopper)})
        letter = {"e": _event(shop, first + 1, shopper), "entry": "1-0", "reason": "planted"}
        await shop.client.xadd(keys.dead, letter)
        for name in _names(shopper, pseudonym_key):
            known = pl.DataFrame(
                [{"user_id": name, "event_id": f"event-{first + 2}", "event_time": AS_OF, **_THE_SAME}], schema=EVENTS
            )
            await shop.client.set(shop.keys(name).shopper(name), lines_of(known)[name])
        entry = EntryId(1_790_000_000_000, first)
        frame = logged_frame(keys.shard, [(entry, Event.FromString(_event(shop, first + 3, shopper)))])
        frame = frame if pseudonym_key is None else with_pseudonyms(frame, pseudonym_key)
        assert frame.schema == LOGGED
        write_part(shop.folder / "live", keys.shard, "0-0", str(entry), frame)
    # The visitor's id in the stream of the known shopper.
    beside = shop.event(4, SHOPPER, visitor_id=VISITOR).SerializeToString()
    await shop.client.xadd(shop.keys(SHOPPER).events, {"e": beside})
    await plant_rows(shop, [name for shopper in (SHOPPER, OTHER) for name in _names(shopper, pseudonym_key)])
    _plant_training(shop.folder / "data", shop.folder)


_THE_SAME = {"item_id": "item-1", "event_type": "purchase", "tenant": "default", "quantity": 1, "attributes": []}


def _event(shop: LiveShop, number: int, shopper: str) -> bytes:
    return shop.event(number, shopper).SerializeToString()


def _names(shopper: str, key: bytes | None) -> list[str]:
    return [shopper] if key is None else [shopper, pseudonym(key, shopper)]


async def plant_rows(shop: LiveShop, names: list[str]) -> None:
    """Materialised by every name, pushed by ids."""
    store = open_store(shop.folder / "feast", shop.folder / "offline", shop.address)
    rows = random_user_frame(len(names), np.random.default_rng(len(names))).with_columns(user_id=pl.Series(names))
    materialise(store, rows, random_item_frame(1, np.random.default_rng(2)), AS_OF)
    await UserWriter(store).push(pushed(rows.filter(pl.col("user_id").is_in([SHOPPER, OTHER])), AS_OF))
    write_offline(rows, "user", AS_OF, shop.folder / "offline")
    await close_store(store)


def _plant_training(cache_dir: Path, reports: Path) -> None:
    events = pl.DataFrame(
        [{"user_id": name, "event_id": f"base-{name}", "event_time": AS_OF, **_THE_SAME} for name in (SHOPPER, OTHER)],
        schema=EVENTS,
    )
    users = pl.DataFrame([{"user_id": name, "attributes": []} for name in (SHOPPER, OTHER)], schema=USERS)
    calendar = Calendar(datetime(2017, 1, 2, tzinfo=UTC).date(), "UTC")
    cache.keep(
        Dataset(
            name="shop",
            events=events,
            items=ITEMS.to_frame(),
            promotions=PROMOTIONS.to_frame(),
            users=users,
            calendar=calendar,
        ),
        cache_dir / "shop-1",
    )
    rejects = cache_dir / "rejects" / "events.rejects.jsonl"
    rejects.parent.mkdir(parents=True)
    rows = [json.dumps({"user_id": name, "quantity": 0}, ensure_ascii=False) for name in (SHOPPER, OTHER)]
    texts = [*rows, f"{SHOPPER},kettle,broken line", f"{OTHER},kettle"]
    lines = [json.dumps({"row": 1, "reason": "planted", "original": text}, ensure_ascii=False) for text in texts]
    rejects.write_text("\n".join(lines) + "\n", encoding="utf-8")
    pl.DataFrame({"user_id": [SHOPPER, OTHER], "ndcg": [0.5, 0.5]}).write_parquet(reports / "evaluation.parquet")


async def traces(shop: LiveShop, *names: str) -> list[str]:
    """Every place where one of some names is found: keys, files as they are, and what Parquet files say."""
    sought = [name.encode() for name in names]
    sought += [json.dumps(name)[1:-1].encode() for name in names if not name.isascii()]
    found = []
    async for key in shop.client.scan_iter(count=1000):
        content = key + await _content(shop.client, key)
        if any(name in content for name in sought):
            found.append(f"key {key!r}")
    for path, content in _files(shop.folder):
        if any(name in content for name in sought) or any(name in str(path).encode() for name in sought):
            found.append(str(path.relative_to(shop.folder)))
    return sorted(set(found))


async def _content(client: Any, key: bytes) -> bytes:
    match await client.type(key):
        case b"string":
            return bytes(await client.get(key))
        case b"hash":
            return b"".join(part for pair in (await client.hgetall(key)).items() for part in pair)
        case b"set":
            return b"".join(await client.smembers(key))
        case b"zset":
            return b"".join(await client.zrange(key, 0, -1))
        case b"stream":
            entries = await client.xrange(key)
            return b"".join(part for _, fields in entries for pair in fields.items() for part in pair)
        case other:
            raise AssertionError(f"{key!r} is a {other!r}")


def _files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, path.read_bytes()
            if path.suffix == ".parquet":
                yield path, pl.read_parquet(path).write_json().encode()
