"""What Prometheus is told of answers and of what serves."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aisle.v1 import recommendation_service_pb2 as messages
from prometheus_client import CollectorRegistry

from features.clock import Clock
from services.ranking.answers import House
from services.ranking.app import RecommendationServicer
from services.ranking.metrics import RankingMetrics, ServingCollector
from services.ranking.ordering import Source
from services.ranking.release import Release
from services.ranking.trace import STAGES, Degradation
from tests.tiny_shop import AS_OF, TinyShop
from tests.unit.pipeline_world import DAY_US, NOW_US, World, a_world

FOR_YOU = messages.PLACEMENT_RECOMMENDED_FOR_YOU
METHOD = "/aisle.v1.RecommendationService/"


class Context:
    """What a servicer needs of a call."""

    def time_remaining(self) -> float:
        return 20.0


class CountedShop:
    """A servicer over fakes, and its metrics."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.registry = CollectorRegistry()
        self.pipeline = world.pipeline
        self.servicer = RecommendationServicer(lambda: self.pipeline, RankingMetrics(self.registry), House())
        self.context: Any = Context()

    async def recommend(self, user_id: str, **fields: Any) -> messages.RecommendResponse:
        request = messages.RecommendRequest(user_id=user_id, **({"placement": FOR_YOU} | fields))
        return await self.servicer.Recommend(request, self.context)

    def by_source(self, name: str) -> dict[str, float]:
        """What is not 0 of a metric, by its only label."""
        samples = [sample for family in self.registry.collect() for sample in family.samples if sample.name == name]
        return {sample.labels["source"]: sample.value for sample in samples if sample.value}

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def counted(shop: TinyShop, release: Release) -> CountedShop:
    return CountedShop(a_world(shop, release))


def sources(reply: messages.RecommendResponse) -> dict[str, int]:
    names = [messages.CandidateSource.Name(item.source).removeprefix("CANDIDATE_SOURCE_") for item in reply.results]
    return dict(Counter(names))


async def test_every_label_is_there_before_the_first_call_and_calls_add_none(counted: CountedShop) -> None:
    def labels() -> set[tuple[str, str]]:
        families = counted.registry.collect()
        return {(sample.name, str(sample.labels)) for family in families for sample in family.samples}

    before = labels()
    for source in Source:
        assert counted.value("aisle_candidates_total", source=source.name) == 0.0
    for degradation in Degradation:
        assert counted.value("aisle_degradations_total", degradation=degradation.name) == 0.0
    for stage in STAGES:
        assert counted.value("aisle_stage_seconds_count", stage=stage) == 0.0
    await counted.recommend("user-3", explain=True, diversity_level=messages.DIVERSITY_LEVEL_HIGH)
    assert labels() == before


async def test_items_are_counted_by_who_proposed_them_shown_or_not(counted: CountedShop) -> None:
    whole = await counted.recommend("user-3", page_size=100)
    assert len(sources(whole)) > 2
    assert counted.by_source("aisle_candidates_total") == counted.by_source("aisle_recommended_items_total")
    assert counted.by_source("aisle_recommended_items_total") == sources(whole)
    page = await counted.recommend("user-3", page_size=5)
    assert counted.by_source("aisle_candidates_total") == {name: 2 * count for name, count in sources(whole).items()}
    assert counted.by_source("aisle_recommended_items_total") == Counter(sources(whole)) + Counter(sources(page))


async def test_a_later_page_brings_no_new_candidates(counted: CountedShop) -> None:
    first = await counted.recommend("user-3", page_size=5)
    before = counted.by_source("aisle_candidates_total")
    assert sum(before.values()) > len(first.results) == 5
    second = await counted.recommend("user-3", page_size=5, page_token=first.next_page_token)
    assert counted.by_source("aisle_candidates_total") == before
    assert counted.by_source("aisle_recommended_items_total") == Counter(sources(first)) + Counter(sources(second))


async def test_promoted_items_are_counted_as_such(counted: CountedShop) -> None:
    promotion = {"name": "dairy week", "promoted_percent": 50, "filter": {"include_categories": ["dairy"]}}
    reply = await counted.recommend("user-3", page_size=10, promotions=[promotion])
    assert sources(reply)["PROMOTION"] >= 5
    assert counted.value("aisle_recommended_items_total", source="PROMOTION") == sources(reply)["PROMOTION"]


async def test_the_age_of_the_shoppers_row_is_taken_on_the_serving_clock(counted: CountedShop) -> None:
    counted.world.rows["user-3"]["event_timestamp"] = AS_OF - timedelta(days=2)
    await counted.recommend("user-3")
    await counted.recommend("nobody")
    assert counted.value("aisle_user_feature_age_seconds_count") == 1.0
    assert counted.value("aisle_user_feature_age_seconds_sum") == 2 * 86_400.0


async def test_the_sizes_of_batches_and_rankings_are_counted(counted: CountedShop) -> None:
    part = messages.RecommendRequest(placement=FOR_YOU, page_size=3)
    batch = messages.BatchRecommendRequest(user_id="user-1", requests=[part, part])
    await counted.servicer.BatchRecommend(batch, counted.context)
    ranked = messages.RankRequest(user_id="user-1", item_ids=[f"item-{number}" for number in range(7)])
    await counted.servicer.Rank(ranked, counted.context)
    await counted.recommend("user-1")
    for name, size in (("BatchRecommend", 2.0), ("Rank", 7.0)):
        assert counted.value("aisle_batch_size_sum", method=METHOD + name) == size
        assert counted.value("aisle_batch_size_count", method=METHOD + name) == 1.0
    assert counted.value("aisle_stage_seconds_count", stage="total") == 4.0


async def test_a_call_that_was_given_up_counts_as_no_answer(counted: CountedShop) -> None:
    counted.world.users.hangs = True
    counted.pipeline = replace(counted.pipeline, budgets=replace(counted.pipeline.budgets, features=60.0))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await counted.recommend("user-3")
    assert counted.value("aisle_stage_seconds_count", stage="features") == 0.0


def test_what_serves_is_told_at_the_moment_of_the_scrape(counted: CountedShop) -> None:
    pipelines = [replace(counted.world.pipeline, clock=Clock(0, lambda: NOW_US + 3 * DAY_US))]
    counted.registry.register(ServingCollector(lambda: pipelines[-1]))
    version = pipelines[0].release.version
    assert counted.value("aisle_bundle_info", version=version) == 1.0
    assert counted.value("aisle_feature_age_seconds") == 3 * 86_400.0
    pipelines.append(replace(counted.world.pipeline, release=replace(pipelines[0].release, version="tiny.9")))
    assert counted.value("aisle_bundle_info", version="tiny.9") == 1.0
    assert counted.value("aisle_bundle_info", version=version) is None
    assert counted.value("aisle_feature_age_seconds") == 0.0
