"""Follows the pointer `bundles/serving`, so that a running process comes to serve what it names.

Choices: the pointer is looked at every so often, one `stat` each time: it is moved by a rename, of which file systems
shared between machines send no word. What cannot be served is said once in the log, and tried again now and then, while
the process goes on with what it has: a bad promotion must not take a service down. Knows nothing of what is done with a
bundle.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from features.bundle import BundleError, serving_path

logger = logging.getLogger(__name__)

Serve = Callable[[Path], Awaitable[None]]
"""Makes a process serve the bundle in a directory; what it raises leaves the process as it was."""

RETRY_SECONDS = 30.0
"""After how long a bundle that could not be served is tried again: a copy may have been under way."""


class Pointer:
    """The file `serving` in the folder of all bundles."""

    def __init__(self, bundles: Path) -> None:
        """Not looked at yet: at first it counts as moved."""
        self._bundles = bundles
        self._seen: object = None

    def has_moved(self) -> bool:
        """Whether it was written since `target` was asked last, with whatever words."""
        return self._stamp() != self._seen

    def target(self) -> Path:
        """The directory that it names.

        Raises:
            BundleError: there is no pointer, or it names no directory.
        """
        self._seen = self._stamp()  # first: what moves while it is read has moved since
        return serving_path(self._bundles)

    def _stamp(self) -> tuple[int, ...]:
        try:
            status = (self._bundles / "serving").stat()
        except OSError:
            return ()
        return status.st_ino, status.st_mtime_ns


@asynccontextmanager
async def following(pointer: Pointer, serve: Serve, poll_seconds: float) -> AsyncIterator[None]:
    """`follow` beside the `async with` block."""
    task = asyncio.create_task(follow(pointer, serve, poll_seconds))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def follow(pointer: Pointer, serve: Serve, poll_seconds: float) -> None:
    """Call `serve` with what the pointer names, now and at every move, one after another, until cancelled."""
    said, retry_at = "", math.inf
    while True:
        if pointer.has_moved() or time.monotonic() >= retry_at:
            retry_at = math.inf
            try:
                await serve(pointer.target())
                said = ""
            except Exception as error:
                retry_at = time.monotonic() + RETRY_SECONDS
                if (words := repr(error)) != said:
                    said = words
                    unforeseen = not isinstance(error, BundleError)
                    logger.error("kept what was served before", exc_info=unforeseen, extra={"reason": str(error)})
        await asyncio.sleep(poll_seconds)
