"""Freshness goes on being asked for, whatever the answer was."""

import asyncio
from contextlib import suppress
from unittest.mock import AsyncMock

import pytest

from services.common.streams import Unavailable
from services.ranking import live_freshness
from services.ranking.live_freshness import Freshness


@pytest.mark.parametrize("failure", [Unavailable("away"), RuntimeError("dictionary changed size during iteration")])
async def test_after_a_failure_of_whatever_kind_what_is_late_is_said(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_freshness, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(live_freshness, "lags", AsyncMock(side_effect=[failure, [0.0], *[[99.0]] * 10_000]))
    client = AsyncMock()
    client.hexists.return_value = True
    freshness = Freshness(client, 1, stale_after_seconds=1.0)
    following = asyncio.create_task(freshness.follow())
    async with asyncio.timeout(20.0):
        while not freshness.is_stale("anybody"):
            assert not following.done()
            await asyncio.sleep(0)
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
