"""Line 6: a shopper in every place that can hold one is told everything, then forgotten everywhere; and whoever opted
out is in nothing that is learned from.

The shopper is planted as a shop would do it: by the shop's own data (prepared, materialised, seeded), by events through
the API, by events that cannot be counted, and by a table that an evaluation leaves behind.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import grpc
import polars as pl
from aisle.v1 import event_service_pb2 as messages
from aisle.v1.event_service_pb2_grpc import EventServiceStub

from features import bundle as files
from features import event_log
from features.adapters import cache, load
from features.bundle import Bundle, open_bundle, serving_path
from features.schema import EVENTS, PROMOTIONS, USERS, Calendar, Dataset
from features.store import UserReader, close_store, open_store
from features.tables import write_rejects
from features.validation import validate
from services.common import streams
from services.common.streams import ShardKeys, shard_of
from services.stack import Stack
from tests.acceptance.folders import emptied
from tests.acceptance.live_parts import Folders, drained, live_parts
from tests.acceptance.live_traces import in_append_only_file, in_files, in_keys
from tests.acceptance.rows import Row, at_least, at_most, holds, told
from training.dataset import select_catalogue, sequences

SHOPPER, VISITOR = "forget-me-5b1e7c0d94aa", "cookie-8c1d3be60f27"
LEFT_OUT = "leave-me-out-3f90a1c27e55"
OTHERS = tuple(f"somebody else {number}" for number in range(8))
PLACES = {
    "key of the stream": "':events'",
    "key of dead letters": "':dead'",
    "key of the state": ":shopper:",
    "key of the online row": "user_id",
    "append-only file": "appendonlydir",
    "log of events": "live/events",
    "offline table": "offline/user",
    "prepared data": "data/shop",
    "rejected rows": "data/rejects",
    "table of an evaluation": "runs/evaluation",
}
"""What must hold the shopper before, and a part of its name."""
EVENTS_EACH = 12
_CALL_SECONDS = 120.0
_PATIENCE_SECONDS = 60.0
_PAGE = 5
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Shop:
    """The parts under test, and what they were given."""

    stack: Stack
    folders: Folders
    bundle: Bundle
    source: Path
    """The shop's own tables, which are none of ours to change."""
    stub: EventServiceStub

    @property
    def redis(self) -> str:
        """Valkey's address."""
        return self.stack.addresses["valkey"]

    def trained_on(self) -> set[str]:
        """Shoppers in the data set, its users' table, and the sequences that the towers learn from."""
        data = load(f"parquet:{self.source}+live:{self.folders.live}", self.folders.root / "trained")
        until = self.bundle.as_of + 36500 * _DAY
        learned = sequences(data, select_catalogue(data, until, 0), until)
        return {*data.events["user_id"], *data.users["user_id"], *learned.user_ids}


def forgotten() -> list[Row]:
    """Over the default bundle's items."""
    return measured(emptied("live/forgotten"), Path("bundles"))


def measured(folder: Path, bundles: Path) -> list[Row]:
    """All of it. `folder` becomes the build folder of a shop."""
    folders, bundle = Folders(folder / "build", bundles), open_bundle(serving_path(bundles))
    source = folder / "source"
    _write_source(bundle, source)
    settings = {"LOG_SECONDS": 5}  # long enough for what is still in a stream to be looked at there
    with (
        live_parts(folders, append_fsync="everysec", settings=settings) as stack,
        grpc.insecure_channel(stack.addresses["ingest"]) as channel,
    ):
        shop = _Shop(stack, folders, bundle, source, EventServiceStub(channel))
        _run_jobs(shop)
        said = _plant(shop)
        return [*_forget(shop, said), *_leave_out(shop)]


def _write_source(bundle: Bundle, source: Path) -> None:
    """The shop's own data, as its data set and as the folder that `parquet:` reads."""
    items = pl.read_parquet(bundle.path(files.ITEMS))
    ids, now = items["item_id"].head(EVENTS_EACH).to_list(), bundle.as_of
    rows = [
        {
            "tenant": "default",
            "event_id": f"bought-{shopper}-{number}",
            "user_id": shopper,
            "item_id": item_id,
            "event_type": "purchase",
            "event_time": now - (number + 1) * _DAY,
            "quantity": 1,
            "attributes": [],
        }
        for shopper in (SHOPPER, LEFT_OUT, *OTHERS)
        for number, item_id in enumerate(ids)
    ]
    users = pl.DataFrame([{"user_id": name, "attributes": []} for name in (SHOPPER, LEFT_OUT, *OTHERS)], schema=USERS)
    events = pl.DataFrame(rows, schema=EVENTS, orient="row")
    monday = date(2017, 1, 2)
    data = Dataset("shop", events, items, PROMOTIONS.to_frame(), users, Calendar(monday, "UTC"), synthetic=True)
    cache.keep(data, source)


def _run_jobs(shop: _Shop) -> None:
    """What a stack runs before it serves, and what training and evaluation leave behind."""
    root = shop.folders.root
    data = cache.recall(shop.source)
    cache.keep(data, root / "data" / "shop-1")
    bad = data.events.filter(pl.col("user_id") == SHOPPER).with_columns(quantity=pl.lit(0, pl.Int64))
    write_rejects(validate(bad, "events", shop.source / "events.parquet"), root / "data" / "rejects", "planted")
    (root / "runs").mkdir()
    pl.DataFrame({"user_id": [SHOPPER, OTHERS[0]], "ndcg": [0.5, 0.5]}).write_parquet(
        root / "runs" / "evaluation.parquet"
    )
    shared = ["--data", f"parquet:{shop.source}", "--cache", str(root / "data"), "--redis", shop.redis]
    shared += ["--bundles", str(shop.folders.bundles)]
    feast = ["--feast-dir", str(shop.folders.feast), "--offline-dir", str(shop.folders.offline)]
    for module, more in (
        ("features.materialise", feast),
        ("services.ingest.seed", ["--live-dir", str(shop.folders.live)]),
    ):
        subprocess.run([sys.executable, "-m", module, *shared, *more], check=True, capture_output=True)


def _plant(shop: _Shop) -> dict[str, messages.Event]:
    """Events through the API, into files and then into streams; and some that become dead letters.

    Returns:
        Id to event of all that the shopper, known and anonymous, can be told.
    """
    items = pl.read_parquet(shop.bundle.path(files.ITEMS))["item_id"].head(EVENTS_EACH).to_list()
    said: dict[str, messages.Event] = {}
    for shopper in (SHOPPER, LEFT_OUT, OTHERS[0]):
        events = [_event(shopper, number, item, shop.bundle.as_of) for number, item in enumerate(items)]
        _write(shop, events)
        said |= {event.event_id: event for event in events if event.user_id == SHOPPER}
    asyncio.run(_plant_letters(shop))
    asyncio.run(_until_drained(shop))
    late = [_event(SHOPPER, EVENTS_EACH + number, item, shop.bundle.as_of) for number, item in enumerate(items[:3])]
    _write(shop, late)
    return said | {event.event_id: event for event in late}


def _event(shopper: str, number: int, item_id: str, now: datetime) -> messages.Event:
    event = messages.Event(
        event_id=f"live-{shopper}-{number}",
        event_type=messages.EVENT_TYPE_CLICK,
        user_id=shopper,
        visitor_id=VISITOR if shopper == SHOPPER and number % 2 else "",
        session_id=f"visit {number}",
        item_id=item_id,
        attributes={"page": "home"},
    )
    event.event_time.FromDatetime(now - timedelta(seconds=1000 - number))
    return event


def _write(shop: _Shop, events: Sequence[messages.Event]) -> None:
    reply = shop.stub.WriteEvents(messages.WriteEventsRequest(events=events), timeout=_CALL_SECONDS)
    if reply.accepted_count != len(events):
        raise RuntimeError(f"not accepted: {reply.results}")


async def _plant_letters(shop: _Shop) -> None:
    """An event without a time, which must never have been accepted, and bytes that are none."""
    keys = ShardKeys(shard_of(SHOPPER, streams.SHARDS_DEFAULT))
    timeless = messages.Event(event_id="timeless", event_type=messages.EVENT_TYPE_VIEW, user_id=SHOPPER, item_id="x")
    client = streams.connect(shop.redis)
    try:
        await client.xadd(keys.events, {"e": timeless.SerializeToString()})
        await client.xadd(keys.events, {"e": b"\xff\xff" + SHOPPER.encode()})
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while await client.xlen(keys.dead) < 2:
            if time.monotonic() > deadline:
                raise TimeoutError("no dead letters")
            await asyncio.sleep(0.05)
    finally:
        await client.aclose()


async def _until_drained(shop: _Shop) -> None:
    client, deadline = streams.connect(shop.redis), time.monotonic() + _PATIENCE_SECONDS
    try:
        while not (left := await drained(client)).everything:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not drained: {left}")
            await asyncio.sleep(0.05)
    finally:
        await client.aclose()


def _forget(shop: _Shop, said: dict[str, messages.Event]) -> list[Row]:
    """Tell, forget, and look everywhere."""
    ids, root = (SHOPPER, VISITOR), shop.folders.root
    asyncio.run(_until_in_features(shop))
    before = [*asyncio.run(in_keys(shop.redis, ids)), *in_files(root, ids)]
    missing = [place for place, part in PLACES.items() if not any(part.strip("'") in found for found in before)]
    others = _rows_of_others(shop)
    told_events, told_features = _exported(shop)
    owed = set(said) | {f"bought-{SHOPPER}-{number}" for number in range(EVENTS_EACH)}
    row = asyncio.run(_online_row(shop, SHOPPER))
    reply = shop.stub.PurgeUser(messages.PurgeUserRequest(user_id=SHOPPER, visitor_id=VISITOR), timeout=_CALL_SECONDS)
    kept = _until_clean(shop, ids)
    restored = asyncio.run(in_append_only_file(root / "valkey", ids))
    again = shop.stub.PurgeUser(messages.PurgeUserRequest(user_id=SHOPPER, visitor_id=VISITOR), timeout=_CALL_SECONDS)
    audit = [json.loads(line) for line in (shop.folders.live / "audit.jsonl").read_text().splitlines()]
    return [
        told("places_that_held_the_shopper", len(before)),
        at_most("kinds_of_places_where_planting_failed", len(missing), 0),
        told("those_kinds", ", ".join(missing)),
        told("events_exported", len(told_events)),
        at_most("events_not_exported", len(owed - told_events.keys()), 0),
        at_most("events_exported_twice_or_of_others", len(told_events.keys() - owed - {"timeless"}), 0),
        at_most("events_exported_otherwise", sum(told_events.get(name) != event for name, event in said.items()), 0),
        holds("features_exported", value=row is not None and told_features == _as_json(row)),
        at_least("stores_with_something_removed", sum(store.removed_count > 0 for store in reply.stores), 5),
        at_most("remaining_by_the_reply", sum(store.remaining_count for store in reply.stores), 0),
        at_most("keys_with_a_trace", len(kept[0]), 0),
        at_most("files_with_a_trace", len(kept[1]), 0),
        told("traces", "; ".join([*kept[0], *kept[1]][:5])),
        at_most("keys_with_a_trace_after_a_restart_from_the_files", len(restored), 0),
        at_most("found_by_purging_again", sum(store.removed_count for store in again.stores), 0),
        holds("audit_line_by_hash", value=any(reply.audit_hash in line["shopper"] for line in audit)),
        at_most("rows_of_others_lost", others - _rows_of_others(shop), 0),
        holds("purged_in_no_training_row", value=not {SHOPPER, VISITOR} & shop.trained_on()),
        holds("others_in_training_rows", value={*OTHERS} <= shop.trained_on()),
    ]


def _leave_out(shop: _Shop) -> list[Row]:
    """Opt out: no training row before or after, nothing stored any more."""
    before = LEFT_OUT in shop.trained_on()
    shop.stub.SetOptOut(messages.SetOptOutRequest(user_id=LEFT_OUT, opted_out=True), timeout=_CALL_SECONDS)
    late = _event(LEFT_OUT, 99, "anything", shop.bundle.as_of)
    reply = shop.stub.WriteEvents(messages.WriteEventsRequest(events=[late]), timeout=_CALL_SECONDS)
    asyncio.run(_until_drained(shop))
    logged = event_log.read(shop.folders.live)["event_id"]
    return [
        holds("in_training_rows_before_opting_out", value=before),
        holds("opted_out_event_not_stored", value=reply.results[0].status == messages.EVENT_STATUS_OPTED_OUT),
        at_most("opted_out_events_in_log_since", int((logged == late.event_id).sum()), 0),
        holds("opted_out_in_no_training_row", value=LEFT_OUT not in shop.trained_on()),
        holds("opted_out_without_features", value=asyncio.run(_online_row(shop, LEFT_OUT)) is None),
    ]


def _exported(shop: _Shop) -> tuple[dict[str, messages.Event], dict[str, str]]:
    """Every page: events by id, and the features."""
    events: dict[str, messages.Event] = {}
    features: dict[str, str] = {}
    request = messages.ExportUserRequest(user_id=SHOPPER, visitor_id=VISITOR, page_size=_PAGE)
    while True:
        page = shop.stub.ExportUser(request, timeout=_CALL_SECONDS)
        events |= {event.event_id: event for event in page.events}
        features |= dict(page.features)
        request.page_token = page.next_page_token
        if not request.page_token:
            return events, features


def _as_json(row: dict[str, object]) -> dict[str, str]:
    plain = {name: getattr(value, "tolist", lambda value=value: value)() for name, value in row.items()}
    return {name: json.dumps(value) for name, value in plain.items() if name != "event_timestamp"}


async def _online_row(shop: _Shop, shopper: str) -> dict[str, object] | None:
    store = open_store(shop.folders.feast, shop.folders.offline, shop.redis)
    try:
        row = await UserReader(store, timeout_s=_PATIENCE_SECONDS).read(shopper)
    finally:
        await close_store(store)
    return None if row is None else dict(row)


async def _until_in_features(shop: _Shop) -> None:
    """Until features know the latest events, which no file holds yet."""
    client, deadline = streams.connect(shop.redis), time.monotonic() + _PATIENCE_SECONDS
    try:
        while (await drained(client)).behind_in_features:
            if time.monotonic() > deadline:
                raise TimeoutError("features do not know the latest events")
            await asyncio.sleep(0.01)
    finally:
        await client.aclose()


def _until_clean(shop: _Shop, ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Keys and files with a trace, once there is none or the time is over: Valkey removes a replaced file in its own
    time."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        found = asyncio.run(in_keys(shop.redis, ids)), in_files(shop.folders.root, ids)
        if not any(found) or time.monotonic() > deadline:
            return found


def _rows_of_others(shop: _Shop) -> int:
    """How many rows all tables below the build folder have of other shoppers."""
    count = 0
    for path in shop.folders.root.rglob("*.parquet"):
        frame = pl.read_parquet(path, hive_partitioning=False, glob=False)
        if "user_id" in frame.columns:
            count += frame.filter(pl.col("user_id").is_in(list(OTHERS))).height
    return count
