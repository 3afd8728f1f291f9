"""The shadow answers some requests, when nobody waits, and nobody sees it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aisle.v1 import recommendation_service_pb2 as messages
from prometheus_client import CollectorRegistry

from services.ranking import shadow as shadow_module
from services.ranking.answers import House
from services.ranking.metrics import RankingMetrics
from services.ranking.pipeline import Pipeline
from services.ranking.release import Release
from services.ranking.settings import RankingSettings
from services.ranking.shadow import QUEUE_LENGTH, Shadow, ShadowedServicer, is_taken, overlap, shadowing
from tests.tiny_shop import TinyShop, write_shop_bundle
from tests.unit.pipeline_world import a_world

PATIENCE_SECONDS = 20.0
REQUEST = messages.RecommendRequest(placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU, user_id="user-3", page_size=10)


class Context:
    """What a servicer needs of a call; `finish` says that its reply has been sent."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Any], None]] = []

    def time_remaining(self) -> float:
        return PATIENCE_SECONDS

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks.append(callback)

    def finish(self) -> None:
        for callback in self._callbacks:
            callback(self)


class ShadowedShop:
    """A servicer and its shadow, both over the same release."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.registry = CollectorRegistry()
        self.shadow = Shadow(pipeline, House(), 1.0, self.registry)
        metrics = RankingMetrics(CollectorRegistry())
        self.servicer = ShadowedServicer(lambda: pipeline, metrics, House(), self.shadow)

    async def answer(self, request: messages.RecommendRequest = REQUEST) -> messages.RecommendResponse:
        context: Any = Context()
        reply = await self.servicer.Recommend(request, context)
        context.finish()
        return reply

    def count(self, name: str) -> float:
        return self.registry.get_sample_value(f"aisle_shadow_{name}") or 0.0

    async def until(self, name: str, value: float) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.count(name) < value:
                await asyncio.sleep(0.005)


@pytest.fixture
def pipeline(shop: TinyShop, release: Release) -> Pipeline:
    return a_world(shop, release).pipeline


@pytest.fixture
async def shadowed(pipeline: Pipeline) -> AsyncIterator[ShadowedShop]:
    shop = ShadowedShop(pipeline)
    task = asyncio.create_task(shop.shadow.work())
    yield shop
    task.cancel()


async def test_the_shadow_of_the_same_release_overlaps_wholly(shadowed: ShadowedShop) -> None:
    for _ in range(3):
        assert len((await shadowed.answer()).results) == 10
    await shadowed.until("overlap_count", 3)
    assert shadowed.count("overlap_sum") == 3.0
    assert shadowed.count("seconds_count") == 3
    assert shadowed.count("dropped_total") == 0


async def test_nothing_is_taken_before_the_reply_has_been_sent(shadowed: ShadowedShop) -> None:
    context: Any = Context()
    await shadowed.servicer.Recommend(REQUEST, context)
    await asyncio.sleep(0.05)
    assert shadowed.count("seconds_count") == 0
    context.finish()
    await shadowed.until("seconds_count", 1)


async def test_nothing_is_worked_on_while_a_shopper_waits(shadowed: ShadowedShop) -> None:
    with shadowed.shadow.shopper_waits():
        await shadowed.answer()
        await asyncio.sleep(0.05)
        assert shadowed.count("seconds_count") == 0
    await shadowed.until("seconds_count", 1)


async def test_what_does_not_fit_into_the_queue_is_dropped_and_counted(shadowed: ShadowedShop) -> None:
    with shadowed.shadow.shopper_waits():
        for _ in range(QUEUE_LENGTH + 6):
            await shadowed.answer()
        await asyncio.sleep(0)
        dropped = shadowed.count("dropped_total")
    assert 5 <= dropped <= 6  # one may have left the queue to wait for its turn
    await shadowed.until("overlap_count", QUEUE_LENGTH + 6 - dropped)
    assert shadowed.count("dropped_total") == dropped


async def test_later_pages_and_empty_lists_are_not_taken(shadowed: ShadowedShop) -> None:
    first = await shadowed.answer()
    later = messages.RecommendRequest()
    later.CopyFrom(REQUEST)
    later.page_token = first.next_page_token
    assert (await shadowed.answer(later)).results
    await shadowed.answer(messages.RecommendRequest(placement=REQUEST.placement, validate_only=True))
    await shadowed.answer()
    await shadowed.until("seconds_count", 2)
    assert shadowed.count("seconds_count") == 2


async def test_a_list_that_the_shadow_cannot_make_is_counted_and_the_next_one_is_made(
    shadowed: ShadowedShop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise IndexError("row 41")

    with monkeypatch.context() as patched:
        patched.setattr(shadow_module, "recommend", broken)
        await shadowed.answer()
        await shadowed.until("dropped_total", 1)
    assert [record.message for record in caplog.records] == ["the shadow cannot answer"]
    await shadowed.answer()
    await shadowed.until("overlap_count", 1)


def test_the_share_that_is_taken_follows_from_the_id() -> None:
    ids = [f"id-{number}" for number in range(2000)]
    taken = [name for name in ids if is_taken(name, 0.25)]
    assert taken == [name for name in ids if is_taken(name, 0.25)]
    assert 0.2 < len(taken) / len(ids) < 0.3
    assert set(taken) <= {name for name in ids if is_taken(name, 0.5)}
    assert not any(is_taken(name, 0.0) for name in ids)
    assert all(is_taken(name, 1.0) for name in ids)


def test_overlap_is_the_share_of_what_was_shown() -> None:
    def page(*ids: str) -> messages.RecommendResponse:
        return messages.RecommendResponse(results=[messages.RankedItem(item_id=item_id) for item_id in ids])

    assert overlap(page("tea", "jam"), page("jam", "rye", "oil")) == 0.5
    assert overlap(page("tea"), page()) == 0.0


@pytest.mark.parametrize("named", [None, "tiny.9"])
async def test_no_shadow_or_one_that_cannot_be_opened_keeps_nothing_from_starting(
    pipeline: Pipeline, tmp_path: Path, named: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    settings = RankingSettings(bundles=tmp_path, shadow_bundle=named)
    with caplog.at_level(logging.ERROR):
        async with shadowing(settings, lambda _: pipeline, House(), CollectorRegistry()) as shadow:
            assert shadow is None
    assert [record.message for record in caplog.records] == ([] if named is None else ["no shadow"])


async def test_the_shadow_that_the_settings_name_is_at_work(pipeline: Pipeline, tmp_path: Path) -> None:
    write_shop_bundle(tmp_path, seed=2)
    settings, registry = (
        RankingSettings(bundles=tmp_path, shadow_bundle="tiny.2", shadow_share=1.0),
        CollectorRegistry(),
    )

    def over(release: Release) -> Pipeline:
        return replace(pipeline, release=release)

    async with shadowing(settings, over, House(), registry) as shadow:
        assert shadow is not None
        servicer = ShadowedServicer(lambda: pipeline, RankingMetrics(CollectorRegistry()), House(), shadow)
        context: Any = Context()
        await servicer.Recommend(REQUEST, context)
        context.finish()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not registry.get_sample_value("aisle_shadow_overlap_count"):
                await asyncio.sleep(0.005)
    assert 0.0 <= (registry.get_sample_value("aisle_shadow_overlap_sum") or 0.0) < 1.0
