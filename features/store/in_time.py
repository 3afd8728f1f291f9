"""Answers in time or none, from a client that has to meet its own limits. Knows nothing of what is asked."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_Answer = TypeVar("_Answer")


class InTime:
    """Asks for a limited time; for one event loop.

    A cluster client asks where keys lie only when a time limit of its own has passed, or a connection broke: were every
    late question cancelled, it would ask a dead server for ever. So one late question at a time runs on; its answer is
    not used. The others are cancelled: each that runs on to its end makes the client forget its connections.
    """

    def __init__(self, seconds: float) -> None:
        """Args: seconds: Longest wait for an answer."""
        self._seconds = seconds
        self._late: asyncio.Task[Any] | None = None

    async def ask(self, question: Coroutine[Any, Any, _Answer]) -> _Answer:
        """The answer, or what the question raises.

        Raises:
            TimeoutError: there is none within the time.
        """
        task = asyncio.create_task(question)
        try:
            await asyncio.wait({task}, timeout=self._seconds)
        finally:
            if not task.done():
                self._give_up(task)
        if task.done():
            return task.result()
        raise TimeoutError(f"no answer within {self._seconds} s")

    async def close(self) -> None:
        """Cancel the question that runs on, and wait for its end."""
        if self._late is not None:
            self._late.cancel()
            await asyncio.wait({self._late})

    def _give_up(self, task: asyncio.Task[Any]) -> None:
        task.add_done_callback(_look_at)
        if self._late is None or self._late.done():
            self._late = task
        else:
            task.cancel()


def _look_at(task: asyncio.Task[Any]) -> None:
    """An error at which nobody looks would be logged as forgotten."""
    if not task.cancelled():
        task.exception()
