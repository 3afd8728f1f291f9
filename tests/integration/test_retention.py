"""Forgetting by age, over a real Valkey, a real feature store and real files."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.clock import to_us
from features.store import UserEraser, close_store, open_store
from services.ingest.privacy.audit import FILE as AUDIT
from services.ingest.retention import forget, trimmed
from services.ingest.updater.state import frame_of, lines_of
from tests.integration.live_shop import SHARDS, LiveShop
from tests.integration.personal_data import OTHER, SHOPPER, plant
from tests.shop import day, day_us, event, events

WALL = datetime(2026, 9, 25, tzinfo=UTC)
"""What is planted in the log arrived on 21 September; dead letters arrive when the test runs."""
SERVING_US = to_us(datetime(2018, 6, 1, tzinfo=UTC))
"""What is planted in the states happened at the end of 2017."""


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[LiveShop]:
    """A shop of its own for every test."""
    shop = LiveShop(tmp_path)
    yield shop
    await shop.close()


def test_a_state_loses_its_old_events_and_keeps_the_others_as_they_were() -> None:
    rows = [event(name, f"item-{on}", on) for name, on in (("ada", 1), ("ben", 2), ("ada", 3), ("eve", 4))]
    states = lines_of(events(*rows))
    found = trimmed(states, day_us(3))
    assert found["ben"] == b""
    assert frame_of({"ada": found["ada"]})["event_time"].to_list() == [day(3)]
    assert states["ada"].endswith(found["ada"])
    assert "eve" not in found


async def test_what_is_older_than_it_may_be_is_forgotten_everywhere_and_put_down(shop: LiveShop) -> None:
    await plant(shop)
    young = lines_of(events(event(OTHER, "item-1", 1)))[OTHER]  # of 2024
    await shop.client.append(shop.keys(OTHER).shopper(OTHER), young)
    store = open_store(shop.folder / "feast", shop.folder / "offline", shop.address)
    live, eraser = shop.folder / "live", UserEraser(store)
    try:
        kept = await forget(shop.client, SHARDS, live, 300, WALL, SERVING_US, eraser)
        assert kept == {"logged_events": 0, "dead_letters": 0, "state_events": 0, "shoppers": 0}
        gone = await forget(shop.client, SHARDS, live, 2, WALL, SERVING_US, eraser)
        assert gone == {"logged_events": 2, "dead_letters": 0, "state_events": 2, "shoppers": 1}
        assert await eraser.count([SHOPPER]) == 0
        assert await eraser.count([OTHER]) == 1
    finally:
        await close_store(store)
    assert await shop.client.get(shop.keys(SHOPPER).shopper(SHOPPER)) is None
    assert await shop.client.get(shop.keys(OTHER).shopper(OTHER)) == young
    assert shop.logged() == []
    lines = [json.loads(line) for line in (live / AUDIT).read_text().splitlines()]
    assert [(line["action"], line["days"], line["removed"]) for line in lines] == [
        ("retention", 300, kept),
        ("retention", 2, gone),
    ]
