"""A pipeline over the tiny shop whose back ends fail on demand, and what ordering alone would give."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.clock import Clock, to_us
from features.encode import Shopper, resolve
from features.vectors import every_vector
from features.vocab import Rows
from services.common.towers import FloatArray, IntArray
from services.ranking.ordering import (
    NO_ROWS,
    Candidates,
    Interest,
    Mask,
    RankedList,
    fallback_interest,
    mask_without,
    rank,
    recommend,
)
from services.ranking.pipeline import Pipeline
from services.ranking.release import Release
from services.ranking.trace import Budgets, Trace
from tests.fakes import FakeRetriever, FakeScorer, FakeUsers
from tests.tiny_shop import AS_OF, LIMITS, TinyShop, gathered, shoppers

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

    async def nearest(self, interest_vectors: FloatArray, count: int, allowed: Mask, timeout_seconds: float) -> Rows:
        self.allowed_seconds = timeout_seconds
        return await super().nearest(interest_vectors, count, allowed, timeout_seconds)


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
        allowed = mask_without(None, excluded, release.model.item_count)
        return recommend(release.model, release.rankers.all_items, shopper, interest, LIMITS, NOW_US, allowed)

    def ranked(self, shopper: Shopper, candidates: Candidates, interest: Interest) -> RankedList:
        """These candidates as ordering alone ranks them."""
        model, ranker = self.release.model, self.release.rankers.all_items
        return rank(model, ranker, shopper, candidates, interest, model.item_to_item.ask(shopper), NOW_US)

    def without_index(self, user_id: str, interest: Interest) -> RankedList:
        """What ordering alone gives when nothing is near."""
        model, shopper = self.release.model, self.shopper(user_id)
        together = model.item_to_item.ask(shopper)
        return self.ranked(shopper, gathered(model, shopper, together, NO_ROWS, LIMITS), interest)


def a_trace(seconds: float = 60.0) -> Trace:
    return Trace(deadline=time.monotonic() + seconds)


def assert_same(found: RankedList, expected: RankedList) -> None:
    assert found.rows.tolist() == expected.rows.tolist()
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    np.testing.assert_allclose(found.interest, expected.interest, atol=1e-5)
    assert found.sources.tolist() == expected.sources.tolist()


def a_world(shop: TinyShop, release: Release) -> World:
    """All is well, and twelve shoppers are known."""
    frame = shoppers(shop.items, 12, np.random.default_rng(3))
    rows = {row["user_id"]: row for row in frame.iter_rows(named=True)}
    users = FakeUsers(rows)
    scorer = TimedScorer.of_arrays(INTERESTS, INTERESTS[0])
    retriever = TimedRetriever(every_vector(release.model.vectors))
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
