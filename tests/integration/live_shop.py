"""A shop with live events for the tests of the updater: a real Valkey, a real feature store, and updaters to start."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from aisle.v1 import event_service_pb2 as messages
from prometheus_client import CollectorRegistry

from features import bundle as files
from features.event_log import read
from features.schema import EVENTS
from features.shopper_digest import open_digest
from features.store import UserReader, close_store, open_store
from features.transforms import known_events, user_features
from services.common import streams
from services.common.process import ManagedProcess, free_port
from services.common.streams import EntryId, ShardKeys, shard_of
from services.common.valkey import ValkeyConfig, start_valkey
from services.ingest.records import Event
from services.ingest.updater.root import updating
from services.ingest.updater.settings import UpdaterSettings
from services.ingest.updater.state import EVENTS_OF_STATE
from tests.tiny_shop import AS_OF, write_shop_bundle

ROOT = Path(__file__).parents[2]
SHARDS = 4
PATIENCE_SECONDS = 60.0
_TYPES = (messages.EVENT_TYPE_CLICK, messages.EVENT_TYPE_PURCHASE, messages.EVENT_TYPE_VIEW)


class LiveShop:
    """A promoted bundle and a running Valkey; every path and key is the shop's own."""

    def __init__(self, folder: Path, *, append_only: bool = False, address: str | None = None) -> None:
        """Starts Valkey, unless there is one at `address`; `close` ends it."""
        self.folder = folder
        self.bundle = write_shop_bundle(folder / "bundles", seed=1)
        self.items = pl.read_parquet(self.bundle.path(files.ITEMS))
        self._running = ExitStack()
        if address is None:
            config = ValkeyConfig(folder / "valkey", free_port(), append_only=append_only)
            self._running.callback(start_valkey(config).stop)
            address = f"127.0.0.1:{config.port}"
        self.address = address
        self.client = streams.connect(address, 5.0)
        self.digest = open_digest(folder / "live", None)
        self._log_number = 0

    async def close(self) -> None:
        """Ends the connection, and Valkey if it is the shop's own."""
        await self.client.aclose()
        self._running.close()

    def settings(self, **changes: Any) -> UpdaterSettings:
        """What an updater reads: everything at once, and shards that change hands quickly."""
        known: dict[str, Any] = {
            "bundles": self.folder / "bundles",
            "redis": self.address,
            "shards": SHARDS,
            "feast_dir": self.folder / "feast",
            "offline_dir": self.folder / "offline",
            "live_dir": self.folder / "live",
            "updater_port": 0,
            "lease_seconds": 4.0,
            "idle_seconds": 0.1,
            "round_seconds": 0.0,
            "log_seconds": 1.0,
        }
        return UpdaterSettings(**(known | changes))

    @asynccontextmanager
    async def updater(self, **changes: Any) -> AsyncIterator[CollectorRegistry]:
        """An updater in this process; its metrics."""
        registry = CollectorRegistry()
        async with updating(self.settings(**changes), self.bundle, registry):
            yield registry

    def start_updater(self, **changes: Any) -> ManagedProcess:
        """An updater in a process of its own."""
        self._log_number += 1
        settings = self.settings(**changes).model_dump(exclude_none=True)
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}"}
        environment |= {f"AISLE_{name.upper()}": str(value) for name, value in settings.items()}
        log_path = self.folder / f"updater-{self._log_number}.log"
        command = [sys.executable, "-m", "services.ingest.updater"]
        return ManagedProcess("updater", command, log_path=log_path, environment=environment)

    async def send(self, events: Iterable[Event]) -> None:
        """Put events into their streams, as ingest does."""
        for event in events:
            shopper = event.user_id or event.visitor_id
            await self.client.xadd(self.keys(shopper).events, {"e": event.SerializeToString()})

    def keys(self, shopper: str) -> ShardKeys:
        """The keys of a shopper's shard."""
        return ShardKeys(shard_of(shopper, SHARDS))

    def events(self, count: int, first: int = 0, shopper_count: int = 7) -> list[Event]:
        """Events of a few shoppers with the shop's items, one second after another."""
        return [self.event(number, f"user-{number % shopper_count}") for number in range(first, first + count)]

    def event(self, number: int, shopper: str, **fields: Any) -> Event:
        """An event; its number says what it is of."""
        event = Event(
            event_id=f"event-{number}",
            user_id=shopper,
            item_id=f"item-{number * 7 % self.items.height}",
            event_type=_TYPES[number % len(_TYPES)],
            session_id=f"visit-{number // 20}",
            price=float(number % 5),
        )
        event.event_time.FromDatetime(datetime(2018, 1, 1, tzinfo=UTC))
        event.event_time.seconds += number
        for name, value in fields.items():
            setattr(event, name, value)
        return event

    async def handled(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Until features know every event in the streams."""

        async def all_known() -> bool:
            known = [await self._is_known(ShardKeys(shard)) for shard in range(SHARDS)]
            return all(known)

        await until(all_known, seconds)

    async def _is_known(self, keys: ShardKeys) -> bool:
        newest = await self.client.xrevrange(keys.events, count=1)
        position = await self.client.hget(keys.progress, "features") or b"0-0"
        return not newest or EntryId.parse(newest[0][0]) <= EntryId.parse(position)

    async def rows(self, shoppers: Iterable[str]) -> pl.DataFrame:
        """What the online store says of some shoppers, sorted; those whom it does not know are missing."""
        store = open_store(self.folder / "feast", self.folder / "offline", self.address)
        reader = UserReader(store, timeout_s=10.0)
        found = {shopper: await reader.read(shopper) for shopper in sorted(set(shoppers))}
        await close_store(store)
        lines = [{"user_id": name} | dict(row) for name, row in found.items() if row is not None]
        for line in lines:
            del line["event_timestamp"]
        schema = self.recount([]).schema
        return pl.DataFrame([{key: _plain(value) for key, value in line.items()} for line in lines], schema=schema)

    def recount(self, events: Iterable[Event]) -> pl.DataFrame:
        """The rows of everybody by training's own transforms, from all that happened."""
        found = [
            {
                "user_id": event.user_id or event.visitor_id,
                "item_id": event.item_id,
                "event_id": event.event_id,
                "event_type": messages.EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").lower(),
                "event_time": event.event_time.ToDatetime(UTC),
                "price": event.price if event.HasField("price") else None,
                "session_id": event.session_id or None,
            }
            for event in events
        ]
        frame = pl.DataFrame(found, schema=EVENTS_OF_STATE)
        missing = [pl.lit(None, dtype).alias(name) for name, dtype in EVENTS.items() if name not in frame.columns]
        known = known_events(frame.with_columns(missing), datetime(2100, 1, 1, tzinfo=UTC))
        return user_features(known, self.items, pl.read_parquet(self.bundle.path(files.REGULAR_PRICES)))

    def logged(self) -> list[str]:
        """Event ids in the log's files, sorted."""
        return sorted(read(self.folder / "live")["event_id"])

    async def owners(self) -> list[bytes | None]:
        """The token that owns each shard."""
        return [await self.client.get(ShardKeys(shard).owner) for shard in range(SHARDS)]


async def until(holds: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until an asynchronous condition holds.

    Raises:
        TimeoutError: it never did.
    """
    deadline = time.monotonic() + seconds
    while not await holds():
        if time.monotonic() > deadline:
            raise TimeoutError(holds.__qualname__)
        await asyncio.sleep(0.02)


def kill(process: ManagedProcess) -> None:
    """End a process as a power cut would."""
    os.kill(process.pid, signal.SIGKILL)


def _plain(value: object) -> object:
    return value.tolist() if hasattr(value, "tolist") else value


__all__ = ["AS_OF", "SHARDS", "LiveShop", "kill", "until"]
