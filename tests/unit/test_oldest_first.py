"""The lock: one holder, the oldest next, nothing lost where somebody leaves."""

import asyncio

import pytest

from services.common.oldest_first import OldestFirst


async def waiting(lock: OldestFirst, *ages: float) -> tuple[list[asyncio.Task[None]], list[float]]:
    """Tasks that wait for the lock in this order, and who has had it so far."""
    had: list[float] = []

    async def take(since: float) -> None:
        await lock.acquire(since)
        had.append(since)
        lock.release()

    tasks = [asyncio.create_task(take(since)) for since in ages]
    await asyncio.sleep(0)
    return tasks, had


async def test_the_oldest_comes_first_whoever_asked_first() -> None:
    lock = OldestFirst()
    await lock.acquire(0.0)
    tasks, had = await waiting(lock, 3.0, 1.0, 2.0, 1.0)
    assert had == []
    lock.release()
    await asyncio.gather(*tasks)
    assert had == [1.0, 1.0, 2.0, 3.0]


async def test_a_free_lock_is_had_at_once() -> None:
    lock = OldestFirst()
    for _ in range(3):
        await asyncio.wait_for(lock.acquire(5.0), 1.0)
        lock.release()


async def test_one_who_leaves_is_passed_over() -> None:
    lock = OldestFirst()
    await lock.acquire(0.0)
    tasks, had = await waiting(lock, 1.0, 2.0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    lock.release()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert had == [2.0]


async def test_one_who_leaves_just_as_it_is_given_passes_it_on() -> None:
    lock = OldestFirst()
    await lock.acquire(0.0)
    tasks, had = await waiting(lock, 1.0, 2.0)
    lock.release()
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    await tasks[1]
    assert had == [2.0]
    await asyncio.wait_for(lock.acquire(3.0), 1.0)
