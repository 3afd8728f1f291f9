"""The composition root of the ranking service: settings in, servicer out. Tests hand in their own parts."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from prometheus_client import CollectorRegistry

from features.clock import open_clock
from features.store import StoreUnavailable, UserReader, close_store, open_store
from services.common.breaker import Breaker, export_states
from services.common.ending import ended
from services.common.overload import NO_TURNS, Turns
from services.common.pointer import Pointer, following
from services.common.scorer import Scorer, TritonScorer
from services.common.streams import Client, connect
from services.common.tls import client_credentials
from services.common.towers import TowerModels
from services.ranking.answers import House
from services.ranking.app import RecommendationServicer
from services.ranking.calls import Observers
from services.ranking.experiments import load_experiments
from services.ranking.guarded import GuardedRetriever, GuardedScorer, GuardedUsers
from services.ranking.live import LiveItems
from services.ranking.live_catalogue import LiveCatalogue
from services.ranking.live_freshness import Freshness
from services.ranking.metrics import RankingMetrics, ServingCollector
from services.ranking.ordering import Diversity, PriceRerank
from services.ranking.pipeline import Pipeline, Users
from services.ranking.release import Release
from services.ranking.retriever import LocalRetriever, RemoteRetriever, Retriever
from services.ranking.settings import RankingSettings
from services.ranking.shadow import ShadowedServicer, shadowing
from services.ranking.shaping import Taste
from services.ranking.slow import SlowRequests
from services.ranking.swap import Serving
from services.ranking.trace import Budgets
from services.ranking.traces import TracedCalls

logger = logging.getLogger(__name__)

_DAY_US = 86_400_000_000
_PROBE_USER = "-"
_PROBE_SECONDS = 0.2
_VALKEY_SECONDS = 2.0
"""How long Valkey may take over live items and freshness, for which nobody waits; longer than it is asked to block."""
_DEAD_SECONDS = 0.5
"""After how long without an answer a cluster's server is taken for dead, so that it is asked where features lie now."""


@asynccontextmanager
async def assembled(
    settings: RankingSettings, release: Release, registry: CollectorRegistry, turns: Turns = NO_TURNS
) -> AsyncIterator[RecommendationServicer]:
    """The servicer over real parts, in the event loop that will use it; connections are closed on leaving.

    It serves `release` until the pointer names another bundle, and then that one.

    Raises:
        SettingsError: a file that the settings name says what it must not.
    """
    taste = Taste(Diversity[settings.diversity], PriceRerank[settings.price_rerank])
    house = House(taste, load_experiments(settings.experiments))
    async with _connected(settings, release.version, release.towers) as behind:
        live = LiveItems(LiveCatalogue(behind.valkey), registry)
        freshness = Freshness(behind.valkey, settings.shards, settings.live_stale_seconds)

        def over(other: Release) -> Pipeline:
            return Pipeline(
                release=other,
                users=behind.users,
                scorer=behind.scorer.with_models(other.towers),
                retriever=_retriever(behind.index, other),
                clock=open_clock(settings.clock, other.as_of),
                budgets=_budgets(settings),
                stale_after_us=int(settings.stale_after_days * _DAY_US),
                turns=turns,
                is_behind=freshness.is_stale,
            )

        pointer, observers = Pointer(settings.bundles), _observers(settings, registry)
        guarded = _behind_breakers(registry, index_is_remote=behind.index is not None)
        serving = Serving(over(release), over, guarded, house, pointer, live.extended)
        registry.register(ServingCollector(serving))
        del release  # or it would stay when another one serves
        await wait_for_back_ends(behind.users, behind.scorer, settings.startup_wait_seconds)
        await live.start(serving.refresh)
        async with (
            beside(live.follow(serving.refresh)),
            beside(freshness.follow()),
            following(pointer, serving.switch_to, settings.swap_poll_seconds),
            shadowing(settings, over, house, registry) as shadow,
        ):
            if shadow is None:
                yield RecommendationServicer(serving, observers, house)
            else:
                yield ShadowedServicer(serving, observers, house, shadow)


@dataclass(frozen=True, slots=True)
class _Behind:
    """Connections to what is behind the service."""

    users: UserReader
    scorer: TritonScorer
    index: RemoteRetriever | None
    """None: it is in this process."""
    valkey: Client


@asynccontextmanager
async def _connected(settings: RankingSettings, version: str, towers: TowerModels) -> AsyncIterator[_Behind]:
    """Nothing is asked yet, so that nothing has to be there; closed on leaving."""
    async with AsyncExitStack() as closing:
        timeout_s = settings.features_timeout_ms / 1000.0
        limit_s = max(timeout_s, _DEAD_SECONDS)
        store = open_store(settings.feast_dir, settings.offline_dir, settings.redis, limit_s=limit_s)
        closing.push_async_callback(close_store, store)
        valkey = connect(settings.redis, timeout_seconds=_VALKEY_SECONDS)
        closing.push_async_callback(valkey.aclose)
        credentials = client_credentials(settings, "triton")
        scorer = TritonScorer(settings.triton_address, towers, credentials=credentials)
        closing.push_async_callback(scorer.close)
        index = _remote_retriever(settings, version)
        if index is not None:
            closing.push_async_callback(index.close)
        users = UserReader(store, timeout_s)
        closing.push_async_callback(users.close)
        yield _Behind(users, scorer, index, valkey)


def _behind_breakers(registry: CollectorRegistry, *, index_is_remote: bool) -> Callable[[Pipeline], Pipeline]:
    """Puts pipelines behind breakers that all of them share, one for each back end."""
    breakers = {"features": Breaker(), "triton": Breaker(), "retrieval": Breaker()}
    export_states(registry, breakers)

    def guarded(pipeline: Pipeline) -> Pipeline:
        guarded_retriever = GuardedRetriever(pipeline.retriever, breakers["retrieval"])
        return replace(
            pipeline,
            users=GuardedUsers(pipeline.users, breakers["features"]),
            scorer=GuardedScorer(pipeline.scorer, breakers["triton"]),
            retriever=guarded_retriever if index_is_remote else pipeline.retriever,
        )

    return guarded


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Work that goes on beside the `async with` block and ends with it."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await ended([task])
        with suppress(asyncio.CancelledError):
            task.result()


def _observers(settings: RankingSettings, registry: CollectorRegistry) -> Observers:
    everywhere = (RankingMetrics(registry), TracedCalls())
    if not settings.slow_request_ms:
        return Observers(*everywhere)
    return Observers(*everywhere, SlowRequests(settings.slow_request_ms / 1000.0))


def _budgets(settings: RankingSettings) -> Budgets:
    return Budgets(
        features=settings.features_timeout_ms / 1000.0,
        interest=settings.interest_timeout_ms / 1000.0,
        retrieval=settings.retrieval_timeout_ms / 1000.0,
    )


def _retriever(remote: RemoteRetriever | None, release: Release) -> Retriever:
    if remote is None:
        return LocalRetriever(release.model.index)
    return remote.with_release(release.version, release.model.index)


def _remote_retriever(settings: RankingSettings, bundle_version: str) -> RemoteRetriever | None:
    if settings.retrieval_address is None:
        return None
    api_key = settings.retrieval_api_key.get_secret_value() if settings.retrieval_api_key else None
    credentials = client_credentials(settings, "retrieval")
    return RemoteRetriever(settings.retrieval_address, bundle_version, credentials, api_key)


async def wait_for_back_ends(users: Users, scorer: Scorer, timeout_seconds: float) -> bool:
    """Wait until the online store and Triton answer, at most `timeout_seconds`: replies should not begin degraded.

    Returns:
        Whether both do. If not, serving starts all the same: refusing would turn their outage into ours.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        store_ready = False
        with suppress(StoreUnavailable):
            await users.read(_PROBE_USER)
            store_ready = True
        scorer_ready = await scorer.ready(timeout_seconds=_PROBE_SECONDS)
        if store_ready and scorer_ready:
            return True
        if time.monotonic() > deadline:
            logger.warning("serving degraded", extra={"store_ready": store_ready, "triton_ready": scorer_ready})
            return False
        await asyncio.sleep(_PROBE_SECONDS)
