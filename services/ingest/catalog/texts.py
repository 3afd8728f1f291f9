"""Text vectors of items, for one bundle or another on the same server.

Knows nothing of how items are stored.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from features.live_items import LiveItem
from services.common.scorer import Scorer, ScorerUnavailable
from services.common.towers import FloatArray
from services.ingest.catalog.bundle_items import text_of

ScorerOf = Callable[[str], Scorer]
"""Version of a bundle → its towers."""


class TextVectors:
    """The text towers of several bundles."""

    def __init__(self, scorer_of: ScorerOf, observe: Callable[[float], None]) -> None:
        """Args: observe: told the seconds of every attempt."""
        self._scorer_of = scorer_of
        self._observe = observe

    async def of(self, items: Sequence[LiveItem], version: str, timeout_seconds: float) -> FloatArray:
        """Vectors of items by the text tower of a bundle, float32 [B, 128].

        Raises:
            ScorerUnavailable: no answer in time, or none at all.
        """
        started = time.perf_counter()
        texts = [text_of(item) for item in items]
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._scorer_of(version).text_vectors(texts, timeout_seconds)
        except TimeoutError:
            raise ScorerUnavailable("deadline_exceeded") from None
        finally:
            self._observe(time.perf_counter() - started)

    async def are_ready(self, version: str) -> bool:
        """Whether the towers of a bundle answer."""
        return await self._scorer_of(version).ready()
