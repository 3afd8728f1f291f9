"""What `make demo` prints: shoppers' latest purchases and their recommendations, by name."""

import asyncio
from datetime import date, timedelta

import polars as pl
import pytest

from features import bundle as files
from features.schema import EVENTS, PROMOTIONS, USERS, Calendar, Dataset
from services.demo import show
from services.ranking.ordering import Source
from tests.integration.tiny_service import RunningService, TinyShopOnDisk
from tests.tiny_shop import AS_OF


@pytest.fixture
def data(served_shop: TinyShopOnDisk) -> Dataset:
    """One purchase for each position of the shoppers' histories, and one of an item that is no longer sold."""
    histories = served_shop.users.select("user_id", item_id="history_item_ids").explode("item_id").drop_nulls()
    rows = [
        {
            "tenant": "default",
            "event_id": f"event-{number}",
            "user_id": user_id,
            "item_id": item_id,
            "event_type": "purchase",
            "event_time": AS_OF - timedelta(minutes=1000 - number),
            "quantity": 1,
            "attributes": [],
        }
        for number, (user_id, item_id) in enumerate(histories.iter_rows())
    ]
    events = pl.DataFrame(rows, schema=EVENTS, orient="row")
    items = pl.read_parquet(served_shop.bundle.path(files.ITEMS))
    calendar = Calendar(date(2017, 1, 2), "UTC")
    return Dataset("tiny", events, items, PROMOTIONS.to_frame(), USERS.to_frame(), calendar, synthetic=True)


async def test_three_shoppers_are_shown_with_names_scores_and_sources(
    served_shop: TinyShopOnDisk, ranking: RunningService, data: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    await asyncio.to_thread(show, data, served_shop.bundle, ranking.address)
    printed = capsys.readouterr().out
    assert "Bundle tiny.1: 40 items, tiny (a synthetic shop), up to 30 December 2017" in printed
    blocks = printed.split("\nShopper ")[1:]
    assert len(blocks) == 3
    for block in blocks:
        lines = block.splitlines()
        user_id = lines[0].partition(" ")[0]
        expected = served_shop.recommended(user_id, await served_shop.interest(user_id))
        titles = data.items["title"].to_list()
        latest = [titles[row] for row in served_shop.shopper(user_id).history_rows[-8:]]
        assert lines[0] == f"{user_id} latest had:  " + " · ".join(reversed(latest))
        for place, line in enumerate(lines[1:11]):
            scores = f"{expected.scores[place]:7.3f}  interest {expected.interest[place]:6.2f}"
            source = Source(expected.sources[place]).name.lower()
            assert line == f"{place + 1:>4}. {scores}  {source:<14} {titles[expected.rows[place]]}"
        assert lines[11].startswith("      ms: candidates ")
        assert "degraded" not in lines[11]
