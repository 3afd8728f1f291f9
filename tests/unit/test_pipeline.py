"""Every rung of the degradation ladder, with back ends that fail on demand."""

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from aisle.v1 import recommendation_service_pb2 as messages

from features.clock import Clock, to_us
from features.encode import Shopper, resolve
from features.store import StoreUnavailable
from features.vocab import Rows
from services.common.towers import FloatArray, IntArray
from services.ranking.ordering import (
    NO_ROWS,
    Interest,
    RankedList,
    Source,
    buy_again,
    fallback_interest,
    gather,
    popular,
    rank,
    recommend,
    requested,
    similar,
)
from services.ranking.pipeline import Budgets, Degradation, Pipeline, Trace
from services.ranking.release import Release
from services.ranking.retriever import RetrieverUnavailable
from services.ranking.scorer import ScorerUnavailable
from tests.fakes import FakeRetriever, FakeScorer, FakeUsers
from tests.tiny_shop import AS_OF, LIMITS, TinyShop, shoppers

NOW_US = to_us(AS_OF)
DAY_US = 86_400_000_000
INTERESTS = np.random.default_rng(4).standard_normal((2, 128)).astype(np.float32)
TOWER = Interest(INTERESTS, is_fallback=False)


class TimedScorer(FakeScorer):
    """Keeps how long it was allowed to take."""

    allowed_seconds: float | None = None

    async def interest_vectors(
        self, history_vectors: FloatArray, event_types: IntArray, ages_days: FloatArray, timeout_seconds: float
    ) -> FloatArray:
        self.allowed_seconds = timeout_seconds
        return await super().interest_vectors(history_vectors, event_types, ages_days, timeout_seconds)


class TimedRetriever(FakeRetriever):
    """Keeps how long it was allowed to take."""

    allowed_seconds: float | None = None

    async def nearest(
        self, interest_vectors: FloatArray, count: int, excluded_rows: Rows, timeout_seconds: float
    ) -> Rows:
        self.allowed_seconds = timeout_seconds
        return await super().nearest(interest_vectors, count, excluded_rows, timeout_seconds)


@dataclass(frozen=True, slots=True)
class World:
    """A pipeline and the fakes behind it."""

    pipeline: Pipeline
    users: FakeUsers
    scorer: TimedScorer
    retriever: TimedRetriever
    rows: dict[str, dict[str, Any]]

    @property
    def release(self) -> Release:
        return self.pipeline.release

    def shopper(self, user_id: str) -> Shopper:
        return resolve(self.rows.get(user_id), self.release.model.items)

    def fallback(self, user_id: str) -> Interest:
        return fallback_interest(self.release.model.vectors[self.shopper(user_id).history_rows])

    def recommended(self, user_id: str, interest: Interest, excluded: Rows = NO_ROWS) -> RankedList:
        """What ordering alone gives."""
        release, shopper = self.release, self.shopper(user_id)
        return recommend(release.model, release.ranker, shopper, interest, LIMITS, NOW_US, excluded)


@pytest.fixture(scope="module")
def release(shop: TinyShop) -> Release:
    return shop.release()


@pytest.fixture
def world(shop: TinyShop, release: Release) -> World:
    frame = shoppers(shop.items, 12, np.random.default_rng(3))
    rows = {row["user_id"]: row for row in frame.iter_rows(named=True)}
    users = FakeUsers(rows)
    scorer = TimedScorer.of_arrays(INTERESTS, INTERESTS[0])
    retriever = TimedRetriever(release.model.vectors)
    pipeline = Pipeline(
        release=release,
        users=users,
        scorer=scorer,
        retriever=retriever,
        clock=Clock(0, lambda: NOW_US),
        budgets=Budgets(),
        stale_after_us=7 * DAY_US,
    )
    return World(pipeline, users, scorer, retriever, rows)


def a_trace(seconds: float = 60.0) -> Trace:
    return Trace(deadline=time.monotonic() + seconds)


def assert_same(found: RankedList, expected: RankedList) -> None:
    assert found.rows.tolist() == expected.rows.tolist()
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    np.testing.assert_allclose(found.interest, expected.interest, atol=1e-5)
    assert found.sources.tolist() == expected.sources.tolist()


async def test_when_all_is_well_every_shopper_gets_the_list_of_ordering(world: World) -> None:
    for user_id in list(world.rows)[1:]:
        trace = a_trace()
        found = await world.pipeline.recommended_for_you(user_id, trace)
        assert_same(found, world.recommended(user_id, TOWER))
        assert trace.degradations == set()
        assert set(trace.timings_ms) == {"features", "interest", "retrieval", "ranking"}


async def test_a_shopper_without_history_asks_neither_tower_nor_index(world: World) -> None:
    trace = a_trace()
    found = await world.pipeline.recommended_for_you("user-0", trace)
    assert_same(found, world.recommended("user-0", world.fallback("user-0")))
    assert (world.scorer.allowed_seconds, world.retriever.allowed_seconds) == (None, None)
    assert trace.degradations == set()
    assert set(trace.timings_ms) == {"features", "ranking"}


@pytest.mark.parametrize("user_id", ["nobody", ""])
async def test_an_unknown_shopper_gets_the_popular_list_and_nothing_is_degraded(world: World, user_id: str) -> None:
    trace = a_trace()
    found = await world.pipeline.recommended_for_you(user_id, trace)
    assert_same(found, popular(world.release.model, LIMITS.total))
    assert trace.degradations == set()
    assert ("features" in trace.timings_ms) == bool(user_id)


async def test_excluded_rows_are_in_no_list(world: World) -> None:
    out = world.release.model.popular_rows[::2]
    for user_id in world.rows:
        found = await world.pipeline.recommended_for_you(user_id, a_trace(), out)
        interest = TOWER if world.shopper(user_id).history_rows.size else world.fallback(user_id)
        assert_same(found, world.recommended(user_id, interest, out))
        assert not set((await world.pipeline.buy_it_again(user_id, a_trace(), out)).rows) & set(out)
    for found in (
        await world.pipeline.recommended_for_you("nobody", a_trace(), out),
        world.pipeline.best_sellers(40, a_trace(), out),
    ):
        assert_same(found, popular(world.release.model, LIMITS.total, out))


# the ladder


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
        trace, shopper = a_trace(), world.shopper(user_id)
        found = await world.pipeline.recommended_for_you(user_id, trace)
        candidates = gather(world.release.model, shopper, NO_ROWS, LIMITS)
        assert_same(found, rank(world.release.model, world.release.ranker, shopper, candidates, TOWER, NOW_US))
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
    assert_same(found, rank(model, world.release.ranker, nobody, candidates, nothing, NOW_US))
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
    trace, shopper = a_trace(), world.shopper("user-1")
    found = await world.pipeline.recommended_for_you("user-1", trace)
    candidates = gather(world.release.model, shopper, NO_ROWS, LIMITS)
    interest = world.fallback("user-1")
    assert_same(found, rank(world.release.model, world.release.ranker, shopper, candidates, interest, NOW_US))
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
    assert pipeline.similar_items(model.popular_rows[:1], 5, a_trace()).rows.size == 5


# the other placements


async def test_buy_it_again_is_what_the_shopper_had(world: World) -> None:
    model, ranker = world.release.model, world.release.ranker
    for user_id in list(world.rows)[1:]:
        found = await world.pipeline.buy_it_again(user_id, a_trace())
        assert_same(found, buy_again(model, ranker, world.shopper(user_id), TOWER, NOW_US))


async def test_given_items_are_ranked_once_each_for_the_shopper(world: World) -> None:
    rows = np.array([5, 9, 5, 30, 0], np.int32)
    model, ranker = world.release.model, world.release.ranker
    found = await world.pipeline.rank("user-2", rows, a_trace())
    assert_same(found, rank(model, ranker, world.shopper("user-2"), requested(rows), TOWER, NOW_US))
    assert sorted(found.rows) == [0, 5, 9, 30]
    assert set(found.sources) == {Source.REQUEST}


async def test_similar_items_are_those_of_ordering_or_the_popular_ones_without_a_context(world: World) -> None:
    model, context = world.release.model, np.array([3, 8], np.int32)
    assert_same(world.pipeline.similar_items(context, 7, a_trace()), similar(model, context, 7))
    assert_same(world.pipeline.similar_items(NO_ROWS, 7, a_trace()), popular(model, 7))


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


def test_degradations_have_the_names_and_numbers_of_the_api() -> None:
    names = {f"DEGRADATION_{step.name}": int(step) for step in Degradation}
    assert names | {"DEGRADATION_UNSPECIFIED": 0} == dict(messages.Degradation.items())
