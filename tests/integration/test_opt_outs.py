"""Who is opted out when an event names two: a known shopper and the visitor they were. Over a real Valkey."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aisle.v1 import event_service_pb2 as messages

from services.common.streams import ShardKeys
from services.ingest.records import Event
from services.ingest.writing import EventWriter
from tests.integration.live_shop import SHARDS, LiveShop
from tests.integration.personal_data import privacy_of

VISITOR, OTHER_VISITOR = "visitor-1", "visitor-2"
OUT = messages.SetOptOutRequest(visitor_id=VISITOR, opted_out=True)
IN = messages.SetOptOutRequest(visitor_id=VISITOR)
ACCEPTED, OPTED_OUT = messages.EVENT_STATUS_ACCEPTED, messages.EVENT_STATUS_OPTED_OUT


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[LiveShop]:
    shop = LiveShop(tmp_path)
    yield shop
    await shop.close()


def happened(shop: LiveShop) -> list[Event]:
    """Of shoppers in every shard: one event as VISITOR, too, one as another visitor, and a search as VISITOR, too."""
    events = []
    for number in range(8 * SHARDS):
        shopper = f"user-{number}"
        events += [
            shop.event(10 * number, shopper, visitor_id=VISITOR),
            shop.event(10 * number + 1, shopper, visitor_id=OTHER_VISITOR),
            shop.event(10 * number + 2, shopper, visitor_id=VISITOR, item_id="", search_query="tea", event_type=8),
        ]
    assert {shop.keys(event.user_id).shard for event in events} == set(range(SHARDS))
    return events


def without(events: list[Event], visitor: str) -> list[Event]:
    return [event for event in events if visitor not in (event.user_id, event.visitor_id)]


async def test_a_visitors_opt_out_holds_for_events_of_known_shoppers_until_it_is_taken_back(shop: LiveShop) -> None:
    writer, events = EventWriter(shop.client, SHARDS, 5.0, shop.digest), happened(shop)
    events.append(shop.event(9000, "", visitor_id=VISITOR))
    async with privacy_of(shop) as privacy:
        await privacy.set_opt_out(OUT)
        expected = [OPTED_OUT if event.visitor_id == VISITOR else ACCEPTED for event in events]
        assert await writer.write(events) == expected
        await privacy.set_opt_out(IN)
    assert await writer.write([event for event in events if event.visitor_id == VISITOR]) == [ACCEPTED] * 65
    assert not any([await shop.client.exists(ShardKeys(shard).opted_out) for shard in range(SHARDS)])


async def test_an_opt_out_of_before_counts_in_its_own_shard_and_can_be_taken_back(shop: LiveShop) -> None:
    writer = EventWriter(shop.client, SHARDS, 5.0, shop.digest)
    await shop.client.sadd(shop.keys(VISITOR).opted_out, shop.digest(VISITOR))
    assert await writer.write([shop.event(1, "", visitor_id=VISITOR)]) == [OPTED_OUT]
    async with privacy_of(shop) as privacy:
        await privacy.set_opt_out(IN)
    assert await writer.write([shop.event(1, "", visitor_id=VISITOR)]) == [ACCEPTED]


async def test_what_names_an_opted_out_visitor_is_neither_counted_nor_kept(shop: LiveShop) -> None:
    """Events that were on their way when the visitor opted out."""
    events = happened(shop)
    async with privacy_of(shop) as privacy:
        await privacy.set_opt_out(OUT)
    async with shop.updater():
        await shop.send(events)
        await shop.handled()
    kept = without(events, VISITOR)
    assert (await shop.rows(event.user_id for event in events)).equals(shop.recount(kept))
    assert shop.logged() == sorted(event.event_id for event in kept)


async def test_what_was_counted_before_a_visitor_opted_out_does_not_come_into_the_log(shop: LiveShop) -> None:
    events = happened(shop)
    async with shop.updater(log_seconds=3600.0):
        await shop.send(events)
        await shop.handled()
        for shard in range(SHARDS):
            await shop.client.sadd(ShardKeys(shard).opted_out, shop.digest(VISITOR))
    assert shop.logged() == sorted(event.event_id for event in without(events, VISITOR))
