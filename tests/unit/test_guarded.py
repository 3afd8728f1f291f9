"""Back ends behind breakers: what a failing one costs, and that the pipeline hears its own errors."""

# ruff: noqa: ARG002 - a back end that looks at nothing it is asked

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from features.encode import Floats
from features.store import StoreUnavailable
from features.vocab import NO_ROWS, Rows
from services.common.breaker import Breaker
from services.common.scorer import ScorerUnavailable
from services.common.towers import FloatArray, IntArray
from services.ranking.guarded import GuardedRetriever, GuardedScorer, GuardedUsers
from services.ranking.ordering import Mask
from services.ranking.retriever import RetrieverUnavailable

VECTORS = np.ones((1, 128), dtype=np.float32)
NUMBERS = np.ones(1, dtype=np.int64)
ALL = np.ones(3, dtype=np.bool_)


class BackEnds:
    """Users, scorer and retriever in one, which fail while `down`."""

    def __init__(self) -> None:
        self.down = True
        self.asked = 0

    def _answer(self, error: Exception) -> None:
        self.asked += 1
        if self.down:
            raise error

    async def read(self, user_id: str) -> Mapping[str, Any] | None:
        self._answer(StoreUnavailable("down"))
        return {"user_id": user_id}

    async def interest_vectors(
        self, history_vectors: FloatArray, event_types: IntArray, ages_days: FloatArray, timeout_seconds: float
    ) -> FloatArray:
        self._answer(ScorerUnavailable("unavailable"))
        return history_vectors

    async def text_vectors(self, texts: list[str], timeout_seconds: float) -> FloatArray:
        self._answer(ScorerUnavailable("unavailable"))
        return VECTORS

    async def ready(self, timeout_seconds: float = 1.0) -> bool:
        return not self.down

    async def nearest(self, interest_vectors: Floats, count: int, allowed: Mask, timeout_seconds: float) -> Rows:
        self._answer(RetrieverUnavailable("down"))
        return NO_ROWS


@pytest.fixture
def back_ends() -> BackEnds:
    return BackEnds()


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(failures_max=2, pause_seconds=0.0)


def never_half_open() -> Breaker:
    return Breaker(failures_max=2, pause_seconds=1e9)


async def test_users_are_not_asked_while_the_breaker_is_open(back_ends: BackEnds) -> None:
    users = GuardedUsers(back_ends, never_half_open())
    for _ in range(5):
        with pytest.raises(StoreUnavailable):
            await users.read("7")
    assert back_ends.asked == 2


async def test_the_scorer_is_not_asked_while_the_breaker_is_open(back_ends: BackEnds) -> None:
    scorer = GuardedScorer(back_ends, never_half_open())
    for _ in range(3):
        with pytest.raises(ScorerUnavailable):
            await scorer.interest_vectors(VECTORS, NUMBERS, NUMBERS.astype(np.float32), 1.0)
    with pytest.raises(ScorerUnavailable, match="breaker_open"):
        await scorer.text_vectors(["tea"], 1.0)
    assert back_ends.asked == 2
    assert not await scorer.ready()


async def test_the_retriever_is_not_asked_while_the_breaker_is_open(back_ends: BackEnds) -> None:
    retriever = GuardedRetriever(back_ends, never_half_open())
    for _ in range(5):
        with pytest.raises(RetrieverUnavailable):
            await retriever.nearest(VECTORS, 3, ALL, 1.0)
    assert back_ends.asked == 2


async def test_answers_pass_again_once_a_probe_has_had_one(back_ends: BackEnds, breaker: Breaker) -> None:
    users, scorer, retriever = (
        GuardedUsers(back_ends, breaker),
        GuardedScorer(back_ends, breaker),
        GuardedRetriever(back_ends, breaker),
    )
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await users.read("7")
    back_ends.down = False
    assert await users.read("7") == {"user_id": "7"}
    assert (await scorer.interest_vectors(VECTORS, NUMBERS, NUMBERS.astype(np.float32), 1.0) == VECTORS).all()
    assert (await scorer.text_vectors(["tea"], 1.0) == VECTORS).all()
    assert not (await retriever.nearest(VECTORS, 3, ALL, 1.0)).size
    assert await scorer.ready()
