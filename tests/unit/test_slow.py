"""The log of slow requests: which, how often, and nothing of whom they were for."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from aisle.v1 import recommendation_service_pb2 as messages

from services.common.telemetry import JsonFormatter
from services.ranking.answers import House
from services.ranking.app import RecommendationServicer
from services.ranking.calls import RECOMMEND, Call
from services.ranking.release import Release
from services.ranking.slow import SlowRequests, shape
from tests.tiny_shop import TinyShop
from tests.unit.pipeline_world import World, a_world

REQUEST = messages.RecommendRequest(
    placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU,
    user_id="user-3",
    visitor_id="visitor-of-user-3",
    session_id="session-of-user-3",
    context_item_ids=["item-3", "item-9"],
    page_size=100,
    filter=messages.Filter(exclude_brands=["kind brand"], in_stock_only=True),
)


class Context:
    """What a servicer needs of a call."""

    def time_remaining(self) -> float:
        return 20.0


class Seconds:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def world(shop: TinyShop, release: Release) -> World:
    return a_world(shop, release)


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The lines of this log alone, read back: what earlier tests started may still have something to say."""
    slow = [record for record in caplog.records if record.name == "services.ranking.slow"]
    return [json.loads(JsonFormatter().format(record)) for record in slow]


async def test_a_line_says_where_the_time_went_and_not_for_whom(world: World, caplog: pytest.LogCaptureFixture) -> None:
    context: Any = Context()
    servicer = RecommendationServicer(lambda: world.pipeline, SlowRequests(0.0), House())
    reply = await servicer.Recommend(REQUEST, context)
    [line] = lines(caplog)
    [about] = line["lists"]
    assert (line["message"], line["level"], line["method"]) == ("slow request", "WARNING", RECOMMEND)
    assert line["milliseconds"] >= about["stages_ms"]["total"] - 0.1 > 0.0
    assert set(about["stages_ms"]) >= {"total", "features", "interest", "retrieval", "ranking"}
    assert sum(about["candidates"].values()) == len(reply.results) > 10
    assert about["placement"] == "PLACEMENT_RECOMMENDED_FOR_YOU"
    assert (about["page_size"], about["context_items"]) == (100, 2)
    assert about["filter"] == {"exclude_brands": 1, "in_stock_only": 1}
    assert about["recommendation_id"] == reply.recommendation_id
    assert about["bundle_version"] == reply.bundle_version
    assert about["degradations"] == []
    for told in ("user-3", "item-", "kind brand"):
        assert told not in json.dumps(line)


async def test_a_call_that_was_given_up_is_written_with_what_it_had_come_to(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.users.hangs = True
    pipeline = replace(world.pipeline, budgets=replace(world.pipeline.budgets, features=60.0))
    context: Any = Context()
    servicer = RecommendationServicer(lambda: pipeline, SlowRequests(0.0), House())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await servicer.Recommend(REQUEST, context)
    [line] = lines(caplog)
    assert line["failure"] == "CancelledError"
    assert line["lists"][0]["stages_ms"]["features"] > 10.0


def test_only_what_takes_longer_than_the_limit_is_written(caplog: pytest.LogCaptureFixture) -> None:
    slow = SlowRequests(0.25)
    for seconds in (0.1, 0.25):
        slow.observe(Call(RECOMMEND, seconds=seconds))
    assert lines(caplog) == []
    slow.observe(Call(RECOMMEND, seconds=0.26))
    assert [line["milliseconds"] for line in lines(caplog)] == [260.0]


def test_a_line_a_second_at_most_is_written_and_says_how_many_were_left_out(caplog: pytest.LogCaptureFixture) -> None:
    clock = Seconds()
    slow = SlowRequests(0.25, clock)
    for now in (100.0, 100.4, 100.9, 101.1, 102.2):
        clock.now = now
        slow.observe(Call(RECOMMEND, seconds=1.0))
    assert [line["left_out"] for line in lines(caplog)] == [0, 2, 0]


def test_a_filter_is_told_by_the_number_of_its_conditions() -> None:
    chosen = messages.Filter(
        include_item_ids=["a", "b", "c"],
        price_range={"maximum_price": 3.0},
        exclude_purchased_within_days=30,
        attribute_conditions=[{"name": "diet", "include_values": ["vegan"]}],
    )
    assert shape(chosen) == {
        "include_item_ids": 3,
        "price_range": 1,
        "exclude_purchased_within_days": 1,
        "attribute_conditions": 1,
    }
    assert shape(messages.Filter()) == {}
