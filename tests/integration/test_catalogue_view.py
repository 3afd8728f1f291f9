"""The updater's view of items over a real Valkey: no change of the catalogue is missed."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.live_items import LiveItem, to_json
from services.common.streams import CATALOGUE_CHANGES, CATALOGUE_ITEMS, Unavailable
from services.ingest.updater.catalogue_view import Catalogue
from tests.integration.live_shop import LiveShop


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[LiveShop]:
    """A shop of its own for every test."""
    shop = LiveShop(tmp_path)
    yield shop
    await shop.close()


@pytest.fixture
async def catalogue(shop: LiveShop) -> Catalogue:
    """A view that has read one change."""
    view = Catalogue(shop.client)
    view.use(shop.bundle)
    await change(shop, "first")
    assert await known(view, "first", "second") == [True, False]
    return view


async def change(shop: LiveShop, *item_ids: str) -> None:
    """New items, as ingest writes them."""
    for item_id in item_ids:
        item = LiveItem(item_id=item_id, title="new", category=("dairy", "plain"))
        await shop.client.hset(CATALOGUE_ITEMS, item_id, to_json(item))
        await shop.client.xadd(CATALOGUE_CHANGES, {"item_id": item_id})


async def known(view: Catalogue, *item_ids: str) -> list[bool]:
    """Whether features would know of the items."""
    places = (await view.facts()).places_of(pl.Series(item_ids))
    return [place >= 0 for place in places.tolist()]


async def test_a_change_is_taken_in_and_without_one_nothing_is_made_anew(shop: LiveShop, catalogue: Catalogue) -> None:
    before = await catalogue.facts()
    assert await catalogue.facts() is before
    await change(shop, "second")
    assert await known(catalogue, "first", "second", "third") == [True, True, False]


async def test_a_change_whose_items_could_not_be_read_is_read_again(
    shop: LiveShop, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs_up(*_: Any) -> None:
        raise ConnectionResetError

    await change(shop, "second")
    with monkeypatch.context() as patch:
        patch.setattr(shop.client, "hmget", hangs_up)
        with pytest.raises(Unavailable):
            await catalogue.facts()
    assert await known(catalogue, "second") == [True]


async def test_where_changes_were_trimmed_away_everything_is_read(shop: LiveShop, catalogue: Catalogue) -> None:
    await change(shop, "second", "third", "fourth")
    await shop.client.xtrim(CATALOGUE_CHANGES, maxlen=1, approximate=False)
    assert await known(catalogue, "second", "third", "fourth") == [True, True, True]
