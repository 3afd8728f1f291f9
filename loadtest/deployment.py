"""Doing faults to the processes of one machine: those of a stack that this process started, or that stack.json lists.

Only processes that a stack names are touched, and their children: never one by its program's name.
"""

import json
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from features.bundle import MANIFEST, promote, serving_path
from loadtest.faults import WORKER, Fault, FaultError
from services.common import workers
from services.stack import Part, Stack, serving

_GONE_SECONDS = 10.0
_READY_SECONDS = 90.0
_POLL_SECONDS = 0.02


class LocalDeployment:
    """The processes of a stack."""

    def __init__(
        self, parts: Sequence[Part], bundles: Path, swap_to: str | None = None, stack: Stack | None = None
    ) -> None:
        """Take in what runs.

        Args:
            parts: As the stack lists them.
            bundles: Folder of the bundles that they serve.
            swap_to: Version that `swap:bundle` promotes; default: the only other one.
            stack: What can start a part again; without one, what is killed stays away.
        """
        self._pids = {part.name: part.pid for part in parts}
        self._addresses = {part.name: part.address for part in parts}
        self._bundles, self._swap_to, self._stack = bundles, swap_to, stack
        self._first_version = serving_path(bundles).name if bundles.exists() else ""
        self._held: dict[Fault, list[psutil.Process]] = {}

    def check(self, fault: Fault) -> None:
        """See `Deployment.check`."""
        if fault.kind == "swap":
            self._other_version(fault)
            return
        name = "ranking" if fault.part == WORKER else fault.part
        if name not in self._pids:
            raise FaultError(f"fault {str(fault)!r}: no {name!r} runs here, but {', '.join(self._pids)}")
        if fault.part == WORKER and len(self._workers()) < 2:
            raise FaultError(f"fault {str(fault)!r}: ranking is one process here (AISLE_RANKING_PROCESSES)")
        if fault.kind == "kill" and fault.for_s is not None and self._stack is None:
            raise FaultError(f"fault {str(fault)!r}: nothing here can start {name} again; leave out '+{fault.for_s:g}'")

    def do(self, fault: Fault) -> None:
        """See `Deployment.do`."""
        if fault.kind == "swap":
            promote(self._bundles, self._other_version(fault), "load test", datetime.now(UTC))
        elif fault.kind == "stall":
            self._held[fault] = self._family(fault)
            for process in self._held[fault]:
                process.send_signal(signal.SIGSTOP)
        else:
            _kill(self._family(fault))

    def undo(self, fault: Fault) -> None:
        """See `Deployment.undo`."""
        if fault.kind != "kill":
            self.mend(fault)
        elif self._stack is not None:
            self._stack.restart(fault.part)
            process = self._stack.processes[fault.part]
            self._pids[fault.part] = process.pid
            if fault.part != "valkey":  # whose start waits until it has read its file
                process.wait_ready(serving(self._addresses[fault.part]), _READY_SECONDS)

    def mend(self, fault: Fault) -> None:
        """See `Deployment.mend`."""
        if fault.kind == "swap":
            promote(self._bundles, self._first_version, "load test over", datetime.now(UTC))
        for process in reversed(self._held.pop(fault, [])):
            if process.is_running():
                process.send_signal(signal.SIGCONT)

    def _other_version(self, fault: Fault) -> str:
        found = sorted(path.parent.name for path in self._bundles.glob(f"*/{MANIFEST}"))
        others = [version for version in found if version != self._first_version]
        if self._swap_to is not None:
            if self._swap_to not in others:
                raise FaultError(f"fault {str(fault)!r}: {self._bundles} has no other bundle {self._swap_to!r}")
            return self._swap_to
        if len(others) != 1:
            raise FaultError(
                f"fault {str(fault)!r}: {self._bundles} has {len(others)} other bundles, not one: say which"
            )
        return others[0]

    def _family(self, fault: Fault) -> list[psutil.Process]:
        """The part's process, then its children; of several ranking processes the one that would be missed most."""
        if fault.part == WORKER:
            return [max(self._workers(), key=_connections)]
        process = psutil.Process(self._pids[fault.part])
        return [process, *process.children(recursive=True)]

    def _workers(self) -> list[psutil.Process]:
        """The ranking processes on one port, by number; none where there is one process only."""
        found = {}
        for child in psutil.Process(self._pids["ranking"]).children():
            number = child.environ().get(workers.WORKER)
            if number is not None:
                found[int(number)] = child
        return [found[number] for number in sorted(found)]


def listed_parts(build: Path) -> list[Part]:
    """What `stack.json` in the folder lists; nothing where there is none."""
    listing = build / "stack.json"
    return [Part(**part) for part in json.loads(listing.read_text())] if listing.exists() else []


def _kill(family: Sequence[psutil.Process]) -> None:
    """End the first; its children end with it, and are waited for as long as a part that drains is given."""
    family[0].send_signal(signal.SIGKILL)
    deadline = time.monotonic() + _GONE_SECONDS
    while not all(map(_is_gone, family)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _connections(process: psutil.Process) -> int:
    """How many clients it serves: the one with the most is the one to miss."""
    return sum(one.status == psutil.CONN_ESTABLISHED for one in process.net_connections("tcp"))
