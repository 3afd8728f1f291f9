"""Forgetting, telling, leaving out: over a real Valkey that keeps a log, a real feature store and real files."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aisle.v1 import event_service_pb2 as messages

from features import spec
from features.adapters import cache
from features.live_data import with_live
from features.pseudonyms import pseudonym
from features.store import UserReader, close_store, open_store
from services.common.errors import InvalidField
from services.common.streams import ShardKeys, shard_of
from services.ingest.privacy.audit import FILE as AUDIT
from services.ingest.privacy.shopper import Shoppers
from services.ingest.privacy.stream_store import StreamStore
from services.ingest.writing import EventWriter
from tests.integration.live_shop import SHARDS, LiveShop, until
from tests.integration.personal_data import KEY, OTHER, SHOPPER, VISITOR, plant, plant_rows, privacy_of, traces

PURGE = messages.PurgeUserRequest(user_id=SHOPPER, visitor_id=VISITOR)
EVERYWHERE = {"stream": 4, "online_store": 1, "event_files": 1, "offline_files": 1, "training_cache": 5}
WITH_PSEUDONYMS = EVERYWHERE | {"stream": 5, "online_store": 2, "offline_files": 2}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[LiveShop]:
    """A shop of its own for every test, whose Valkey keeps a log on the disk."""
    shop = LiveShop(tmp_path, append_only=True)
    yield shop
    await shop.close()


def counts(response: messages.PurgeUserResponse, field: str) -> dict[str, int]:
    return {store.name: getattr(store, field) for store in response.stores}


@pytest.mark.parametrize("key", [None, KEY], ids=["ids in files", "pseudonyms in files"])
async def test_a_purge_leaves_no_trace_anywhere_and_nobody_else_is_touched(shop: LiveShop, key: bytes | None) -> None:
    await plant(shop, pseudonym_key=key)
    everywhere = EVERYWHERE if key is None else WITH_PSEUDONYMS
    others = await traces(shop, OTHER)
    names = [SHOPPER, VISITOR, *([] if key is None else [pseudonym(key, SHOPPER)])]
    before = await traces(shop, *names)
    for place in ("appendonlydir", "live/events", "offline/user_", "data/shop", "data/rejects", "evaluation", "key b"):
        assert any(place in found for found in before), place
    async with privacy_of(shop, key) as privacy:
        reply = await privacy.purge_user(PURGE)
        assert counts(reply, "removed_count") == everywhere
        assert counts(reply, "remaining_count") == dict.fromkeys(EVERYWHERE, 0)
        assert reply.purge_time.seconds > 0

        async def clean() -> bool:  # Valkey removes a replaced log a moment after it says so
            return not await traces(shop, *names)

        await until(clean, 10.0)
        kept = await traces(shop, OTHER)
        assert {place for place in others if "appendonlydir" not in place} <= set(kept)
        again = await privacy.purge_user(PURGE)
    assert counts(again, "removed_count") == dict.fromkeys(EVERYWHERE, 0)
    assert again.audit_hash == reply.audit_hash == shop.digest(SHOPPER)
    lines = [json.loads(line) for line in (shop.folder / "live" / AUDIT).read_text().splitlines()]
    assert [line["removed"] for line in lines] == [everywhere, dict.fromkeys(EVERYWHERE, 0)]
    assert lines[0]["shopper"] == [shop.digest(SHOPPER), shop.digest(VISITOR)]


async def test_a_visitors_purge_takes_the_events_of_the_shopper_it_is_kept_beside(shop: LiveShop) -> None:
    await plant(shop)
    async with privacy_of(shop) as privacy:
        reply = await privacy.purge_user(messages.PurgeUserRequest(visitor_id=VISITOR))
    assert counts(reply, "removed_count") == dict.fromkeys(EVERYWHERE, 0) | {"stream": 1}
    assert [place for place in await traces(shop, VISITOR) if "appendonlydir" not in place] == []
    assert await shop.client.xlen(shop.keys(SHOPPER).events) >= 1


async def test_counting_changes_nothing(shop: LiveShop) -> None:
    await plant(shop)
    before = await traces(shop, SHOPPER)
    request = messages.PurgeUserRequest(user_id=SHOPPER, validate_only=True)
    async with privacy_of(shop) as privacy:
        reply = await privacy.purge_user(request)
        assert counts(reply, "removed_count") == counts(reply, "remaining_count") == EVERYWHERE
        assert not reply.HasField("purge_time")
    assert await traces(shop, SHOPPER) == before
    assert not (shop.folder / "live" / AUDIT).exists()


async def test_an_export_tells_every_event_once_and_the_features_page_by_page(shop: LiveShop) -> None:
    await plant(shop)
    pages, request = list[messages.ExportUserResponse](), messages.ExportUserRequest(user_id=SHOPPER, page_size=2)
    async with privacy_of(shop) as privacy:
        while not pages or request.page_token:
            pages.append(await privacy.export_user(request))
            # In a file, too, and newer than all the rest: neither repeats or hides any other.
            await shop.send([shop.event(3, SHOPPER), shop.event(10_000 + len(pages), SHOPPER)])
            request.page_token = pages[-1].next_page_token
            assert len(pages) < 10
        other = messages.ExportUserRequest(user_id=OTHER, page_token=pages[0].next_page_token)
        with pytest.raises(InvalidField, match="page_token"):
            await privacy.export_user(other)
    exported = [event for page in pages for event in page.events]
    planted = ["event-2", "event-0", "event-1", "event-3", "event-4"]  # the state's is of 2017
    assert [event.event_id for event in exported][: len(planted)] == planted
    assert len({event.event_id for event in exported}) == len(exported)
    assert {event.user_id for event in exported} == {SHOPPER}
    assert exported[1] == shop.event(0, SHOPPER)
    assert exported[3] == shop.event(3, SHOPPER)
    assert exported[4].visitor_id == VISITOR
    assert [len(page.features) for page in pages] == [len(spec.USER_FEATURES), *([0] * (len(pages) - 1))]
    assert isinstance(json.loads(pages[0].features["history_item_ids"]), list)
    lines = (shop.folder / "live" / AUDIT).read_text()
    assert [json.loads(line)["action"] for line in lines.splitlines()] == ["export"] * len(pages)
    assert SHOPPER not in lines


async def test_pseudonyms_are_exported_as_the_ids_they_stand_for(shop: LiveShop) -> None:
    await plant(shop, pseudonym_key=KEY)
    await shop.client.delete(shop.keys(SHOPPER).shopper(SHOPPER))  # what it said is in the pseudonym's state only
    async with privacy_of(shop, KEY) as privacy:
        page = await privacy.export_user(messages.ExportUserRequest(user_id=SHOPPER))
    assert {event.user_id for event in page.events} == {SHOPPER}
    assert {"event-2", "event-3"} <= {event.event_id for event in page.events}


@pytest.mark.parametrize("key", [None, KEY], ids=["by the id", "by the pseudonym"])
async def test_an_export_of_both_ids_tells_the_features_of_both(shop: LiveShop, key: bytes | None) -> None:
    await plant(shop)
    visitor = VISITOR if key is None else pseudonym(key, VISITOR)
    await plant_rows(shop, [visitor])
    both = messages.ExportUserRequest(user_id=SHOPPER, visitor_id=VISITOR, page_size=1)
    async with privacy_of(shop, key) as privacy:
        page = await privacy.export_user(both)
        of_user = await privacy.export_user(messages.ExportUserRequest(user_id=SHOPPER))
        of_visitor = await privacy.export_user(messages.ExportUserRequest(visitor_id=VISITOR))
        both.page_token = page.next_page_token
        second = await privacy.export_user(both)
    assert len(page.features) == len(page.visitor_features) == len(spec.USER_FEATURES)
    assert page.features == of_user.features
    assert page.visitor_features == of_visitor.features
    assert page.features != page.visitor_features
    assert not of_user.visitor_features
    assert not of_visitor.visitor_features
    assert not second.features
    assert not second.visitor_features


async def test_the_shards_of_a_shopper_are_those_of_the_ids_the_pseudonyms_and_the_streams(shop: LiveShop) -> None:
    ids = messages.PurgeUserRequest(user_id=SHOPPER, visitor_id=VISITOR)
    shopper = Shoppers(shop.digest, KEY).of(ids)
    names = [SHOPPER, VISITOR, pseudonym(KEY, SHOPPER), pseudonym(KEY, VISITOR)]
    shards = 1000
    found = await StreamStore(shop.client, shards).shards_of(shopper)
    assert found == {shard_of(name, shards) for name in names}


async def test_who_opts_out_is_refused_unlearned_and_unknown_to_lists_until_they_opt_in(shop: LiveShop) -> None:
    await plant(shop)
    writer = EventWriter(shop.client, SHARDS, 5.0, shop.digest)
    out = messages.SetOptOutRequest(user_id=SHOPPER, opted_out=True)
    async with privacy_of(shop) as privacy:
        assert (await privacy.set_opt_out(out)).opted_out
        refused = [shop.event(50, SHOPPER), shop.event(51, OTHER)]
        assert await writer.write(refused) == [messages.EVENT_STATUS_OPTED_OUT, messages.EVENT_STATUS_ACCEPTED]
        assert await shop.client.get(shop.keys(SHOPPER).shopper(SHOPPER)) is None
        assert trained_on(shop) == {OTHER}
        assert await is_known(shop, OTHER)
        assert not await is_known(shop, SHOPPER)
        await privacy.purge_user(PURGE)
        assert await writer.write([shop.event(52, SHOPPER)]) == [messages.EVENT_STATUS_OPTED_OUT], "a purge keeps it"
        assert trained_on(shop) == {OTHER}
        assert not (await privacy.set_opt_out(messages.SetOptOutRequest(user_id=SHOPPER))).opted_out
    assert await writer.write([shop.event(53, SHOPPER)]) == [messages.EVENT_STATUS_ACCEPTED]
    async with shop.updater():
        await shop.handled()
    assert trained_on(shop) == {OTHER, SHOPPER}, "what arrived afterwards counts"
    assert (await shop.rows([SHOPPER]))["event_count"].to_list() == [1], "beginning with nothing"


async def test_what_was_logged_before_an_opt_out_stays_out_of_training_after_opting_in(shop: LiveShop) -> None:
    await plant(shop)
    async with privacy_of(shop) as privacy:
        for opted_out in (True, False):
            await privacy.set_opt_out(messages.SetOptOutRequest(user_id=SHOPPER, opted_out=opted_out))
    assert trained_on(shop) == {OTHER}


async def test_a_purge_takes_the_shard_from_a_working_updater_and_gives_it_back(shop: LiveShop) -> None:
    """The shopper's events keep coming in beside it: a round or a file that was under way would bring them back."""
    async with shop.updater(log_seconds=0.1), privacy_of(shop) as privacy:
        for round_number in range(3):
            first = 1000 * round_number
            await shop.send(shop.event(first + number, SHOPPER) for number in range(300))
            await shop.send(shop.event(first + 500 + number, OTHER) for number in range(30))
            reply = await privacy.purge_user(messages.PurgeUserRequest(user_id=SHOPPER))
            assert counts(reply, "remaining_count") == dict.fromkeys(EVERYWHERE, 0)
            assert sum(counts(reply, "removed_count").values()) >= 300
            await asyncio.wait_for(shop.handled(), 30.0)
            places = [place for place in await traces(shop, SHOPPER) if "appendonlydir" not in place]
            assert places == []
        await shop.send([shop.event(9000, SHOPPER)])
        await shop.handled()
    assert (await shop.rows([SHOPPER]))["event_count"].to_list() == [1]
    assert len([name for name in shop.logged() if name != "event-9000"]) == 90, "the others' are all there"
    assert await shop.client.exists(*(ShardKeys(shard).owner for shard in range(SHARDS))) == 0


def trained_on(shop: LiveShop) -> set[str]:
    """The shoppers of the training data, of the events' and of the users' table."""
    data = with_live(cache.recall(shop.folder / "data" / "shop-1"), shop.folder / "live", shop.folder / "rejects")
    assert set(data.users["user_id"]) == set(data.events["user_id"])
    return set(data.events["user_id"])


async def is_known(shop: LiveShop, shopper: str) -> bool:
    """Whether the row that lists are made of is there."""
    store = open_store(shop.folder / "feast", shop.folder / "offline", shop.address)
    row = await UserReader(store, timeout_s=10.0).read(shopper)
    await close_store(store)
    return row is not None
