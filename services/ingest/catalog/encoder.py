"""Gives vectors to the live items that lack one: those that came in while Triton was away, and all of them after a
promotion.

Choices: the bundle that serves first, then the one before it. One portion after another, so that requests, who ask the
same towers, are not held up. A vector whose item has changed meanwhile is not stored; the change brings the item back.
"""

import logging
from itertools import islice

from services.common.scorer import ScorerUnavailable
from services.common.towers import MAX_BATCH_SIZE
from services.ingest.catalog.serving import Serving
from services.ingest.catalog.store import CatalogueStore
from services.ingest.catalog.texts import TextVectors

logger = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 5.0


class Encoder:
    """Encodes what lacks a vector."""

    def __init__(self, serving: Serving, store: CatalogueStore, texts: TextVectors) -> None:
        """Args: serving: says what lacks one; store: where it is kept; texts: whose towers make it."""
        self._serving = serving
        self._store = store
        self._texts = texts
        self._said: dict[str, str] = {}

    async def encode(self) -> bool:
        """Encode a portion; returns whether there was anything that could be.

        Raises:
            Unavailable: Valkey does not answer.
        """
        for version in self._serving.versions:
            items = list(islice(self._serving.lacking(version).values(), MAX_BATCH_SIZE))
            if not items:
                continue
            try:
                vectors = await self._texts.of(items, version, _TIMEOUT_SECONDS)
            except ScorerUnavailable as error:
                self._say(version, error.reason)
                continue
            self._say(version, "")
            await self._store.write_vectors(version, items, vectors)
            self._serving.settle(version, items)
            return True
        return False

    def _say(self, version: str, reason: str) -> None:
        if reason and self._said.get(version) != reason:
            logger.warning("items wait for their vectors", extra={"version": version, "reason": reason})
        self._said[version] = reason
