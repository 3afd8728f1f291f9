"""How another release takes the place of the one that serves, while it serves.

Choices:
- A release is loaded in a thread, its ranker's code made by a child process (compiling), waits until what is behind it
  is ready for it, and is warmed up; the switch itself is one assignment. A request keeps the pipeline that it began
  with, so no reply mixes two.
- It waits as long as the switch would take something away: Triton without the new towers, a retrieval service without
  the new index. What the old release lacks just as well is an outage, which is not waited for.
- Whatever goes wrong before the switch leaves the old release in place.
- What has happened to items since a bundle was made is added to its own release before it serves, and again whenever
  more has happened (live).

Knows nothing of how a pipeline is put together.
"""

import asyncio
import ctypes
import gc
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from features.bundle import RANKER, open_bundle
from services.common.pointer import Pointer
from services.common.towers import VECTOR_WIDTH
from services.ranking.answers import House
from services.ranking.compiling import compiled_aside
from services.ranking.pipeline import Pipeline
from services.ranking.release import Release, load_release
from services.ranking.retriever import RetrieverUnavailable
from services.ranking.warming import warm_up

logger = logging.getLogger(__name__)

_PROBE_SECONDS = 0.2
"""How often it is asked whether what is behind a release is ready."""
_ANSWER_SECONDS = 1.0
"""How long the answer to that may take."""
_OUTAGE_SECONDS = 5.0
"""What both releases lack for so long is an outage and not a blink."""
_PATIENT_SECONDS = 60.0
"""What others load for a switch is loaded after that, or will not be for long."""
_LAST_REQUESTS_SECONDS = 1.0
"""Longer than requests on the old release should take; then its memory is given back."""

Extend = Callable[[Release], Awaitable[Release]]
"""A bundle's own release → what is to be served of it."""


async def as_it_is(release: Release) -> Release:
    """Nothing has happened since the bundle was made."""
    return release


class Serving:
    """The pipeline that serves now."""

    def __init__(
        self,
        bare: Pipeline,
        assemble: Callable[[Release], Pipeline],
        guard: Callable[[Pipeline], Pipeline],
        house: House,
        pointer: Pointer,
        extend: Extend = as_it_is,
    ) -> None:
        """Serve one pipeline until another takes its place.

        Args:
            bare: The first, over a bundle's own release.
            assemble: Makes one over another release.
            guard: Puts it behind the breakers that all of them share. What a release asks before it serves goes past
                them: that its towers are not there yet is no outage.
            house: What lists are like where a request does not say.
            pointer: A switch that is not done when this moves on is given up.
            extend: What a bundle's own release is with what has happened since.
        """
        self._own = bare.release
        self._bare = bare
        self._pipeline = guard(bare)
        self._guard = guard
        self._assemble = assemble
        self._house = house
        self._pointer = pointer
        self._extend = extend
        self._refreshing = asyncio.Lock()

    def __call__(self) -> Pipeline:
        """Taken once per request."""
        return self._pipeline

    async def switch_to(self, root: Path) -> None:
        """Serve the bundle in a directory, or go on as before if the pointer moves before that is possible.

        Raises:
            BundleError: the bundle is damaged or does not fit this code.
            Exception: what it met when it was warmed up.
        """
        if root.name != self._pipeline.release.version:
            await self._switch(root)

    async def refresh(self) -> None:
        """Serve the same bundle with what has happened by now."""
        async with self._refreshing:
            own = self._own
            bare = self._assemble(await self._extend(own))
            if own is self._own:
                self._serve(own, bare)

    def _serve(self, own: Release, bare: Pipeline) -> None:
        self._own, self._bare, self._pipeline = own, bare, self._guard(bare)

    async def _switch(self, root: Path) -> None:
        started, turns = time.monotonic(), self._bare.turns
        with ExitStack() as patience:
            patience.enter_context(turns.patience())
            own = await _loaded(root)
            pipeline = self._assemble(await self._extend(own))
            loaded = time.monotonic()
            if not await self._back_ends_ready(pipeline, patience):
                return
        ready = time.monotonic()
        with turns.patience():
            await warm_up(pipeline, self._house)
            self._take_over(own, pipeline, started, loaded, ready)
            del pipeline  # or it would stay when a refreshed one serves
            await self.refresh()  # with what has happened while it was made ready
            await asyncio.sleep(_LAST_REQUESTS_SECONDS)
            await asyncio.to_thread(give_back_memory)

    def _take_over(self, own: Release, pipeline: Pipeline, started: float, loaded: float, ready: float) -> None:
        versions = {"from": self._pipeline.release.version, "to": pipeline.release.version}
        self._serve(own, pipeline)
        now = time.monotonic()
        times = {
            "loading": loaded - started,
            "waiting": ready - loaded,
            "warming": now - ready,
            "seconds": now - started,
        }
        logger.info("switched", extra=versions | {name: round(seconds, 2) for name, seconds in times.items()})

    async def _back_ends_ready(self, pipeline: Pipeline, patience: ExitStack) -> bool:
        """Wait until the switch takes nothing away; False if the pointer moved first.

        What others load for the same switch makes calls slower, too, where they share a machine; a wait that is longer
        than that ends the patience.
        """
        began, outage_since, said = time.monotonic(), None, False
        while not self._pointer.has_moved():
            lacks = await _lacks(pipeline)
            if not lacks:
                return True
            if not lacks <= await _lacks(self._bare):
                outage_since = None
            elif outage_since is None:
                outage_since = time.monotonic()
            elif time.monotonic() - outage_since > _OUTAGE_SECONDS:
                return True
            if not said:
                logger.info("waiting", extra={"version": pipeline.release.version, "lacks": sorted(lacks)})
                said = True
            if time.monotonic() - began > _PATIENT_SECONDS:
                patience.close()
            await asyncio.sleep(_PROBE_SECONDS)
        return False


async def _loaded(root: Path) -> Release:
    bundle = await asyncio.to_thread(open_bundle, root)  # before anything of it is compiled
    async with compiled_aside(root / RANKER) as code:
        return await asyncio.to_thread(load_release, bundle, lambda: code)


async def _lacks(pipeline: Pipeline) -> set[str]:
    """What is not ready for this pipeline's release."""
    lacks = set()
    if not await pipeline.scorer.ready(timeout_seconds=_ANSWER_SECONDS):
        lacks.add("towers")
    allowed = np.zeros(pipeline.release.model.item_count, dtype=np.bool_)
    allowed[:1] = True
    try:
        await pipeline.retriever.nearest(np.ones((1, VECTOR_WIDTH), np.float32), 1, allowed, _ANSWER_SECONDS)
    except RetrieverUnavailable:
        lacks.add("index")
    return lacks


def give_back_memory() -> None:
    """Return what freed objects held to the system; glibc keeps it otherwise, more at every swap."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
