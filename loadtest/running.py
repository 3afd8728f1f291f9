"""Runs of the generator, a process of its own: gevent changes sockets and threads, which nothing else here would stand.

Knows no verdict; faults are done to a deployment while a run is under way.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.access import Access
from loadtest.faults import Deployment, Fault, carry_out
from loadtest.recording import read_run, write_marks
from loadtest.recovery import with_recovery
from services.common.process import ManagedProcess

LOG = "generator.log"
_BEGIN_SECONDS = 180.0
"""How long the generator may take to prepare: to read the shop's data, above all."""
_LONGER_SECONDS = 120.0
"""How long it may take, after the last arrival, to end and to write its files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load(Access):
    """What all runs of one command have in common."""

    ranking: str
    ingest: str | None
    environment: str
    bundle: Path | None
    """Whose items are visited; None: only where `journeys` is `home`."""
    data: str
    cache: Path
    """Where prepared data is kept."""
    journeys: str
    seed: int
    workers: int
    timeout_seconds: float
    connections: int = 4
    """Of each worker to the ranking service."""
    remote_workers: int = 0
    """Workers of other machines to wait for."""
    web_ui: int | None = None

    def command(self, out: Path, *rate: object) -> list[str]:
        """The generator's command line.

        Args:
            out: The run's folder.
            rate: The words that say how many visits when.
        """
        words: list[object] = ["--ranking", self.ranking, "--ingest", self.ingest or "none", "--out", out]
        words += ["--environment", self.environment, "--data", self.data, "--cache", self.cache]
        words += ["--seed", self.seed, "--workers", self.workers, "--timeout", self.timeout_seconds, *rate]
        words += ["--bundle", self.bundle or "none", "--journeys", self.journeys, "--connections", self.connections]
        words += ["--remote-workers", self.remote_workers]
        words += ["--web-ui", self.web_ui] if self.web_ui is not None else []
        return [sys.executable, "-m", "loadtest.generator", *map(str, words), *self.words()]


@dataclass(frozen=True, slots=True)
class Running:
    """A generator that has begun."""

    process: ManagedProcess
    began: float
    """Unix seconds of the run's time 0."""

    def seconds(self) -> float:
        """The run's clock."""
        return time.time() - self.began

    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.process.exit_status is not None


@contextmanager
def generating(load: Load, out: Path, *rate: object) -> Iterator[Running]:
    """A run from its begin; it ends early where the block does.

    Raises:
        ProcessError: it could not begin; the message ends with its log.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / LOG).unlink(missing_ok=True)
    with ManagedProcess("generator", load.command(out, *rate), log_path=out / LOG) as process:
        process.wait_ready(lambda: _began(process) is not None, _BEGIN_SECONDS)
        yield Running(process, _began(process) or 0.0)


def complete_run(
    load: Load,
    out: Path,
    *rate: object,
    seconds: float,
    faults: Sequence[Fault] = (),
    deployment: Deployment | None = None,
) -> None:
    """One run to its end, with faults done meanwhile; its marks say when replies had recovered.

    Args:
        load: Who visits what.
        out: The run's folder.
        rate: The generator's words for the rate.
        seconds: How long the rate lasts.
        faults: Checked before.
        deployment: What they are done to.

    Raises:
        ProcessError: the run is not whole.
    """
    with generating(load, out, *rate) as running:
        marks = carry_out(faults, deployment, running.seconds, running.is_over) if deployment else []
        left = seconds + _LONGER_SECONDS - running.seconds()
        running.process.wait_ready(lambda: running.process.exit_status == 0, left)
    calls, _, _ = read_run(out)
    write_marks(out, with_recovery(marks, calls))


def _began(process: ManagedProcess) -> float | None:
    """When time 0 is, once the generator has said so."""
    for line in process.log().splitlines():
        if line.startswith('{"began"'):
            return float(json.loads(line)["began"])
    return None
