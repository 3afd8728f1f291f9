"""How the catalogue goes over to another bundle: when its text tower can be asked.

Choices: until Triton has the new towers, items that come in are encoded with the old ones; then the new bundle serves,
and everything that lacks a vector of it gets one (`encoder`). What the old towers lack just as well is an outage, which
is not waited for.
"""

import asyncio
import logging
import time
from pathlib import Path

from services.common.pointer import Pointer
from services.ingest.catalog.bundle_items import BundleItems
from services.ingest.catalog.serving import Serving
from services.ingest.catalog.texts import TextVectors

logger = logging.getLogger(__name__)

_PROBE_SECONDS = 0.2
OUTAGE_SECONDS = 5.0
"""What both bundles lack for so long is an outage and not a blink."""


class Switching:
    """Goes over to what the pointer names."""

    def __init__(self, serving: Serving, texts: TextVectors, pointer: Pointer) -> None:
        """Args: pointer: a switch that is not done when it moves on is given up."""
        self._serving = serving
        self._texts = texts
        self._pointer = pointer

    async def switch_to(self, root: Path) -> None:
        """Serve the bundle in a directory, or go on as before if the pointer moves before that is possible.

        Raises:
            BundleError: the bundle is damaged.
        """
        before = self._serving.current.version
        if root.name == before:
            return
        bundle = await asyncio.to_thread(BundleItems.load, root)
        if await self._towers_ready(bundle.version, before):
            self._serving.serve(bundle)
            logger.info("switched the catalogue", extra={"from": before, "to": bundle.version})

    async def _towers_ready(self, version: str, before: str) -> bool:
        outage_since = None
        while not self._pointer.has_moved():
            if await self._texts.are_ready(version):
                return True
            if await self._texts.are_ready(before):
                outage_since = None
            elif outage_since is None:
                outage_since = time.monotonic()
            elif time.monotonic() - outage_since > OUTAGE_SECONDS:
                return True
            await asyncio.sleep(_PROBE_SECONDS)
        return False
