"""The ranking service takes in items that came after its bundle, and changes, while it serves.

Real Valkey; no Triton, so that interests are the means of histories. The catalogue's service is played by the test.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aisle.v1 import recommendation_service_pb2 as messages

from features.bundle import promote
from features.encode import Floats
from features.live_items import LiveItem, to_json, vector_to_bytes
from services.common.server import running_server
from services.common.streams import (
    CATALOGUE_CHANGES,
    CATALOGUE_ITEMS,
    Client,
    ShardKeys,
    catalogue_vectors,
    connect,
    shard_of,
)
from services.ranking import live, swap
from services.ranking.live_freshness import Freshness
from services.ranking.ordering import OrderingModel, nearest_in_bundle
from services.ranking.ordering.reach import Nearest
from services.ranking.settings import RankingSettings
from services.retrieval.app import RetrievalSettings, load_servicer, registration
from tests.integration.known_service import names_of
from tests.integration.tiny_service import RunningService, TinyShopOnDisk, degradations, running_service
from tests.tiny_shop import AS_OF, write_shop_bundle

SECONDS = 10.0
"""How long a change may take here: the machine may be busy. How long it does take is for the acceptance tests."""
SWAP_SECONDS = 60.0
SHOPPER = "user-5"
NEIGHBOUR = "item-7"


class Shop:
    """A shop on disk, its Valkey, and what the catalogue's service would write."""

    def __init__(self, folder: Path) -> None:
        self.disk = TinyShopOnDisk(folder)
        self.client: Client = connect(self.disk.settings().redis)

    def settings(self, **changes: Any) -> RankingSettings:
        return self.disk.settings(startup_wait_seconds=0.0, swap_poll_seconds=0.05, **changes)

    def vector(self, item_id: str) -> Floats:
        model = self.disk.release.model
        found: Floats = model.vectors[model.items.vocabulary.rows([item_id])][0]
        return found

    def taste(self, user_id: str) -> Floats:
        found: Floats = self.disk.fallback(user_id).vectors[0]
        return found / np.linalg.norm(found)

    async def put(self, item: LiveItem, **vectors: Floats) -> None:
        """Its vectors by the seed of the bundle (`v1`: tiny.1), then the item, then word of it."""
        for seed, vector in vectors.items():
            await self.client.hset(catalogue_vectors(f"tiny.{seed[1:]}"), item.item_id, vector_to_bytes(vector))
        await self.client.hset(CATALOGUE_ITEMS, item.item_id, to_json(item))
        await self.client.xadd(CATALOGUE_CHANGES, {"item_id": item.item_id, "revision": 1})


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    shop = Shop(tmp_path)
    with shop.disk.start_valkey():
        shop.disk.materialise()
        yield shop
        await shop.client.aclose()


@asynccontextmanager
async def serving(shop: Shop, **settings: Any) -> AsyncIterator[RunningService]:
    async with running_service(shop.settings(**settings), shop.disk.release) as service:
        yield service


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.01)


async def similar_to(service: RunningService, item_id: str, **fields: Any) -> list[str]:
    placement = messages.PLACEMENT_SIMILAR_ITEMS
    return names_of(await service.recommended_for("", placement=placement, context_item_ids=[item_id], **fields))


async def best_sellers(service: RunningService, **chosen: Any) -> list[str]:
    chosen = {"strict": True} | chosen
    reply = await service.recommended_for("", placement=messages.PLACEMENT_BEST_SELLERS, filter=chosen)
    return names_of(reply)


async def listed(service: RunningService, *item_ids: str) -> list[str]:
    """Those of the items that may be in a list."""
    return await best_sellers(service, include_item_ids=item_ids)


async def recommended(service: RunningService, user_id: str = SHOPPER) -> list[str]:
    return names_of(await service.recommended_for(user_id))


async def test_a_new_item_is_similar_to_its_neighbour_and_recommended(shop: Shop) -> None:
    async with serving(shop) as service:
        assert "new" not in await similar_to(service, NEIGHBOUR)
        await shop.put(LiveItem(item_id="new", title="new", price=2.0), v1=shop.vector(NEIGHBOUR))

        async def is_similar() -> bool:
            return (await similar_to(service, NEIGHBOUR))[0] == "new"

        await until(is_similar)
        await shop.put(LiveItem(item_id="liked", title="liked", price=2.0), v1=shop.taste(SHOPPER))

        async def is_recommended() -> bool:
            return "liked" in await recommended(service)

        await until(is_recommended)
        assert service.registry.get_sample_value("aisle_live_items") == 2
        assert service.registry.get_sample_value("aisle_catalogue_age_seconds_count") == 2


async def test_an_item_of_which_only_a_short_vector_is_known_is_at_its_place_for_its_taste(shop: Shop) -> None:
    async with serving(shop) as service:
        before = await recommended(service)
        await shop.put(LiveItem(item_id="other", title="other"), v1=-0.01 * shop.taste(SHOPPER))
        await shop.put(LiveItem(item_id="liked", title="liked"), v1=0.01 * shop.taste(SHOPPER))

        async def is_at_its_place() -> bool:
            item = (await service.recommended_for(SHOPPER)).results[4]
            return item.item_id == "liked" and item.source == messages.CANDIDATE_SOURCE_NEW_ITEM

        await until(is_at_its_place)
        reply = await service.recommended_for(SHOPPER)
        marked = [item.item_id for item in reply.results if item.source == messages.CANDIDATE_SOURCE_NEW_ITEM]
        assert marked == ["liked"]
        assert names_of(reply)[:4] == before[:4]
        await shop.put(LiveItem(item_id="liked", deleted=True))

        async def is_gone() -> bool:
            return "liked" not in await recommended(service)

        await until(is_gone)


def of_one_neighbour(shop: Shop, item_id: str) -> Floats:
    """A vector that is a little like one item and points away from every other."""
    model = shop.disk.release.model
    like = np.full(model.item_count, -0.1)
    like[model.items.vocabulary.rows([item_id])] = 0.01
    found: Floats = np.linalg.pinv(model.vectors[np.arange(model.item_count)]) @ like
    return found.astype(np.float32)


async def test_an_item_that_others_are_more_like_is_similar_to_its_nearest_neighbour_at_its_place(shop: Shop) -> None:
    async with serving(shop) as service:
        before = await similar_to(service, NEIGHBOUR)
        await shop.put(LiveItem(item_id="new", title="new"), v1=of_one_neighbour(shop, NEIGHBOUR))

        async def is_at_its_place() -> bool:
            return (await similar_to(service, NEIGHBOUR))[4] == "new"

        await until(is_at_its_place)
        assert [name for name in await similar_to(service, NEIGHBOUR) if name != "new"][:20] == before[:20]
        for other in ("item-8", "item-9"):
            assert (await similar_to(service, other))[4] != "new"
        await shop.put(LiveItem(item_id="new", title="another"), v1=of_one_neighbour(shop, "item-8"))

        async def has_moved() -> bool:
            return (await similar_to(service, "item-8"))[4] == "new"

        await until(has_moved)
        assert (await similar_to(service, NEIGHBOUR))[4] == before[4]
        await shop.put(LiveItem(item_id="new", deleted=True))

        async def is_gone() -> bool:
            return "new" not in await similar_to(service, "item-8")

        await until(is_gone)
        assert await similar_to(service, NEIGHBOUR) == before


async def test_neighbours_of_an_item_are_not_looked_for_again_when_another_one_comes(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def counted(model: OrderingModel, vectors: Floats) -> Nearest:
        asked.append(len(vectors))
        return nearest_in_bundle(model, vectors)

    monkeypatch.setattr(live, "nearest_in_bundle", counted)
    async with serving(shop) as service:
        for number in range(3):
            name = f"new-{number}"
            await shop.put(LiveItem(item_id=name, title=name), v1=shop.vector(f"item-{number}"))

            async def is_there(name: str = name) -> bool:
                return await listed(service, name) == [name]

            await until(is_there)
        await shop.put(LiveItem(item_id="new-1", title="another price", price=9.0))

        async def is_dear() -> bool:
            return await best_sellers(service, include_item_ids=["new-1"], price_range={"minimum_price": 9.0}) != []

        await until(is_dear)
        assert asked == [1, 1, 1]


async def test_changes_of_before_the_start_are_served_from_the_first_request_on(shop: Shop) -> None:
    await shop.put(LiveItem(item_id="new", title="new"), v1=shop.vector(NEIGHBOUR))
    async with serving(shop) as service:
        assert (await similar_to(service, NEIGHBOUR))[0] == "new"


async def test_a_new_price_moves_an_item_in_and_out_of_a_filter(shop: Shop) -> None:
    async with serving(shop) as service:
        dear = {"price_range": {"minimum_price": 500.0}}
        assert await best_sellers(service, **dear) == []
        await shop.put(LiveItem(item_id=NEIGHBOUR, title="x", price=900.0))

        async def is_dear() -> bool:
            return await best_sellers(service, **dear) == [NEIGHBOUR]

        await until(is_dear)
        before = await similar_to(service, "item-8")
        assert NEIGHBOUR in before  # its vector is the bundle's
        await shop.put(LiveItem(item_id=NEIGHBOUR, title="x", price=1.0))

        async def is_cheap() -> bool:
            return await best_sellers(service, **dear) == []

        await until(is_cheap)


async def test_stock_and_what_a_person_should_look_at_count_in_filters(shop: Shop) -> None:
    async with serving(shop) as service:
        item = LiveItem(item_id=NEIGHBOUR, title="x", in_stock=False)
        assert NEIGHBOUR in await best_sellers(service, in_stock_only=True)
        await shop.put(item)

        async def is_sold_out() -> bool:
            return NEIGHBOUR not in await best_sellers(service, in_stock_only=True)

        await until(is_sold_out)
        assert NEIGHBOUR in await best_sellers(service)
        await shop.put(replace(item, flags=("odd",)))

        async def is_hidden() -> bool:
            return NEIGHBOUR not in await best_sellers(service)

        await until(is_hidden)
        assert NEIGHBOUR in await best_sellers(service, allow_sensitive=True)


async def test_a_deleted_item_is_in_no_list_and_rank_does_not_know_it(shop: Shop) -> None:
    async with serving(shop) as service:
        first = await service.recommended_for(SHOPPER, page_size=1)
        [victim] = (await service.recommended_for(SHOPPER, page_size=1, page_token=first.next_page_token)).results
        gone = victim.item_id
        await shop.put(LiveItem(item_id=gone, deleted=True))

        async def is_gone() -> bool:
            return gone not in await recommended(service)

        await until(is_gone)
        for user_id in shop.disk.users["user_id"]:
            for placement in (
                messages.PLACEMENT_RECOMMENDED_FOR_YOU,
                messages.PLACEMENT_BUY_IT_AGAIN,
                messages.PLACEMENT_RECENTLY_VIEWED,
                messages.PLACEMENT_BEST_SELLERS,
                messages.PLACEMENT_TRENDING,
            ):
                found = await service.recommended_for(user_id, placement=placement, filter={"allow_sensitive": True})
                assert gone not in names_of(found)
        assert gone not in names_of(
            await service.recommended_for(SHOPPER, page_token=first.next_page_token, page_size=9)
        )
        assert gone not in await similar_to(service, NEIGHBOUR)
        ranked = await service.client.rank(messages.RankRequest(user_id=SHOPPER, item_ids=["item-1", gone]))
        assert ranked.missing_ids == [gone]
        assert names_of(ranked) == ["item-1", gone]
        assert ranked.results[1].score == 0.0
        asked = await service.recommended_for("", filter={"include_item_ids": [gone, "item-1"]})
        assert asked.missing_ids == [gone]
        await shop.put(LiveItem(item_id=gone, title="again"))

        async def is_back() -> bool:
            return gone in await best_sellers(service)

        await until(is_back)


async def test_an_item_without_a_vector_is_popular_until_its_vector_comes(shop: Shop) -> None:
    async with serving(shop) as service:
        item = LiveItem(item_id="new", title="new", brand="new-brand")
        await shop.put(item)

        async def is_there() -> bool:
            return await best_sellers(service, include_brands=["new-brand"]) == ["new"]

        await until(is_there)
        assert "new" not in await similar_to(service, NEIGHBOUR)
        assert await similar_to(service, "new") == [name for name in await best_sellers(service) if name != "new"]
        await shop.put(item, v1=shop.vector(NEIGHBOUR))

        async def is_similar() -> bool:
            return (await similar_to(service, NEIGHBOUR))[0] == "new"

        await until(is_similar)


async def test_a_process_starts_over_what_cannot_be_read_and_takes_in_the_rest_later(shop: Shop) -> None:
    await shop.client.hset(CATALOGUE_ITEMS, b"\xff\xfe", "{}")
    await shop.put(LiveItem(item_id="new", title="new", brand="new-brand"))
    async with serving(shop) as service:
        assert await best_sellers(service)
        await shop.client.hdel(CATALOGUE_ITEMS, b"\xff\xfe")

        async def is_there() -> bool:
            return await best_sellers(service, include_brands=["new-brand"]) == ["new"]

        await until(is_there)


async def test_what_cannot_be_read_does_not_keep_others_back(shop: Shop) -> None:
    async with serving(shop) as service:
        await shop.client.hset(CATALOGUE_ITEMS, "broken", "{")
        await shop.client.xadd(CATALOGUE_CHANGES, {"item_id": "broken", "revision": 1})
        await shop.client.hset(catalogue_vectors("tiny.1"), "new", b"short")
        await shop.put(LiveItem(item_id="new", title="new", brand="new-brand"))

        async def is_there() -> bool:
            return await best_sellers(service, include_brands=["new-brand"]) == ["new"]

        await until(is_there)


async def test_where_so_many_changes_came_that_some_are_gone_all_items_are_read(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ranking.live_catalogue.CHANGES_MAX", 5)
    async with serving(shop) as service:
        at_once = shop.client.pipeline()
        for number in range(17):
            item = LiveItem(item_id=f"new-{number}", title="new", brand="new-brand")
            at_once.hset(CATALOGUE_ITEMS, item.item_id, to_json(item))
            if number >= 7:  # word of the first ones has been trimmed away
                at_once.xadd(CATALOGUE_CHANGES, {"item_id": item.item_id, "revision": 1})
        await at_once.execute()

        async def are_there() -> bool:
            return len(await best_sellers(service, include_brands=["new-brand"])) == 17

        await until(are_there)


async def test_a_swap_of_bundles_keeps_live_items_with_the_new_bundles_vectors(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "_OUTAGE_SECONDS", 0.1)  # no Triton, for either bundle
    monkeypatch.setattr(live, "VECTORS_SECONDS", SWAP_SECONDS)
    write_shop_bundle(shop.disk.folder / "bundles", seed=2)
    promote(shop.disk.folder / "bundles", "tiny.1", "a test", AS_OF)
    item = LiveItem(item_id="new", title="new", price=700.0)
    async with serving(shop) as service:
        await shop.put(item, v1=shop.vector(NEIGHBOUR))
        await shop.put(LiveItem(item_id="item-3", deleted=True))

        async def is_taken_in() -> bool:
            return await listed(service, "new", "item-3") == ["new"]

        await until(is_taken_in)
        promote(shop.disk.folder / "bundles", "tiny.2", "a test", AS_OF)
        with pytest.raises(AssertionError, match="not within"):  # its vector is waited for
            await until(_serves(service, "tiny.2"), seconds=4.0)
        assert await listed(service, "new", "item-3") == ["new"]
        other = -shop.vector(NEIGHBOUR)
        await shop.put(item, v2=other)
        await until(_serves(service, "tiny.2"), SWAP_SECONDS)
        assert await listed(service, "new", "item-3") == ["new"]
        assert await best_sellers(service, price_range={"minimum_price": 700.0}) == ["new"]


def _serves(service: RunningService, version: str) -> Callable[[], Awaitable[bool]]:
    async def serves() -> bool:
        return (await service.recommended_for("", filter={"strict": True})).bundle_version == version

    return serves


async def test_while_valkey_is_away_items_stay_and_what_was_missed_is_made_up_for(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    valkey = shop.disk.start_valkey()
    try:
        await shop.put(LiveItem(item_id="new", title="new", brand="new-brand"), v1=shop.vector(NEIGHBOUR))
        async with serving(shop) as service:
            assert await best_sellers(service, include_brands=["new-brand"]) == ["new"]
            valkey.stop()
            assert await best_sellers(service, include_brands=["new-brand"]) == ["new"]
            valkey = shop.disk.start_valkey()
            await shop.put(LiveItem(item_id="newer", title="newer", brand="new-brand"))

            async def are_there() -> bool:
                return len(await best_sellers(service, include_brands=["new-brand"])) == 2

            await until(are_there, 30.0)
    finally:
        valkey.stop()
        await shop.client.aclose()


async def test_with_a_retrieval_service_new_items_are_searched_beside_it(shop: Shop) -> None:
    bundles = RetrievalSettings(bundles=shop.disk.folder / "bundles")
    servicer = load_servicer(bundles)
    async with (
        running_server(bundles, 0, registration(servicer)) as server,
        serving(shop, retrieval_address=server.address) as remote,
        serving(shop) as local,
    ):
        await shop.put(LiveItem(item_id="liked", title="liked", price=2.0), v1=shop.taste(SHOPPER))
        await shop.put(LiveItem(item_id="item-4", deleted=True))
        for service in (remote, local):

            async def is_taken_in(asked: RunningService = service) -> bool:
                return await listed(asked, "liked", "item-4") == ["liked"]

            await until(is_taken_in)
        for user_id in shop.disk.users["user_id"]:
            there, here = [await one.recommended_for(user_id) for one in (remote, local)]
            assert "RETRIEVAL_FALLBACK" not in degradations(there)
            assert names_of(there) == names_of(here)
        assert "liked" in await recommended(remote)


async def test_only_shoppers_whose_events_wait_are_told_that_features_are_stale(shop: Shop) -> None:
    settings = shop.settings()
    other = next(f"user-{number}" for number in range(12) if not _same_shard(f"user-{number}", settings.shards))
    keys = ShardKeys(shard_of(SHOPPER, settings.shards))
    async with serving(shop, live_stale_seconds=0.05) as service:
        await shop.client.xadd(keys.events, {"e": b"waits"})
        freshness = Freshness(shop.client, settings.shards, stale_after_seconds=0.05)
        await asyncio.sleep(0.1)
        await freshness.poll()
        assert not freshness.is_stale(SHOPPER)  # no updater has ever begun
        await shop.client.hset(keys.progress, "features", "0-0")

        async def is_stale() -> bool:
            return "STALE_FEATURES" in degradations(await service.recommended_for(SHOPPER))

        await until(is_stale)
        assert "STALE_FEATURES" not in degradations(await service.recommended_for(other))
        [(entry, _)] = await shop.client.xrange(keys.events)
        await shop.client.hset(keys.progress, "features", entry)

        async def is_fresh() -> bool:
            return not await is_stale()

        await until(is_fresh)


def _same_shard(user_id: str, shards: int) -> bool:
    return shard_of(user_id, shards) == shard_of(SHOPPER, shards)
