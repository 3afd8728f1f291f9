"""Events, features, the catalogue and forgetting over a real cluster of three Valkey servers."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from aisle.v1 import event_service_pb2 as messages
from polars.testing import assert_frame_equal

from features.live_items import LiveItem, vector_to_bytes
from services.common.freshness import lags
from services.common.streams import ShardKeys, is_cluster
from services.common.towers import VECTOR_WIDTH
from services.ingest.catalog.store import CatalogueStore, Change
from services.ranking.live_catalogue import LiveCatalogue
from tests.integration.ingest_service import running_ingest, statuses
from tests.integration.live_shop import SHARDS, LiveShop, kill, until
from tests.integration.personal_data import OTHER, SHOPPER, VISITOR, plant, privacy_of, traces
from tests.valkey_cluster import valkey_cluster


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[LiveShop]:
    """A shop whose keys lie on three servers."""
    with valkey_cluster(tmp_path / "valkey") as address:
        shop = LiveShop(tmp_path, address=address)
        assert is_cluster(shop.client)
        yield shop
        await shop.close()


async def test_shards_lie_on_every_server(shop: LiveShop) -> None:
    await shop.client.initialize()
    nodes = {shop.client.get_node_from_key(ShardKeys(shard).events).port for shard in range(8)}
    assert len(nodes) == 3


async def test_events_are_written_once_and_become_rows_and_files(shop: LiveShop) -> None:
    happened = shop.events(60, shopper_count=40)
    async with running_ingest(shop.folder / "bundles", shop.address, shards=SHARDS, clock="wall") as ingest:
        assert statuses(await ingest.write(*happened)) == ["ACCEPTED"] * 60
        assert statuses(await ingest.write(*happened)) == ["DUPLICATE"] * 60
        assert sorted(event.event_id for event in await ingest.stored("event-")) == sorted(
            event.event_id for event in happened
        )
    assert sum(lag > 0 for lag in await lags(shop.client, SHARDS)) > 1
    async with shop.updater():
        await shop.handled()
        assert_frame_equal(await shop.rows(one.user_id for one in happened), shop.recount(happened), check_exact=True)
    assert shop.logged() == sorted(one.event_id for one in happened)
    assert await lags(shop.client, SHARDS) == [0.0] * SHARDS


async def test_shards_change_hands_when_an_updater_is_killed(shop: LiveShop) -> None:
    first = shop.start_updater()

    async def all_owned() -> bool:
        return None not in await shop.owners()

    await until(all_owned)
    await shop.send(shop.events(30))
    kill(first)
    async with shop.updater():
        await shop.send(shop.events(30, first=30))
        await shop.handled()
    first.stop()
    assert shop.logged() == sorted(event.event_id for event in shop.events(60))


async def test_the_catalogue_is_written_and_read(shop: LiveShop) -> None:
    written, vector = CatalogueStore(shop.client), np.arange(VECTOR_WIDTH, dtype=np.float32)
    reader = LiveCatalogue(shop.client)
    assert await reader.everything() == {}
    items = [LiveItem(item_id=f"new-{number}", title="a lamp", revision=number) for number in range(1, 4)]
    changed = [Change(item, 0, (vector_to_bytes(vector),)) for item in items]
    assert await written.write(changed, ["v.1"]) == [True] * 3
    changes = await reader.changes()
    assert changes is not None
    assert changes.item_ids == {item.item_id for item in items}
    assert await reader.items(changes.item_ids) == {item.item_id: item for item in items}
    found = await reader.vectors("v.1")
    assert {name: one.tolist() for name, one in found.items()} == dict.fromkeys(changes.item_ids, vector.tolist())


async def test_a_purge_leaves_no_trace_on_any_server(shop: LiveShop) -> None:
    await plant(shop)
    assert await traces(shop, SHOPPER, VISITOR)
    async with privacy_of(shop) as privacy:
        reply = await privacy.purge_user(messages.PurgeUserRequest(user_id=SHOPPER, visitor_id=VISITOR))
        assert {store.name: store.remaining_count for store in reply.stores if store.remaining_count} == {}

        async def clean() -> bool:
            return not await traces(shop, SHOPPER, VISITOR)

        await until(clean, 10.0)
    assert await traces(shop, OTHER)
