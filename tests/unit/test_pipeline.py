"""How lists come about when all is well, and how long each step may take."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from services.ranking.ordering import (
    EVERYTHING,
    NO_ROWS,
    Selection,
    Source,
    buy_again,
    mask_without,
    others_you_may_like,
    popular,
    requested,
    similar,
)
from services.ranking.pipeline import OfContext
from services.ranking.release import Release
from services.ranking.trace import Budgets, Degradation
from tests.tiny_shop import LIMITS, TinyShop
from tests.unit.pipeline_world import DAY_US, NOW_US, TOWER, World, a_trace, a_world, assert_same


@pytest.fixture
def world(shop: TinyShop, release: Release) -> World:
    return a_world(shop, release)


async def test_when_all_is_well_every_shopper_gets_the_list_of_ordering(world: World) -> None:
    for user_id in list(world.rows)[1:]:
        trace = a_trace()
        found = await world.pipeline.recommended_for_you(user_id, trace)
        assert_same(found, world.recommended(user_id, TOWER))
        assert trace.degradations == set()
        assert set(trace.timings_ms) == {"features", "interest", "candidates", "retrieval", "queue", "ranking"}


async def test_a_shopper_without_history_asks_neither_tower_nor_index(world: World) -> None:
    trace = a_trace()
    found = await world.pipeline.recommended_for_you("user-0", trace)
    assert_same(found, world.recommended("user-0", world.fallback("user-0")))
    assert (world.scorer.allowed_seconds, world.retriever.allowed_seconds) == (None, None)
    assert trace.degradations == set()
    assert set(trace.timings_ms) == {"features", "candidates", "queue", "ranking"}


@pytest.mark.parametrize("user_id", ["nobody", ""])
async def test_an_unknown_shopper_gets_the_popular_list_and_nothing_is_degraded(world: World, user_id: str) -> None:
    trace = a_trace()
    found = await world.pipeline.recommended_for_you(user_id, trace)
    assert_same(found, popular(world.release.model, LIMITS.total))
    assert trace.degradations == set()
    assert ("features" in trace.timings_ms) == bool(user_id)


async def test_excluded_rows_are_in_no_list(world: World) -> None:
    out = world.release.model.popular_rows[::2]
    selection = Selection(left_out=out)
    for user_id in world.rows:
        found = await world.pipeline.recommended_for_you(user_id, a_trace(), selection)
        interest = TOWER if world.shopper(user_id).history_rows.size else world.fallback(user_id)
        assert_same(found, world.recommended(user_id, interest, out))
        assert not set((await world.pipeline.buy_it_again(user_id, a_trace(), selection)).rows) & set(out)
    for found in (
        await world.pipeline.recommended_for_you("nobody", a_trace(), selection),
        await world.pipeline.of_all(popular, "", 40, a_trace(), selection),
    ):
        assert_same(found, popular(world.release.model, LIMITS.total, mask_without(None, out, 40)))


async def test_buy_it_again_is_what_the_shopper_had(world: World) -> None:
    model, ranker = world.release.model, world.release.rankers.all_items
    for user_id in list(world.rows)[1:]:
        found = await world.pipeline.buy_it_again(user_id, a_trace())
        assert_same(found, buy_again(model, ranker, world.shopper(user_id), TOWER, NOW_US))


async def test_given_items_are_ranked_once_each_for_the_shopper(world: World) -> None:
    rows = np.array([5, 9, 5, 30, 0], np.int32)
    found = await world.pipeline.rank("user-2", rows, a_trace())
    assert_same(found, world.ranked(world.shopper("user-2"), requested(rows), TOWER))
    assert sorted(found.rows) == [0, 5, 9, 30]
    assert set(found.sources) == {Source.REQUEST}


@pytest.mark.parametrize("make", [similar, others_you_may_like])
async def test_lists_about_a_context_are_those_of_ordering_or_the_popular_one_without_it(
    world: World, make: OfContext
) -> None:
    model, context, pipeline = world.release.model, np.array([3, 8], np.int32), world.pipeline
    found = await pipeline.of_context(make, "user-1", context, 7, a_trace(), EVERYTHING)
    assert_same(found, make(model, context, 7, mask_without(None, NO_ROWS, 40)))
    without = await pipeline.of_context(make, "user-1", NO_ROWS, 7, a_trace(), EVERYTHING)
    assert_same(without, popular(model, 7))


async def test_what_was_bought_lately_is_left_out_of_every_list(world: World) -> None:
    """And what was bought earlier, or never but had, is not."""
    pipeline, model = world.pipeline, world.release.model
    for user_id in list(world.rows)[1:]:
        shopper = world.shopper(user_id)
        days_ago = (NOW_US - shopper.repeat_purchase_us) / DAY_US
        lately = set(shopper.repeat_rows[(shopper.repeat_purchase_us > 0) & (days_ago < 30)])
        selection, context = Selection(purchased_within_us=30 * DAY_US), model.popular_rows[:2]
        again = await pipeline.buy_it_again(user_id, a_trace(), selection)
        assert set(again.rows) == set(shopper.repeat_rows) - lately
        for found in (
            await pipeline.recommended_for_you(user_id, a_trace(), selection),
            await pipeline.recently_viewed(user_id, a_trace(), selection),
            await pipeline.rank(user_id, model.popular_rows, a_trace(), selection),
            await pipeline.of_all(popular, user_id, 40, a_trace(), selection),
            await pipeline.of_context(similar, user_id, context, 40, a_trace(), selection),
        ):
            assert not set(found.rows) & lately
        everything = await pipeline.of_all(popular, user_id, 40, a_trace(), selection)
        assert set(everything.rows) == set(model.popular_rows) - lately


# deadlines


async def test_with_time_enough_every_step_has_its_whole_budget(world: World) -> None:
    await world.pipeline.recommended_for_you("user-1", a_trace())
    assert (world.scorer.allowed_seconds, world.retriever.allowed_seconds) == (0.1, 0.05)


async def test_with_little_time_a_step_may_take_half_of_what_is_left(world: World) -> None:
    pipeline = replace(world.pipeline, budgets=Budgets(features=60, interest=60, retrieval=60))
    await pipeline.recommended_for_you("user-1", a_trace(seconds=10.0))
    assert world.scorer.allowed_seconds == pytest.approx(5.0, abs=0.5)
    assert world.retriever.allowed_seconds == pytest.approx(5.0, abs=0.5)


async def test_when_the_time_is_over_steps_are_still_tried_for_a_moment(world: World) -> None:
    await world.pipeline.recommended_for_you("user-1", a_trace(seconds=-1.0))
    assert (world.scorer.allowed_seconds, world.retriever.allowed_seconds) == (0.001, 0.001)


@pytest.mark.parametrize(("budget", "seconds_left"), [(0.02, 60.0), (60.0, 0.04)], ids=["budget", "deadline"])
async def test_a_store_that_hangs_costs_its_budget_or_half_the_callers_time(
    world: World, budget: float, seconds_left: float
) -> None:
    world.users.hangs = True
    pipeline = replace(world.pipeline, budgets=Budgets(features=budget))
    trace = a_trace(seconds_left)
    async with asyncio.timeout(10):
        found = await pipeline.recommended_for_you("user-1", trace)
    assert_same(found, popular(world.release.model, LIMITS.total))
    assert trace.degradations == {Degradation.USER_FEATURES_FALLBACK, Degradation.POPULARITY_ONLY}
    assert 15 < trace.timings_ms["features"] < 5000
