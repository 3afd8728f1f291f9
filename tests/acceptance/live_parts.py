"""What takes events in, without what recommends: Valkey, the ingest service and the updater over any bundle.

Each can be killed and started again, at the same address and over the same files, all of which lie under one folder.
Triton is not there: new items get no vector, events need none.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from services.common import streams
from services.common.process import ManagedProcess, free_port
from services.common.streams import Client, EntryId, ShardKeys, all_shards
from services.common.valkey import Fsync, ValkeyConfig, start_valkey
from services.stack import Stack
from tests.acceptance.ranking_stack import READY_SECONDS, halves, is_serving

_MODULES = {"ingest": "services.ingest", "updater": "services.ingest.updater"}
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the parts keep what they keep."""

    root: Path
    bundles: Path

    @property
    def live(self) -> Path:
        """The log of events, the catalogue, who is left out."""
        return self.root / "live"

    @property
    def feast(self) -> Path:
        """The features' registry."""
        return self.root / "feast"

    @property
    def offline(self) -> Path:
        """The features' offline tables."""
        return self.root / "offline"


@contextmanager
def live_parts(
    folders: Folders,
    *,
    append_fsync: Fsync = "always",
    updater: bool = True,
    settings: Mapping[str, object] | None = None,
) -> Iterator[Stack]:
    """Valkey, the ingest service and perhaps the updater, ready.

    Args:
        folders: may hold what an earlier run left.
        append_fsync: when an acknowledged event is on the disk.
        updater: whether there is one.
        settings: of both services, by name in capitals without `AISLE_`.
    """
    stack = Stack()
    names = ("ingest", "updater") if updater else ("ingest",)
    ports = {name: free_port() for name in ("valkey", *names)}
    environment = _environment(folders, ports, dict(settings or {}))
    with ExitStack() as stopping:

        def take(name: str, start: Callable[[], ManagedProcess]) -> None:
            stack.start(name, start, f"127.0.0.1:{ports[name]}")
            stopping.callback(stack.stop, name)

        valkey = ValkeyConfig(folders.root / "valkey", ports["valkey"], append_fsync=append_fsync)
        take("valkey", partial(start_valkey, valkey, 60.0))
        for name in names:
            command, log_path = [sys.executable, "-m", _MODULES[name]], folders.root / "logs" / f"{name}.log"
            take(name, partial(ManagedProcess, name, command, log_path=log_path, environment=environment))
        for name in names:
            stack.processes[name].wait_ready(partial(is_serving, stack.addresses[name]), READY_SECONDS)
        yield stack


@contextmanager
def pinned_parts(folders: Folders, **options: Any) -> Iterator[Stack]:
    """`live_parts` on the first half of the cores; this process and what it starts are on the second half meanwhile."""
    before = os.sched_getaffinity(0)
    servers, caller = halves()
    os.sched_setaffinity(0, servers)
    try:
        with live_parts(folders, **options) as stack:
            os.sched_setaffinity(0, caller)
            yield stack
    finally:
        os.sched_setaffinity(0, before)


def until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait for something to become true.

    Returns:
        How long that took, seconds.

    Raises:
        TimeoutError: not within `seconds`; says `what` was waited for.
    """
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - started


@dataclass(frozen=True, slots=True)
class Drained:
    """How far the updaters are."""

    behind_in_features: int
    """Entries whose effect on features is not committed."""
    shards_behind_in_log: int
    """Shards with an entry that is in no file."""

    @property
    def everything(self) -> bool:
        """Nothing is left to do."""
        return not self.behind_in_features and not self.shards_behind_in_log


async def drained(client: Client, shards: int = streams.SHARDS_DEFAULT) -> Drained:
    """Compare the streams' ends with the updaters' positions; `client` is from `streams.connect`."""
    behind = unlogged = 0
    for keys in all_shards(shards):
        if not await client.exists(keys.events):
            continue
        last = EntryId.parse((await client.xinfo_stream(keys.events))["last-generated-id"])
        features, logged = await _positions(client, keys)
        unlogged += logged < last
        if features < last:
            behind += await _count_after(client, keys, features)
    return Drained(behind, unlogged)


async def _count_after(client: Client, keys: ShardKeys, position: EntryId) -> int:
    """How many entries come after one; counted where they are."""
    script = "return #redis.call('XRANGE', KEYS[1], ARGV[1], '+')"
    return int(await client.eval(script, 1, keys.events, f"({position}"))


async def _positions(client: Client, keys: ShardKeys) -> tuple[EntryId, EntryId]:
    found = await client.hmget(keys.progress, "features", "logged")
    features, logged = (EntryId.parse(value) if value else streams.BEGINNING for value in found)
    return features, logged


def _environment(folders: Folders, ports: dict[str, int], settings: dict[str, object]) -> dict[str, str]:
    known: dict[str, object] = {
        "BUNDLES": folders.bundles.resolve(),
        "REDIS": f"127.0.0.1:{ports['valkey']}",
        "TRITON_ADDRESS": f"127.0.0.1:{free_port()}",
        "FEAST_DIR": folders.feast,
        "OFFLINE_DIR": folders.offline,
        "LIVE_DIR": folders.live,
        "TRAINING_DIR": folders.root,
        "INGEST_PORT": ports["ingest"],
        "UPDATER_PORT": ports.get("updater", 0),
    }
    given = {f"AISLE_{name}": str(value) for name, value in (known | settings).items()}
    return {**os.environ, "OMP_NUM_THREADS": "1", **given}
