"""A page's several lists ask for their shopper once, and all of them learn of it if nobody answered."""

import asyncio

import numpy as np
import pytest

from features.store import StoreUnavailable
from services.common.scorer import ScorerUnavailable
from services.ranking.once import ScorerOnce, UsersOnce
from tests.fakes import FakeScorer, FakeUsers

HISTORY = (np.ones((2, 128), np.float32), np.ones(2, np.int64), np.zeros(2, np.float32))


async def test_a_row_is_read_once() -> None:
    inside = FakeUsers({"user-1": {"event_count": 3}})
    users = UsersOnce(inside)
    first = await users.read("user-1")
    inside.failure = StoreUnavailable("gone since")
    assert await users.read("user-1") is first
    assert first == {"event_count": 3}


async def test_an_unknown_shopper_is_asked_for_once() -> None:
    inside = FakeUsers({})
    users = UsersOnce(inside)
    assert await users.read("nobody") is None
    inside.failure = StoreUnavailable("gone since")
    assert await users.read("nobody") is None


async def test_a_store_that_failed_or_was_given_up_is_not_asked_again() -> None:
    inside = FakeUsers({"user-1": {}})
    inside.failure = StoreUnavailable("gone")
    users = UsersOnce(inside)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await users.read("user-1")
        inside.failure = None
    hanging = FakeUsers({"user-1": {}})
    hanging.hangs = True
    users = UsersOnce(hanging)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await users.read("user-1")
    hanging.hangs = False
    with pytest.raises(StoreUnavailable):
        await users.read("user-1")


async def test_interests_are_asked_for_once_and_so_is_their_absence() -> None:
    answer = np.ones((1, 128), np.float32)
    for failure in (None, ScorerUnavailable("unavailable")):
        inside = FakeScorer.of_arrays(answer, answer[0])
        scorer = ScorerOnce(inside)
        for later in (failure, None if failure else ScorerUnavailable("unavailable")):
            inside.failure = later
            if failure is None:
                assert await scorer.interest_vectors(*HISTORY, 1.0) is answer
            else:
                with pytest.raises(ScorerUnavailable):
                    await scorer.interest_vectors(*HISTORY, 1.0)
        inside.failure = None
        assert await scorer.ready()
        assert (await scorer.text_vectors(["oat milk"], 1.0)).shape == (1, 128)


async def test_a_visitors_row_stands_in_where_the_shopper_has_none() -> None:
    rows = {"user-1": {"event_count": 3}, "cookie": {"event_count": 7}}
    for user_id, visitor_id, expected in (
        ("user-1", "cookie", 3),
        ("nobody", "cookie", 7),
        ("cookie", "cookie", 7),
        ("user-1", "", 3),
    ):
        assert await UsersOnce(FakeUsers(rows), visitor_id).read(user_id) == {"event_count": expected}
    assert await UsersOnce(FakeUsers(rows), "gone").read("nobody") is None
