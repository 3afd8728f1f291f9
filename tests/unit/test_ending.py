"""Tasks end, also where a cancellation is swallowed."""

import asyncio

import pytest

from services.common.ending import ended


async def deaf(times: int) -> None:
    """Swallows so many cancellations."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            times -= 1
            if times < 0:
                raise


@pytest.mark.parametrize("times", [0, 1, 2])
async def test_a_task_that_swallows_cancellations_ends(times: int) -> None:
    tasks = [asyncio.create_task(deaf(times)), asyncio.create_task(deaf(0))]
    await asyncio.sleep(0)
    await asyncio.wait_for(ended(tasks), 5.0)
    assert all(task.cancelled() for task in tasks)


async def test_what_a_task_raised_stays_with_it() -> None:
    async def broken() -> None:
        raise ValueError("broken")

    task = asyncio.create_task(broken())
    await asyncio.wait([task])
    await ended([task])
    assert isinstance(task.exception(), ValueError)
