"""What the lines of AREA=load share: a stack of their own, the command `python -m loadtest`, a ranking process with a
planted fault in place of the good one."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from services.common.process import ManagedProcess
from services.stack import Stack, StackConfig, running_stack, serving

FOLDER = Path("build/accept/load")
DATA = "complete-journey"
READY_SECONDS = 90.0
LONGEST_SECONDS = 3600.0
"""That one run takes."""


@dataclass(frozen=True, slots=True)
class Finished:
    """One run of the command."""

    status: int
    said: str
    """What it printed."""
    folder: Path

    @property
    def verdict(self) -> dict[str, Any]:
        """What verdict.json holds."""
        found: dict[str, Any] = json.loads((self.folder / "verdict.json").read_text())
        return found

    @property
    def report(self) -> str:
        """The page."""
        return (self.folder / "report.html").read_text()


def load_test(name: str, *words: object, build: Path = FOLDER) -> Finished:
    """`python -m loadtest` in a folder of that name, which is emptied first; accepted runs lie in `build`."""
    folder = FOLDER / "runs" / name
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "loadtest", "--build", str(build), "--out", str(folder), *map(str, words)]
    log = folder.with_suffix(".log")
    log.unlink(missing_ok=True)
    with ManagedProcess("loadtest", command, log_path=log) as process:
        status = process.wait(LONGEST_SECONDS)
    print(process.log(), flush=True)
    return Finished(status, process.log(), folder)


@contextmanager
def fresh_stack() -> Iterator[Stack]:
    """The default bundle's stack with stores that begin empty."""
    shutil.rmtree(FOLDER / "stack", ignore_errors=True)
    config = StackConfig(data=DATA, build=FOLDER / "stack", data_cache=Path("build/data"), ranking_port=0)
    with running_stack(config) as stack:
        yield stack


def target(stack: Stack) -> list[str]:
    """The words that say what to visit."""
    return ["--target", stack.addresses["ranking"], "--ingest", stack.addresses["ingest"]]


def plant(stack: Stack, kind: str, amount: float) -> None:
    """Run the ranking service anew at its address with a fault of `tests.planted_ranking`."""
    process, address = stack.processes["ranking"], stack.addresses["ranking"]
    environment = {**os.environ, **psutil.Process(process.pid).environ()}
    command = [sys.executable, "-m", "tests.planted_ranking", kind, str(amount)]
    stack.stop("ranking")
    start = partial(ManagedProcess, "ranking", command, log_path=process.log_path, environment=environment)
    stack.start("ranking", start, address)
    stack.processes["ranking"].wait_ready(serving(address), READY_SECONDS)
