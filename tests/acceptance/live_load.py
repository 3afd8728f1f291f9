"""`python -m tests.acceptance.live_load ADDRESS …`: a process that writes events, at a rate or as fast as it goes.

A process of its own, so that making events costs neither the services nor who measures them. It writes until it is
stopped; its last line says, as JSON, what became of the events.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from features.bundle import open_bundle, serving_path
from services.common.process import ManagedProcess
from tests.acceptance.live_sender import Sender
from tests.acceptance.live_traffic import Traffic, item_ids

_ITEMS = 5000
_READY_SECONDS = 60.0
_STOP_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What is written."""

    bundles: Path
    """Whose items are seen."""
    prefix: str
    """Of the events' ids."""
    per_second: float = 0.0
    """Events; 0: as fast as answers come."""
    batch: int = 100
    connections: int = 1
    callers: int = 4
    """Without a rate: batches under way at once."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LoadSummary:
    """What became of it."""

    accepted: int
    other: dict[str, int]
    """Status other than ACCEPTED to events, and gRPC status to failed calls."""
    seconds: float
    """From the first call to the last."""
    p50_ms: float
    p99_ms: float
    """Of answered calls."""

    @property
    def per_second(self) -> float:
        """Accepted events."""
        return self.accepted / self.seconds


class RunningLoad:
    """A process that writes events."""

    def __init__(self, process: ManagedProcess) -> None:
        """Args: process: of this module."""
        self._process = process
        self._summary: LoadSummary | None = None

    def is_under_way(self) -> bool:
        """Whether a first batch has been accepted."""
        return "under way" in self._process.log()

    def finish(self) -> LoadSummary:
        """Stop it; what became of all that it wrote."""
        if self._summary is None:
            self._process.stop(_STOP_SECONDS)
            self._summary = LoadSummary(**json.loads(self._process.log().strip().splitlines()[-1]))
        return self._summary


@contextmanager
def load_under_way(address: str, load: Load, shoppers: Sequence[str], folder: Path) -> Iterator[RunningLoad]:
    """A load beside the block, once its first batch is accepted.

    Args:
        address: the ingest service's.
        load: what is written.
        shoppers: whose events they are.
        folder: for its log.
    """
    options = {name.replace("_", "-"): value for name, value in asdict(load).items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{load.prefix}-shoppers.json").write_text(json.dumps(list(shoppers)))
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    words += ["--shoppers", str(folder / f"{load.prefix}-shoppers.json")]
    command = [sys.executable, "-m", __name__, address, *words]
    log_path = folder / f"{load.prefix}.log"
    log_path.unlink(missing_ok=True)
    # SIGTERM asks it to finish, which it cannot when the services have gone with the parent.
    with ManagedProcess("load", command, log_path=log_path, death_signal=signal.SIGKILL) as process:
        running = RunningLoad(process)
        process.wait_ready(running.is_under_way, _READY_SECONDS)
        yield running
        running.finish()


async def write(address: str, load: Load, shoppers: Sequence[str]) -> LoadSummary:
    """Write until SIGTERM."""
    bundle = open_bundle(serving_path(load.bundles))
    traffic = Traffic(load.prefix, shoppers, item_ids(bundle, _ITEMS), bundle.as_of, load.seed)
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    async with Sender(address, connections=load.connections) as sender:
        started = time.monotonic()
        await sender.deliver(traffic.batch(load.batch))
        print("under way", flush=True)
        if load.per_second:
            await _at_a_rate(sender, traffic, load, over)
        else:
            await asyncio.gather(*(_without_pause(sender, traffic, load, over) for _ in range(load.callers)))
        seconds = time.monotonic() - started
        statuses = dict(sender.written.statuses)
        p50, p99 = (float(np.quantile(sender.written.seconds, q)) * 1e3 for q in (0.5, 0.99))
        accepted = statuses.pop("ACCEPTED", 0)
        return LoadSummary(accepted, statuses | dict(sender.written.failed_calls), seconds, p50, p99)


async def _at_a_rate(sender: Sender, traffic: Traffic, load: Load, over: asyncio.Event) -> None:
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    started, number = loop.time(), 0
    while not over.is_set():
        number += 1
        wait = started + number * load.batch / load.per_second - loop.time()
        await asyncio.sleep(max(wait, 0.0))
        task = asyncio.create_task(sender.deliver(traffic.batch(load.batch)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)


async def _without_pause(sender: Sender, traffic: Traffic, load: Load, over: asyncio.Event) -> None:
    while not over.is_set():
        await sender.deliver(traffic.batch(load.batch))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.live_load", description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--shoppers", type=Path, required=True)
    parser.add_argument("--bundles", type=Path, required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--per-second", type=float, required=True)
    for name in ("batch", "connections", "callers", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = vars(parser.parse_args())
    address, shoppers = options.pop("address"), json.loads(options.pop("shoppers").read_text())
    print(json.dumps(asdict(asyncio.run(write(address, Load(**options), shoppers)))), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
