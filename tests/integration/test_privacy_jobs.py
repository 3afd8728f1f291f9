"""Purges while a job is at work that has read of the shopper before: over a real Valkey, Feast and real files."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aisle.v1 import event_service_pb2 as messages

from features import store
from features.adapters import cache
from features.left_out import NewlyLeftOut
from features.live_data import with_live
from features.materialise import materialise_bundle
from features.schema import EVENTS, Dataset
from features.transforms import known_events
from services.ingest import seed as seeding
from services.ingest.seed import Seeded, seed
from services.ingest.updater.state import lines_of
from tests.integration.live_shop import SHARDS, LiveShop
from tests.integration.personal_data import OTHER, SHOPPER, VISITOR, plant, privacy_of, traces

PURGE = messages.PurgeUserRequest(user_id=SHOPPER, visitor_id=VISITOR)
PURGE_OTHER = messages.PurgeUserRequest(user_id=OTHER)
STAYER = "who stays"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[LiveShop]:
    shop = LiveShop(tmp_path)
    yield shop
    await shop.close()


def read(shop: LiveShop) -> Dataset:
    """The data with the live folder, as a job reads it; STAYER did in it what OTHER did."""
    data = with_live(cache.recall(shop.folder / "data" / "shop-1"), shop.folder / "live", shop.folder / "rejects")
    theirs = data.events.filter(pl.col("user_id") == OTHER)
    stayer = theirs.with_columns(user_id=pl.lit(STAYER), event_id=pl.col("event_id") + pl.lit("-too"))
    when = pl.lit(shop.bundle.as_of - timedelta(days=1))
    events = pl.concat([data.events, stayer]).with_columns(item_id=pl.lit(shop.items["item_id"][0]), event_time=when)
    return replace(data, events=events.cast(EVENTS))


async def test_a_purge_while_rows_are_materialised_is_not_undone(
    shop: LiveShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One shopper is purged just before the rows go online, another while the first is taken out again."""
    await plant(shop)
    newly, loop = NewlyLeftOut(shop.folder / "live"), asyncio.get_running_loop()
    data = read(shop)
    async with privacy_of(shop) as privacy:

        def interrupted(name: str, request: messages.PurgeUserRequest) -> None:
            real, requests = getattr(store, name), [request]

            def call(*arguments: Any) -> None:
                for one in requests:
                    asyncio.run_coroutine_threadsafe(privacy.purge_user(one), loop).result(60.0)
                requests.clear()
                real(*arguments)

            monkeypatch.setattr(store, name, call)

        interrupted("materialise", PURGE)
        interrupted("take_back", PURGE_OTHER)
        places = shop.folder / "feast", shop.folder / "offline"
        count = await asyncio.to_thread(materialise_bundle, data, shop.bundle, *places, shop.address, newly)
    assert count == 1
    assert await traces(shop, SHOPPER, VISITOR, OTHER) == []
    assert (await shop.rows([STAYER]))["event_count"].to_list() == [2]
    assert any("offline/user_" in place for place in await traces(shop, STAYER))


async def test_a_purge_while_states_are_seeded_is_not_undone_and_a_next_life_stays(
    shop: LiveShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are purged after opt-outs were looked at; one of them comes back before the job ends."""
    await plant(shop)
    newly, data = NewlyLeftOut(shop.folder / "live"), read(shop)
    states = lines_of(known_events(data.events, shop.bundle.as_of))
    real = seeding._run
    async with privacy_of(shop) as privacy:

        async def interrupted(client: Any, commands: list[tuple[Any, ...]]) -> list[int]:
            is_writing = commands[0][0] == "SETNX"
            if is_writing:
                for request in (PURGE, PURGE_OTHER):
                    await privacy.purge_user(request)
            answers = await real(client, commands)
            if is_writing:
                await shop.client.append(shop.keys(OTHER).shopper(OTHER), b"a next life\n")
            return answers

        monkeypatch.setattr(seeding, "_run", interrupted)
        assert await seed(shop.client, states, SHARDS, shop.digest, newly) == Seeded(1, 0, 2)
    assert await shop.client.get(shop.keys(SHOPPER).shopper(SHOPPER)) is None
    assert await shop.client.get(shop.keys(OTHER).shopper(OTHER)) == b"a next life\n"
    assert await shop.client.get(shop.keys(STAYER).shopper(STAYER)) == states[STAYER]
