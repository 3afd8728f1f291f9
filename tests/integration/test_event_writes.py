"""Writing events to a real Valkey over a real socket: what is acknowledged is there, once, and nothing else is."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from aisle.v1 import event_service_pb2 as messages
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import CollectorRegistry

from features.clock import to_us
from services.common.errors import NotServed
from services.common.process import ManagedProcess, free_port
from services.common.settings import SettingsError
from services.common.streams import ShardKeys, connect, shard_of
from services.common.valkey import ValkeyConfig, start_valkey
from services.ingest.app import SERVICE_NAME, EventServicer
from services.ingest.catalog.store import CatalogueStore
from services.ingest.metrics import IngestMetrics
from services.ingest.writing import EventWriter
from tests.event_strategies import plain_event
from tests.integration.catalog_stack import until
from tests.integration.ingest_service import RunningIngest, fields, running_ingest, statuses, stored
from tests.tiny_shop import AS_OF, write_shop_bundle

AS_OF_SECONDS = to_us(AS_OF) // 1_000_000
SHARDS = 8
MEGABYTES_10 = 10_000_000
KNOWN_ITEM = "item-0"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    write_shop_bundle(folder, seed=1)
    return folder


@pytest.fixture(scope="module")
async def ingest(bundles: Path, valkey_address: str) -> AsyncIterator[RunningIngest]:
    async with running_ingest(bundles, valkey_address) as running:
        yield running


def events(prefix: str, count: int, **changes: Any) -> list[messages.Event]:
    """As many, each of its own shopper, so that they are spread over the shards."""
    return [plain_event(f"{prefix}-{number}", user_id=f"{prefix}-{number}", **changes) for number in range(count)]


async def test_what_is_accepted_is_in_the_streams_once_with_a_time(ingest: RunningIngest) -> None:
    batch = [*events("kept", 50), plain_event("kept-v", user_id="", visitor_id="visitor-1")]
    reply = await ingest.write(*batch)
    assert statuses(reply) == ["ACCEPTED"] * 51
    assert [result.event_id for result in reply.results] == [event.event_id for event in batch]
    assert reply.accepted_count == 51
    for event in batch:
        event.event_time.FromDatetime(AS_OF)
    by_id = {event.event_id: event for event in await ingest.stored("kept")}
    assert by_id == {event.event_id: event for event in batch}
    assert len(await ingest.stored("kept")) == 51


async def test_an_event_lies_in_its_shoppers_shard(ingest: RunningIngest) -> None:
    await ingest.write(plain_event("placed-1", user_id="placed", visitor_id="somebody"))
    entries = await ingest.valkey.xrange(ShardKeys(shard_of("placed", SHARDS)).events)
    ids = [messages.Event.FromString(entry[b"e"]).event_id for _, entry in entries]
    assert "placed-1" in ids


async def test_writing_again_changes_nothing(ingest: RunningIngest) -> None:
    batch = events("again", 20)
    await ingest.write(*batch[:10])
    reply = await ingest.write(*batch)
    assert statuses(reply) == ["DUPLICATE"] * 10 + ["ACCEPTED"] * 10
    assert reply.accepted_count == 10
    assert len(await ingest.stored("again")) == 20


async def test_the_second_of_two_in_one_batch_is_a_duplicate(ingest: RunningIngest) -> None:
    [event] = events("twice", 1)
    for validate_only in (True, False):
        reply = await ingest.write(event, event, validate_only=validate_only)
        assert statuses(reply) == ["ACCEPTED", "DUPLICATE"]
    assert len(await ingest.stored("twice")) == 1


async def test_retries_that_overlap_write_each_event_once(ingest: RunningIngest) -> None:
    batch = events("race", 100)
    replies = await asyncio.gather(*(ingest.write(*batch) for _ in range(8)))
    assert sum(reply.accepted_count for reply in replies) == 100
    assert {status for reply in replies for status in statuses(reply)} == {"ACCEPTED", "DUPLICATE"}
    assert len(await ingest.stored("race")) == 100


async def test_every_bad_event_is_answered_for_itself(ingest: RunningIngest) -> None:
    """A hostile batch: the good ones among it are kept."""
    good, *rest = events("mixed", 9, item_id=KNOWN_ITEM)
    rest[0].item_id = "x" * MEGABYTES_10
    rest[1].event_id = "mixed" + "y" * MEGABYTES_10
    rest[2].event_type = 42  # type: ignore[assignment] # a type that this version does not know
    rest[3].event_time.CopyFrom(Timestamp(seconds=AS_OF_SECONDS + 7200))
    rest[4].event_time.CopyFrom(Timestamp(seconds=0))
    rest[5].item_id = "the-next-novelty"
    rest[6].event_time.CopyFrom(Timestamp(seconds=AS_OF_SECONDS - 86_400 * 365))  # out of order, but no fault
    rest[7].session_id = "MARK"
    request = messages.WriteEventsRequest(events=[good, *rest]).SerializeToString().replace(b"MARK", b"\xff\xfe\xfd!")
    reply = await ingest.write_raw(request)
    assert list(zip(statuses(reply), fields(reply), strict=True)) == [
        ("ACCEPTED", ""),
        ("INVALID", "item_id"),
        ("INVALID", "event_id"),
        ("INVALID", "event_type"),
        ("INVALID", "event_time"),
        ("INVALID", "event_time"),
        ("ACCEPTED", "item_id"),
        ("ACCEPTED", ""),
        ("INVALID", "session_id"),
    ]
    assert all(result.description for result in reply.results if result.field)
    assert reply.results[8].event_id == "mixed-8"
    assert reply.accepted_count == 3
    assert {event.event_id for event in await ingest.stored("mixed")} == {"mixed-0", "mixed-6", "mixed-7"}


async def test_an_impression_names_the_items_that_are_not_known(ingest: RunningIngest) -> None:
    seen = {"event_type": messages.EVENT_TYPE_IMPRESSION, "item_id": ""}
    reply = await ingest.write(
        plain_event("seen-1", impression_item_ids=[KNOWN_ITEM], **seen),
        plain_event("seen-2", impression_item_ids=[KNOWN_ITEM, "new-a", "new-b"], **seen),
    )
    assert statuses(reply) == ["ACCEPTED", "ACCEPTED"]
    assert fields(reply) == ["", "impression_item_ids"]
    assert "2" in reply.results[1].description
    assert "new-a" in reply.results[1].description


async def test_validate_only_writes_nothing(ingest: RunningIngest) -> None:
    for _ in range(2):
        reply = await ingest.write(*events("tried", 5), validate_only=True)
        assert statuses(reply) == ["ACCEPTED"] * 5
        assert reply.accepted_count == 0
    assert await ingest.stored("tried") == []


async def test_a_shopper_who_opted_out_is_not_stored(ingest: RunningIngest) -> None:
    batch = events("out", 2)
    keys = ShardKeys(shard_of("out-0", SHARDS))
    await ingest.valkey.sadd(keys.opted_out, ingest.digest("out-0"))
    assert statuses(await ingest.write(*batch, validate_only=True)) == ["OPTED_OUT", "ACCEPTED"]
    assert statuses(await ingest.write(*batch)) == ["OPTED_OUT", "ACCEPTED"]
    assert [event.user_id for event in await ingest.stored("out")] == ["out-1"]
    await ingest.valkey.srem(keys.opted_out, ingest.digest("out-0"))
    assert statuses(await ingest.write(*batch)) == ["ACCEPTED", "DUPLICATE"]


async def test_a_shard_that_cannot_write_stops_no_other(ingest: RunningIngest) -> None:
    """Another kind of value where the shard's set is: Valkey refuses whatever touches it."""
    batch = events("partly", 40)
    keys = ShardKeys(3)
    there = await ingest.valkey.exists(keys.opted_out)
    assert not there, "another test left shoppers in shard 3"
    await ingest.valkey.set(keys.opted_out, "not a set")
    try:
        reply = await ingest.write(*batch)
    finally:
        await ingest.valkey.delete(keys.opted_out)
    shards = [shard_of(event.user_id, SHARDS) for event in batch]
    assert statuses(reply) == ["UNAVAILABLE" if shard == 3 else "ACCEPTED" for shard in shards]
    again = await ingest.write(*batch)
    assert statuses(again) == ["ACCEPTED" if shard == 3 else "DUPLICATE" for shard in shards]
    assert len(await ingest.stored("partly")) == 40


async def test_an_id_counts_on_the_day_it_arrives_and_the_next(valkey_address: str) -> None:
    """Also where the other process's clock is a little ahead over midnight."""
    client = connect(valkey_address)
    midnight, [event] = datetime(2031, 5, 2, tzinfo=UTC), events("daily", 1)
    event.event_time.FromDatetime(AS_OF)
    try:

        async def write(now: datetime) -> int:
            writer = EventWriter(client, SHARDS, 5.0, str, now=lambda: now)
            [status] = await writer.write([event])
            return int(status)

        assert await write(midnight + timedelta(seconds=1)) == messages.EVENT_STATUS_ACCEPTED
        assert await write(midnight - timedelta(seconds=1)) == messages.EVENT_STATUS_DUPLICATE
        assert await write(midnight + timedelta(days=1, hours=23)) == messages.EVENT_STATUS_DUPLICATE
        assert await write(midnight + timedelta(days=2)) == messages.EVENT_STATUS_ACCEPTED
        seen = ShardKeys(shard_of(event.user_id, SHARDS)).seen(midnight)
        assert 86_400 < await client.ttl(seen) <= 2 * 86_400
    finally:
        await client.aclose()


@pytest.mark.parametrize(
    ("request_fields", "code"),
    [
        ({}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"events": [plain_event()] * 1001}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"events": [plain_event()], "tenant": "t" * 129}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"events": [plain_event()], "tenant": "other"}, grpc.StatusCode.UNIMPLEMENTED),
    ],
)
async def test_a_batch_that_is_wrong_as_a_whole_is_refused(
    ingest: RunningIngest, request_fields: dict[str, Any], code: grpc.StatusCode
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ingest.stub.WriteEvents(messages.WriteEventsRequest(**request_fields), timeout=10)
    assert caught.value.code() is code


async def test_bytes_that_are_no_request_are_refused(ingest: RunningIngest) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ingest.write_raw(b"\xff" * 20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_privacy_without_its_part_is_not_served(valkey_address: str) -> None:
    client = connect(valkey_address)
    try:
        writer = EventWriter(client, SHARDS, 5.0, digest=str)
        servicer = EventServicer(writer, lambda _: True, lambda: 0, IngestMetrics(CollectorRegistry()))
        methods: list[Any] = [servicer.PurgeUser, servicer.ExportUser, servicer.SetOptOut]
        for method in methods:
            with pytest.raises(NotServed):
                await method(messages.PurgeUserRequest(user_id="somebody"), None)
    finally:
        await client.aclose()


async def test_events_are_counted_by_type_and_status(ingest: RunningIngest) -> None:
    def counted(kind: str, status: str) -> float:
        return ingest.registry.get_sample_value("aisle_events_total", {"type": kind, "status": status}) or 0.0

    before = counted("SHARE", "ACCEPTED"), counted("UNSPECIFIED", "INVALID")
    [event] = events("counted", 1, event_type=messages.EVENT_TYPE_SHARE)
    await ingest.write(event, plain_event("counted-x", event_type=77))
    assert (counted("SHARE", "ACCEPTED"), counted("UNSPECIFIED", "INVALID")) == (before[0] + 1, before[1] + 1)


class OwnValkey:
    """A Valkey that a test may kill; it keeps its file and its port."""

    def __init__(self, folder: Path) -> None:
        self._config = ValkeyConfig(folder, free_port(), append_fsync="always")
        self.address = f"127.0.0.1:{self._config.port}"
        self._process: ManagedProcess | None = None

    def start(self) -> None:
        self._process = start_valkey(self._config)

    def kill(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.stop()
        self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[OwnValkey]:
    valkey = OwnValkey(tmp_path / "valkey")
    valkey.start()
    yield valkey
    valkey.stop()


async def test_what_was_acknowledged_outlives_sigkill_and_a_retry_is_harmless(
    bundles: Path, own_valkey: OwnValkey
) -> None:
    """Valkey is killed while batches are on their way; every shopper's page tries again until it hears an answer."""
    batches = [events(f"crash-{number}", 25) for number in range(20)]
    acknowledged: set[str] = set()

    async with running_ingest(bundles, own_valkey.address, write_timeout_ms=5000) as ingest:

        async def deliver(batch: list[messages.Event]) -> None:
            open_events = batch
            while open_events:
                reply = await ingest.write(*open_events)
                taken = {r.event_id for r in reply.results if r.status != messages.EVENT_STATUS_UNAVAILABLE}
                acknowledged.update(taken)
                open_events = [event for event in open_events if event.event_id not in taken]

        for batch in batches[:5]:
            await deliver(batch)
        before = set(acknowledged)
        under_way = [asyncio.create_task(deliver(batch)) for batch in batches[5:]]
        await asyncio.sleep(0)
        own_valkey.kill()
        own_valkey.start()
        there = {event.event_id for event in await stored(connect(own_valkey.address), SHARDS, "crash")}
        assert before <= there
        await asyncio.gather(*under_way)
        found = [event.event_id for event in await ingest.stored("crash")]
        assert len(found) == len(set(found)) == 500
        assert set(found) == acknowledged


async def test_without_valkey_every_event_is_unavailable_and_the_call_ends_in_time(
    bundles: Path, own_valkey: OwnValkey
) -> None:
    batch = events("away", 10)
    async with running_ingest(bundles, own_valkey.address, write_timeout_ms=300) as ingest:
        own_valkey.kill()
        started = asyncio.get_running_loop().time()
        reply = await ingest.write(*batch, plain_event("away-x", item_id=""))
        assert asyncio.get_running_loop().time() - started < 5.0
        assert statuses(reply) == ["UNAVAILABLE"] * 10 + ["INVALID"]
        assert reply.accepted_count == 0
        own_valkey.start()
        reply = await ingest.write(*batch)
        assert statuses(reply) == ["ACCEPTED"] * 10


@asynccontextmanager
async def _unsent(ingest: RunningIngest, count: int) -> AsyncIterator[None]:
    """Calls that have begun and send nothing."""
    method: Any = ingest.channel.stream_unary(f"/{SERVICE_NAME}/WriteEvents", None, None)
    calls = [method(timeout=60) for _ in range(count)]
    for call in calls:
        await call.wait_for_connection()
    try:
        yield
    finally:
        for call in calls:
            call.cancel()


async def test_calls_wait_unread_until_there_is_room(bundles: Path, valkey_address: str) -> None:
    """Room for two requests: two that send nothing hold it, until they hang up."""
    limits = {"request_bytes_max": 2**20, "in_flight_bytes_max": 2**21}
    async with running_ingest(bundles, valkey_address, **limits) as ingest:
        replies = await asyncio.gather(*(ingest.write(*events(f"room-{n}", 10)) for n in range(30)))
        assert sum(reply.accepted_count for reply in replies) == 300

        async with _unsent(ingest, 2):
            while ingest.registry.get_sample_value("aisle_request_bytes") != 2**21:
                await asyncio.sleep(0.01)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ingest.write(*events("room-late", 1))
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert statuses(await ingest.write(*events("room-late", 1))) == ["ACCEPTED"]
        while ingest.registry.get_sample_value("aisle_request_bytes") != 0:
            await asyncio.sleep(0.01)


async def test_a_key_of_pseudonyms_that_is_none_is_refused_at_the_start(
    bundles: Path, valkey_address: str, tmp_path: Path
) -> None:
    key_file = tmp_path / "pseudonyms.key"
    key_file.write_bytes(b"short")
    with pytest.raises(SettingsError, match=f"^AISLE_PSEUDONYM_KEY_FILE: {key_file}: key: 5 bytes, not 16 to 64$"):
        async with running_ingest(bundles, valkey_address, pseudonym_key_file=key_file):
            pass


async def test_items_are_followed_though_a_batch_may_take_less_than_that_waits(
    bundles: Path, valkey_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow, outcomes = CatalogueStore.changes_after, list[object]()

    async def noted(*arguments: Any) -> Any:
        try:
            outcomes.append(await follow(*arguments))
        except Exception as error:
            outcomes.append(error)
            raise
        return outcomes[-1]

    monkeypatch.setattr(CatalogueStore, "changes_after", noted)
    async with running_ingest(bundles, valkey_address, write_timeout_ms=100):
        await until(lambda: len(outcomes) >= 2)
    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
