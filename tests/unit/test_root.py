"""How a start waits for what is behind the service."""

import asyncio
import logging

import numpy as np
import pytest

from features.store import StoreUnavailable
from services.common.scorer import ScorerUnavailable
from services.ranking.root import wait_for_back_ends
from tests.fakes import FakeScorer, FakeUsers

PATIENCE_SECONDS = 30.0


@pytest.fixture
def users() -> FakeUsers:
    return FakeUsers({})


@pytest.fixture
def scorer() -> FakeScorer:
    return FakeScorer.of_arrays(np.ones((2, 128), np.float32), np.ones(128, np.float32))


async def test_a_start_does_not_wait_when_both_answer(
    users: FakeUsers, scorer: FakeScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ranking.root._PROBE_SECONDS", 10 * PATIENCE_SECONDS)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await wait_for_back_ends(users, scorer, PATIENCE_SECONDS)


async def test_a_start_waits_until_both_answer(users: FakeUsers, scorer: FakeScorer) -> None:
    users.failure, scorer.failure = StoreUnavailable("loading"), ScorerUnavailable("unavailable")
    waiting = asyncio.create_task(wait_for_back_ends(users, scorer, PATIENCE_SECONDS))
    for recovered in (users, scorer):
        done, _ = await asyncio.wait({waiting}, timeout=0.25)
        assert not done
        recovered.failure = None
    assert await waiting


@pytest.mark.parametrize("missing", ["store", "triton"])
async def test_a_start_goes_on_without_the_one_that_does_not_answer_and_says_which(
    users: FakeUsers, scorer: FakeScorer, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    if missing == "store":
        users.failure = StoreUnavailable("gone")
    else:
        scorer.failure = ScorerUnavailable("unavailable")
    with caplog.at_level(logging.WARNING):
        assert not await wait_for_back_ends(users, scorer, timeout_seconds=0.0)
    (record,) = caplog.records
    ready = {"store": vars(record)["store_ready"], "triton": vars(record)["triton_ready"]}
    assert [name for name, is_ready in ready.items() if not is_ready] == [missing]
