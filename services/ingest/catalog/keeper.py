"""What only one ingest process does for the catalogue: the one that holds the lease.

Choices:
- It encodes what lacks a vector, folds what a new bundle represents, forgets the vectors of bundles that are past, and
  writes the file that the next training reads.
- All of it may be done twice without harm, so that a lease that two believe to hold, for a moment, is no disaster.
- A bundle is folded a while after it was promoted: until then a ranking process may still serve the one before.
"""

import asyncio
import logging
import math
import secrets
import time
from contextlib import suppress
from pathlib import Path

from features.live_data import write_catalogue
from services.common.streams import Unavailable
from services.ingest.catalog.encoder import Encoder
from services.ingest.catalog.folding import Folding
from services.ingest.catalog.serving import Serving
from services.ingest.catalog.store import CatalogueStore

logger = logging.getLogger(__name__)

_LEASE_MS = 10_000
_LOOK_SECONDS = 0.5
"""How often it is looked whether there is something to do when nothing changes."""
FOLD_SECONDS = 60.0
"""How long after a promotion a bundle is folded."""
FILE_SECONDS = 2.0
"""At least so long between two writings of the file."""


class Keeper:
    """Does the work, if it is its turn."""

    def __init__(
        self,
        serving: Serving,
        store: CatalogueStore,
        encoder: Encoder,
        live: Path,
        fold_seconds: float = FOLD_SECONDS,
        file_seconds: float = FILE_SECONDS,
    ) -> None:
        """Args: live: folder of `catalogue.parquet`; fold_seconds, file_seconds: see FOLD_SECONDS and FILE_SECONDS."""
        self._serving, self._store, self._encoder, self._live = serving, store, encoder, live
        self._folding = Folding(serving, store)
        self._fold_seconds, self._file_seconds = fold_seconds, file_seconds
        self._token = secrets.token_hex(16)
        self._version = ""
        """The bundle that the folded items were last compared with; empty without the lease."""
        self._fold_at, self._file_at = math.inf, 0.0
        self._is_dirty = True

    async def keep(self) -> None:
        """Do what there is to do, until cancelled."""
        while True:
            has_worked = False
            try:
                has_worked = await self._turn()
            except Unavailable:
                self._version = ""  # `Serving.follow` has said so
            except Exception:
                logger.exception("the catalogue's keeper goes on after an error")
            if not has_worked:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):  # `wait_for` may swallow being cancelled
                        await self._serving.changed.wait()
            self._is_dirty |= self._serving.changed.is_set()
            self._serving.changed.clear()

    async def leave(self) -> None:
        """Write what is not in the file yet and let another process have its turn; harmless without the lease."""
        if not self._version:
            return
        try:
            await self._serving.step(wait_ms=1)
            await self._write_file()
            await self._store.release_lease(self._token)
        except Unavailable as error:
            logger.warning("the catalogue's file may lack the last changes", extra={"reason": str(error)})

    async def _turn(self) -> bool:
        """Whether there may be more to do at once."""
        if not await self._store.hold_lease(self._token, _LEASE_MS):
            self._version, self._is_dirty = "", True
            return False
        if not self._serving.is_whole:
            return False
        if self._version != self._serving.current.version:
            await self._folding.unfold()
            self._version = self._serving.current.version
            self._fold_at = time.monotonic() + self._fold_seconds
        has_worked = await self._encoder.encode()
        if time.monotonic() >= self._fold_at:
            await self._fold()
        if self._is_dirty and time.monotonic() >= self._file_at:
            await self._write_file()
        return has_worked

    async def _fold(self) -> None:
        await self._folding.fold()
        self._fold_at = math.inf
        if len(versions := self._serving.versions) > 1:  # the first bundle of a process says nothing of the one before
            gone = await self._store.keep_vectors(versions)
            logger.info("forgot the vectors of %s", ", ".join(gone) or "no bundle")

    async def _write_file(self) -> None:
        self._file_at = time.monotonic() + self._file_seconds
        table = self._folding.table()
        self._live.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(write_catalogue, self._live, table)
        self._is_dirty = False  # what changed meanwhile is in `changed`
