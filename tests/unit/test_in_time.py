"""Questions that are asked for a limited time."""

import asyncio
import gc

import pytest

from features.store.in_time import InTime


class Server:
    """Answers, or fails, when told to."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self.cancelled = 0
        self.ended = 0

    async def answer(self) -> str:
        try:
            await self.told.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.ended += 1
        raise ConnectionError("the server is dead")


async def test_an_answer_or_an_error_in_time_is_the_callers() -> None:
    async def greet() -> str:
        return "good day"

    in_time, server = InTime(10.0), Server()
    server.told.set()
    assert await in_time.ask(greet()) == "good day"
    with pytest.raises(ConnectionError):
        await in_time.ask(server.answer())


async def test_one_late_question_runs_on_and_its_error_is_nobodys() -> None:
    loop, complaints = asyncio.get_running_loop(), []
    in_time, server = InTime(0.0), Server()
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    for _ in range(3):
        with pytest.raises(TimeoutError, match=r"no answer within 0\.0 s"):
            await in_time.ask(server.answer())
    server.told.set()
    while server.ended < 3:
        await asyncio.sleep(0)
    assert server.cancelled == 2
    next_server = Server()
    with pytest.raises(TimeoutError):
        await in_time.ask(next_server.answer())
    gc.collect()
    loop.set_exception_handler(None)
    assert [each for each in complaints if "server is dead" in str(each.get("exception"))] == []
    assert next_server.cancelled == 0
    await in_time.close()


async def test_a_caller_that_goes_away_leaves_its_question_running() -> None:
    in_time, server = InTime(10.0), Server()
    caller = asyncio.create_task(in_time.ask(server.answer()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert server.cancelled == 0
    await in_time.close()
    assert server.cancelled == 1


async def test_closing_waits_for_the_end() -> None:
    in_time, server = InTime(0.0), Server()
    await in_time.close()  # nothing runs
    with pytest.raises(TimeoutError):
        await in_time.ask(server.answer())
    await in_time.close()
    assert server.ended == 1
