"""Every rung of the degradation ladder, alone and together."""

from dataclasses import replace

import pytest
from aisle.v1 import recommendation_service_pb2 as messages

from features.clock import Clock
from features.encode import resolve
from features.store import StoreUnavailable
from services.common.scorer import ScorerUnavailable
from services.ranking.ordering import (
    EVERYTHING,
    Source,
    popular,
    requested,
    similar,
)
from services.ranking.release import Release
from services.ranking.retriever import RetrieverUnavailable
from services.ranking.trace import Degradation
from tests.tiny_shop import LIMITS, TinyShop
from tests.unit.pipeline_world import DAY_US, NOW_US, TOWER, World, a_trace, a_world, assert_same


@pytest.fixture
def world(shop: TinyShop, release: Release) -> World:
    return a_world(shop, release)


async def test_without_the_tower_the_mean_of_the_history_stands_in(world: World) -> None:
    world.scorer.failure = ScorerUnavailable("unavailable")
    for user_id in list(world.rows)[1:]:
        trace = a_trace()
        found = await world.pipeline.recommended_for_you(user_id, trace)
        assert_same(found, world.recommended(user_id, world.fallback(user_id)))
        assert trace.degradations == {Degradation.INTEREST_FALLBACK}


async def test_without_the_index_the_other_sources_still_answer(world: World) -> None:
    world.retriever.failure = RetrieverUnavailable("gone")
    for user_id in list(world.rows)[1:]:
        trace = a_trace()
        found = await world.pipeline.recommended_for_you(user_id, trace)
        assert_same(found, world.without_index(user_id, TOWER))
        assert Source.INTEREST not in found.sources
        assert trace.degradations == {Degradation.RETRIEVAL_FALLBACK}


async def test_without_the_store_the_popular_list_answers(world: World) -> None:
    world.users.failure = StoreUnavailable("gone")
    trace = a_trace()
    found = await world.pipeline.recommended_for_you("user-1", trace)
    assert_same(found, popular(world.release.model, LIMITS.total))
    assert trace.degradations == {Degradation.USER_FEATURES_FALLBACK, Degradation.POPULARITY_ONLY}


async def test_without_the_store_given_items_are_ranked_as_for_an_unknown_shopper(world: World) -> None:
    world.users.failure = StoreUnavailable("gone")
    trace, model = a_trace(), world.release.model
    found = await world.pipeline.rank("user-1", model.popular_rows[:9], trace)
    candidates = requested(model.popular_rows[:9])
    nobody, nothing = resolve(None, model.items), world.fallback("nobody")
    assert_same(found, world.ranked(nobody, candidates, nothing))
    assert trace.degradations == {Degradation.USER_FEATURES_FALLBACK}


async def test_old_features_are_said_to_be_old(world: World) -> None:
    for late_us, expected in ((7 * DAY_US, set()), (7 * DAY_US + 1, {Degradation.STALE_FEATURES})):
        clock = Clock(late_us, lambda: NOW_US)
        trace = a_trace()
        await replace(world.pipeline, clock=clock).recommended_for_you("user-1", trace)
        assert trace.degradations == expected


async def test_tower_and_index_may_both_be_gone(world: World) -> None:
    world.scorer.failure = ScorerUnavailable("unavailable")
    world.retriever.failure = RetrieverUnavailable("gone")
    trace = a_trace()
    found = await world.pipeline.recommended_for_you("user-1", trace)
    assert_same(found, world.without_index("user-1", world.fallback("user-1")))
    assert trace.degradations == {Degradation.INTEREST_FALLBACK, Degradation.RETRIEVAL_FALLBACK}


async def test_with_everything_gone_and_old_every_list_is_still_answered(world: World) -> None:
    world.users.failure = StoreUnavailable("gone")
    world.scorer.failure = ScorerUnavailable("unavailable")
    world.retriever.failure = RetrieverUnavailable("gone")
    pipeline = replace(world.pipeline, clock=Clock(8 * DAY_US, lambda: NOW_US))
    trace, model = a_trace(), world.release.model
    assert_same(await pipeline.recommended_for_you("user-1", trace), popular(model, LIMITS.total))
    assert trace.degradations == {
        Degradation.USER_FEATURES_FALLBACK,
        Degradation.POPULARITY_ONLY,
        Degradation.STALE_FEATURES,
    }
    assert (await pipeline.buy_it_again("user-1", a_trace())).rows.size == 0
    assert (await pipeline.rank("user-1", model.popular_rows, a_trace())).rows.size == 40
    about = await pipeline.of_context(similar, "user-1", model.popular_rows[:1], 5, a_trace(), EVERYTHING)
    assert about.rows.size == 5


def test_degradations_have_the_names_and_numbers_of_the_api() -> None:
    names = {f"DEGRADATION_{step.name}": int(step) for step in Degradation}
    assert names | {"DEGRADATION_UNSPECIFIED": 0} == dict(messages.Degradation.items())
