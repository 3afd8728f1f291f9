"""Puts the catalogue's parts together, as part of the ingest process. Tests hand in their own settings."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from features.bundle import serving_path
from services.common.breaker import Breaker
from services.common.ending import ended
from services.common.pointer import Pointer, following
from services.common.scorer import TritonScorer
from services.common.streams import Client
from services.common.tls import client_credentials
from services.common.towers import TowerModels
from services.ingest.catalog.app import CatalogServicer
from services.ingest.catalog.bundle_items import BundleItems
from services.ingest.catalog.changing import Changing
from services.ingest.catalog.encoder import Encoder
from services.ingest.catalog.flags import load_rules
from services.ingest.catalog.keeper import FOLD_SECONDS, Keeper
from services.ingest.catalog.known import Known
from services.ingest.catalog.metrics import CatalogMetrics, export_lacking
from services.ingest.catalog.serving import Serving
from services.ingest.catalog.store import CatalogueStore
from services.ingest.catalog.switching import Switching
from services.ingest.catalog.texts import TextVectors
from services.ingest.settings import IngestSettings


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the ingest process has of the catalogue."""

    servicer: CatalogServicer
    known: Known


@asynccontextmanager
async def catalogue(
    settings: IngestSettings, client: Client, registry: CollectorRegistry, fold_seconds: float = FOLD_SECONDS
) -> AsyncIterator[Catalogue]:
    """The catalogue over real parts, in the event loop that will use it.

    Args:
        settings: Say where bundles, Triton, files and rules are.
        client: Of Valkey, which may take COMMAND_SECONDS over a command.
        registry: For the metrics.
        fold_seconds: How long after a promotion a bundle is folded.

    Raises:
        BundleError: no bundle serves, or it is damaged.
        SettingsError: a file that the settings name says what it must not.
    """
    classifier = load_rules(settings.file("text_rules"))
    serving_root = serving_path(settings.bundles)
    store = CatalogueStore(client)
    serving = Serving(await asyncio.to_thread(BundleItems.load, serving_root), store)
    scorer = TritonScorer(
        settings.triton_address,
        TowerModels.of_version(serving.current.version),
        credentials=client_credentials(settings, "triton"),
    )
    metrics = CatalogMetrics(registry)
    export_lacking(registry, serving)
    texts = TextVectors(
        lambda version: scorer.with_models(TowerModels.of_version(version)), metrics.text_vectors_seconds.observe
    )
    keeper = Keeper(serving, store, Encoder(serving, store, texts), settings.live_dir, fold_seconds)
    changing = Changing(serving, store, texts, Breaker(), settings.text_timeout_ms / 1000.0)
    pointer = Pointer(settings.bundles)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(scorer.close)
        stack.push_async_callback(keeper.leave)
        await stack.enter_async_context(_running(serving, keeper))
        switching = Switching(serving, texts, pointer)
        await stack.enter_async_context(following(pointer, switching.switch_to, settings.swap_poll_seconds))
        yield Catalogue(CatalogServicer(changing, classifier, metrics), Known(serving))


@asynccontextmanager
async def _running(serving: Serving, keeper: Keeper) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(serving.follow()), asyncio.create_task(keeper.keep())]
    try:
        yield
    finally:
        await ended(tasks)
