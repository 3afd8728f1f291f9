"""What "now" is by the bundle that serves; one that the pointer comes to name replaces the one before.

Knows nothing of items (catalog/bundle_items.py).
"""

import asyncio
import logging
from pathlib import Path
from typing import NamedTuple

from features.bundle import open_bundle, serving_path
from features.clock import Clock, ClockMode, open_clock

logger = logging.getLogger(__name__)


class _Present(NamedTuple):
    version: str
    clock: Clock


class ServedBundle:
    """The clock of the bundle that serves now."""

    def __init__(self, bundles: Path, clock: ClockMode) -> None:
        """Reads the bundle that the pointer names.

        Raises:
            BundleError: there is no such bundle, or a file of it is damaged.
        """
        self._mode: ClockMode = clock
        self._present = _read(serving_path(bundles), clock)

    async def switch_to(self, root: Path) -> None:
        """Go over to the bundle in a directory. Errors as at first."""
        if root.name == self._present.version:
            return
        present = await asyncio.to_thread(_read, root, self._mode)
        logger.info("switched", extra={"from": self._present.version, "to": present.version})
        self._present = present

    def now_us(self) -> int:
        """The serving clock, microseconds since 1970."""
        return self._present.clock.now_us()


def _read(root: Path, mode: ClockMode) -> _Present:
    bundle = open_bundle(root)
    return _Present(bundle.version, open_clock(mode, bundle.as_of))
