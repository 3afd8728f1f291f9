"""The composition root of an updater: settings in, a task that works until it is told to stop."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from features.bundle import Bundle, open_bundle
from features.clock import Clock, open_clock
from features.shopper_digest import open_digest
from features.store import StoreUnavailable, UserWriter, close_store, open_store
from services.common import streams
from services.common.ending import ended
from services.common.freshness import lags
from services.common.pointer import Pointer, following
from services.common.streams import Unavailable
from services.ingest.pseudonym_key import pseudonym_key
from services.ingest.updater.arrivals import Arrivals
from services.ingest.updater.catalogue_view import Catalogue
from services.ingest.updater.lease import Leases
from services.ingest.updater.log_writer import LogWriter
from services.ingest.updater.metrics import UpdaterMetrics
from services.ingest.updater.settings import UpdaterSettings
from services.ingest.updater.shard_store import ShardStore
from services.ingest.updater.shard_worker import ShardWorker
from services.ingest.updater.state_cache import StateCache

logger = logging.getLogger(__name__)

_COMMAND_SECONDS = 5.0
"""How long Valkey may take over a command, beside what it is asked to wait."""
_RETRY_SECONDS = 0.2
_LAG_SECONDS = 1.0


class Updater:
    """Everything an updater does, over a client of one event loop."""

    def __init__(self, settings: UpdaterSettings, client: streams.Client, registry: CollectorRegistry) -> None:
        """Opens the feature store's registry; connects at the first use.

        Raises:
            SettingsError: the file of the pseudonyms' key cannot be read, or holds no key.
        """
        self._settings, self._client = settings, client
        self._feast = open_store(settings.feast_dir, settings.offline_dir, settings.redis)
        self._clock = Clock(0, lambda: 0)
        self._stores: dict[int, ShardStore] = {}
        self._digest = open_digest(settings.live_dir, settings.audit_key_file)
        self._metrics = UpdaterMetrics(registry)
        self._leases = Leases(client, settings.shards, settings.lease_seconds)
        self._catalogue = Catalogue(client)
        self._arrivals = Arrivals()
        self._worker = ShardWorker(
            self._leases,
            self._store_of,
            UserWriter(self._feast),
            self._catalogue,
            self._now_us,
            self._metrics,
            StateCache(settings.cache_mb * 2**20),
            shards=settings.shards,
            batch_events=settings.batch_events,
        )
        self._log = LogWriter(
            settings.live_dir,
            self._leases,
            self._store_of,
            seconds=settings.log_seconds,
            events=settings.log_events,
            pseudonym_key=pseudonym_key(settings),
        )

    def use(self, bundle: Bundle) -> None:
        """Compute features with a bundle's items and prices, by its clock.

        Raises:
            BundleError: the bundle lacks what that needs.
        """
        self._catalogue.use(bundle)
        self._clock = open_clock(self._settings.clock, bundle.as_of)
        logger.info("using a bundle", extra={"version": bundle.version})

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; then finish the round, write the log and give the shards back.

        Args:
            stop: set by others; `use` must have been called.

        Raises:
            Exception: whatever is no outage, in a round or in what goes on beside them: start anew.
        """
        beside = [asyncio.create_task(task) for task in (self._leases.keep(), self._log.keep(), self._watch())]
        try:
            while not stop.is_set():
                await self._turn()
                _raise_of(beside)
            await ended(beside[1:2])
            await self._drain()
        finally:
            await ended(beside)
            await self._arrivals.close()
            await close_store(self._feast)

    async def _turn(self) -> None:
        """Take and give away shards, then a round, or a wait where there is nothing to do."""
        try:
            await self._leases.rebalance()
            started = time.monotonic()
            if await self._worker.round():
                await asyncio.sleep(max(0.0, self._settings.round_seconds - (time.monotonic() - started)))
            else:
                await self._arrivals.wait(await self._worker.positions(), self._settings.idle_seconds)
        except (Unavailable, StoreUnavailable) as error:
            logger.warning("a round failed and is repeated", extra={"reason": str(error)})
            self._worker.forget()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _drain(self) -> None:
        try:
            await self._leases.renew()  # a busy machine may have used up most of them, and files need a second
            await self._log.write(everything=True)
        except (Unavailable, OSError) as error:  # whoever takes over does it
            logger.warning("stopped without the last file", extra={"reason": str(error)})
        finally:
            await self._give_back()

    async def _give_back(self) -> None:
        try:
            await self._leases.leave()
        except Unavailable as error:  # leases run out
            logger.warning("stopped without giving shards back", extra={"reason": str(error)})

    async def _watch(self) -> None:
        """Show how old the oldest event is that features do not know."""
        while True:
            try:
                found = await lags(self._client, self._settings.shards)
                self._metrics.show_lags({shard: found[shard] for shard in self._leases.owned})
            except Unavailable as error:
                logger.warning("lags are not known", extra={"reason": str(error)})
            await asyncio.sleep(_LAG_SECONDS)

    def _store_of(self, shard: int) -> ShardStore:
        if shard not in self._stores:
            self._stores[shard] = ShardStore(self._client, shard, self._leases.token, self._digest)
        return self._stores[shard]

    def _now_us(self) -> int:
        return self._clock.now_us()


@asynccontextmanager
async def updating(
    settings: UpdaterSettings, bundle: Bundle, registry: CollectorRegistry
) -> AsyncIterator[asyncio.Task[None]]:
    """An updater beside the `async with` block; drained on leaving.

    It follows the pointer; a bundle that it cannot use leaves it with the one before.

    Yields:
        The task; it ends only with an error.

    Raises:
        BundleError: the first bundle lacks what live events need.
        SettingsError: as by `Updater`.
    """
    client, stop = streams.connect(settings.redis, _COMMAND_SECONDS + settings.idle_seconds), asyncio.Event()
    updater = Updater(settings, client, registry)
    updater.use(bundle)
    used = bundle.root.resolve()

    async def switch_to(root: Path) -> None:
        nonlocal used
        if root.resolve() != used:
            updater.use(await asyncio.to_thread(open_bundle, root))
            used = root.resolve()

    task = asyncio.create_task(updater.run(stop))
    try:
        async with following(Pointer(settings.bundles), switch_to, settings.swap_poll_seconds):
            yield task
    finally:
        stop.set()
        await asyncio.gather(task, return_exceptions=True)
        await client.aclose()


def _raise_of(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Of tasks that go on for ever: what one has ended with."""
    for task in tasks:
        if task.done():
            task.result()
