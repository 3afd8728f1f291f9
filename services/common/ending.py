"""Ends tasks that speak to Valkey."""

import asyncio
from collections.abc import Iterable

_CANCEL_SECONDS = 1.0
"""How long a task may take to notice that it is to end."""


async def ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended: the client of Valkey swallows a cancellation that meets an answer, and who
    cancels but once may wait for ever. What a task raises stays with it."""
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_CANCEL_SECONDS)
