"""Shadow scoring: a second release answers some of the requests too, for its lists to be compared and never shown.

Choices: a request is offered once its reply has been sent, waits in a short queue, and is worked on one at a time and
only while no shopper waits; where there is never such a moment it is dropped and counted. Which requests are taken
follows from the recommendation id, so that it can be recomputed from the event log. First pages of Recommend only: a
later page is the rest of a list that is already there.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Any

import grpc.aio
from aisle.v1 import recommendation_service_pb2 as messages
from prometheus_client import CollectorRegistry, Counter, Histogram

from features.bundle import BundleError, open_bundle
from services.common.telemetry import LATENCY_BUCKETS
from services.ranking.answers import House, recommend
from services.ranking.app import RecommendationServicer
from services.ranking.calls import Observer
from services.ranking.pipeline import Pipeline
from services.ranking.release import Release, load_release
from services.ranking.retriever import LocalRetriever
from services.ranking.settings import RankingSettings
from services.ranking.trace import Trace

logger = logging.getLogger(__name__)

QUEUE_LENGTH = 32
"""Requests that may wait; more than that are dropped."""
_SECONDS = 5.0
_TENTHS = tuple(tenth / 10.0 for tenth in range(11))


class Shadow:
    """The second release, what waits for it, and how its lists compare."""

    def __init__(self, pipeline: Pipeline, house: House, share: float, registry: CollectorRegistry) -> None:
        """Registers `aisle_shadow_overlap`, `aisle_shadow_seconds` and `aisle_shadow_dropped_total`.

        Args:
            pipeline: Over the second release.
            house: What lists are like where a request does not say.
            share: Of the requests that are taken, 0 to 1.
            registry: Where the metrics go.
        """
        self._pipeline = pipeline
        self._house = house
        self._share = share
        self._queue: asyncio.Queue[tuple[messages.RecommendRequest, messages.RecommendResponse]]
        self._queue = asyncio.Queue(QUEUE_LENGTH)
        self._waiting = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._overlap = Histogram(
            "aisle_shadow_overlap",
            "Share of a reply's items that the shadow's first page holds too.",
            buckets=_TENTHS,
            registry=registry,
        )
        self._seconds = Histogram(
            "aisle_shadow_seconds", "Time per list of the shadow.", buckets=LATENCY_BUCKETS, registry=registry
        )
        self._dropped = Counter("aisle_shadow_dropped", "Requests that the shadow did not answer.", registry=registry)

    @contextmanager
    def shopper_waits(self) -> Iterator[None]:
        """For the length of the block the shadow takes up nothing new."""
        self._waiting += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._idle.set()

    def offer(self, request: messages.RecommendRequest, reply: messages.RecommendResponse) -> None:
        """Take a request that was answered, or leave it."""
        if request.page_token or not reply.results or not is_taken(reply.recommendation_id, self._share):
            return
        try:
            self._queue.put_nowait((request, reply))
        except asyncio.QueueFull:
            self._dropped.inc()

    async def work(self) -> None:
        """Answer what was taken, until cancelled."""
        while True:
            request, reply = await self._queue.get()
            await self._idle.wait()
            try:
                await self._compare(request, reply)
            except Exception:
                self._dropped.inc()
                logger.exception("the shadow cannot answer", extra={"version": self._pipeline.release.version})

    async def _compare(self, request: messages.RecommendRequest, reply: messages.RecommendResponse) -> None:
        with self._seconds.time():
            trace = Trace(time.monotonic() + _SECONDS)
            shadow, _ = await recommend(self._pipeline, request, self._house, trace, lambda: reply.recommendation_id)
        self._overlap.observe(overlap(reply, shadow))


class ShadowedServicer(RecommendationServicer):
    """Answers as `RecommendationServicer` does, and offers the shadow what it answered."""

    def __init__(self, serving: Callable[[], Pipeline], observer: Observer, house: House, shadow: Shadow) -> None:
        """Serve what `serving` says."""
        super().__init__(serving, observer, house)
        self._shadow = shadow

    async def Recommend(  # noqa: N802 - the rpc's name
        self,
        request: messages.RecommendRequest,
        context: grpc.aio.ServicerContext[messages.RecommendRequest, messages.RecommendResponse],
    ) -> messages.RecommendResponse:
        """See `RecommendationServicer.Recommend`."""
        with self._shadow.shopper_waits():
            reply = await super().Recommend(request, context)

        def replied(ctx: Any) -> None:  # noqa: ARG001 - the interface's
            self._shadow.offer(request, reply)

        context.add_done_callback(replied)  # type: ignore[arg-type] # a protocol, which the stubs write as a class
        return reply

    async def Rank(  # noqa: N802 - the rpc's name
        self,
        request: messages.RankRequest,
        context: grpc.aio.ServicerContext[messages.RankRequest, messages.RankResponse],
    ) -> messages.RankResponse:
        """See `RecommendationServicer.Rank`."""
        with self._shadow.shopper_waits():
            return await super().Rank(request, context)

    async def BatchRecommend(  # noqa: N802 - the rpc's name
        self,
        request: messages.BatchRecommendRequest,
        context: grpc.aio.ServicerContext[messages.BatchRecommendRequest, messages.BatchRecommendResponse],
    ) -> messages.BatchRecommendResponse:
        """See `RecommendationServicer.BatchRecommend`."""
        with self._shadow.shopper_waits():
            return await super().BatchRecommend(request, context)


@asynccontextmanager
async def shadowing(
    settings: RankingSettings, assemble: Callable[[Release], Pipeline], house: House, registry: CollectorRegistry
) -> AsyncIterator[Shadow | None]:
    """The shadow that the settings name, at work; None where they name none, or one that cannot be opened: what nobody
    sees must not keep a service from starting."""
    if settings.shadow_bundle is None:
        yield None
        return
    try:
        bundle = await asyncio.to_thread(open_bundle, settings.bundles / settings.shadow_bundle)
        release = await asyncio.to_thread(load_release, bundle)
    except BundleError as error:
        logger.error("no shadow", extra={"reason": str(error)})
        yield None
        return
    # A retrieval service holds the indexes of the bundles that serve, not this one's.
    pipeline = replace(assemble(release), retriever=LocalRetriever(release.model.index))
    shadow = Shadow(pipeline, house, settings.shadow_share, registry)
    task = asyncio.create_task(shadow.work())
    try:
        yield shadow
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def is_taken(recommendation_id: str, share: float) -> bool:
    """Whether a request is among the share, 0 to 1, that the shadow takes."""
    digest = hashlib.blake2b(recommendation_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") < share * 2**64


def overlap(reply: messages.RecommendResponse, shadow: messages.RecommendResponse) -> float:
    """The share of the reply's items, 0 to 1, that the shadow's page holds too; the reply must have items."""
    shown = {result.item_id for result in reply.results}
    return len(shown & {result.item_id for result in shadow.results}) / len(shown)
