"""Several processes of one service on one port: one per core, since a Python process computes on one core at a time.

Choices: the processes are started anew rather than forked (threads of gRPC and of the numerics do not survive a fork)
and share the port by `SO_REUSEPORT`: the kernel gives each new connection to one of them. One that ends by itself is
started again, unless it had hardly begun: then something is wrong with all of them, and the whole ends.
Large arrays are mapped from the bundle's files, so that the processes share them; for what takes long to make they have
a folder in common. Knows no service.
"""

import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from services.common.process import ManagedProcess, ProcessError

logger = logging.getLogger(__name__)

WORKER = "AISLE_WORKER"
"""Set in the environment of a worker: its number, from 0."""

_FOLDER = "AISLE_WORKER_FOLDER"
"""Set in the environment of a worker: a folder of all workers of its service."""
_SETTLED_SECONDS = 10.0


def worker_count(processes: int) -> int:
    """How many processes a setting asks for; 0 means one for each core this process may use."""
    return processes or len(os.sched_getaffinity(0))


def worker_number() -> int | None:
    """Which worker this process is; None where it is no worker."""
    number = os.environ.get(WORKER)
    return None if number is None else int(number)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder of this user alone: that of all workers of the service, which lasts as long as the service does; where
    this process is no worker, one of its own that goes with the block."""
    if shared := os.environ.get(_FOLDER):
        yield Path(shared)
        return
    with tempfile.TemporaryDirectory(prefix="aisle-") as own:
        yield Path(own)


def run_workers(module: str, count: int) -> None:
    """Run `python -m module` `count` times until SIGTERM or SIGINT, then let all of them drain. In the main thread.

    Raises:
        ProcessError: one ended within its first seconds.
    """
    stopping, something = threading.Event(), threading.Event()

    def on_stop(_number: int, _frame: object) -> None:
        stopping.set()
        something.set()

    def on_child(_number: int, _frame: object) -> None:
        something.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_stop)
    signal.signal(signal.SIGCHLD, on_child)
    with ExitStack() as ending:
        shared = ending.enter_context(tempfile.TemporaryDirectory(prefix="aisle-"))
        workers = [_Worker(module, number, shared) for number in range(count)]
        ending.callback(_stop_all, workers)
        while not stopping.is_set():
            something.wait()
            something.clear()
            for worker in workers:
                if not stopping.is_set():
                    worker.restart_if_ended()


class _Worker:
    def __init__(self, module: str, number: int, shared: str) -> None:
        self._command: Sequence[str] = [sys.executable, "-m", module]
        self._name = f"{module.rpartition('.')[2]}-{number}"
        self._environment = {**os.environ, WORKER: str(number), _FOLDER: shared}
        self._start()

    def _start(self) -> None:
        self._started = time.monotonic()
        self.process = ManagedProcess(self._name, self._command, environment=self._environment)

    def restart_if_ended(self) -> None:
        status = self.process.exit_status
        if status is None:
            return
        if time.monotonic() - self._started < _SETTLED_SECONDS:
            raise ProcessError(f"{self._name}: ended with status {status} as soon as it was started")
        logger.warning("worker ended", extra={"worker": self._name, "status": status})
        self._start()


def _stop_all(workers: Sequence[_Worker]) -> None:
    """All at once, so that draining takes as long as the slowest and not the sum."""
    for worker in workers:
        if worker.process.exit_status is None:
            os.kill(worker.process.pid, signal.SIGTERM)
    for worker in workers:
        worker.process.stop(grace_seconds=60.0)
