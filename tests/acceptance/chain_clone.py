"""Lines 1 and 2: the two commands, in a clean clone with environments of its own."""

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import psutil

from tests.acceptance.rows import Row, at_least, at_most, holds

CLONE = Path("build/accept/clone")
_SAMPLE_SECONDS = 0.25


def demo() -> list[Row]:
    """Line 1: `make demo-once`, twice."""
    shutil.rmtree(CLONE, ignore_errors=True)
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ".", str(CLONE)], check=True)  # noqa: S607
    first = watch(["make", "demo-once"])
    second = watch(["make", "demo-once"])
    return [
        at_most("demo_once_seconds", first.seconds, 600.0),
        at_most("demo_once_largest_process_gb", first.largest_process_gb, 4.0),
        at_most("second_demo_once_seconds", second.seconds, 30.0),
        holds("no_process_left_behind", value=not left_behind()),
    ]


def test_suite() -> list[Row]:
    """Line 2: `make test` in the same clone."""
    if not CLONE.exists():
        subprocess.run(["git", "clone", "-q", "--no-hardlinks", ".", str(CLONE)], check=True)  # noqa: S607
    run = watch(["make", "test"])
    total = subprocess.run(
        [".venv/bin/coverage", "report", "--format=total"], cwd=CLONE, capture_output=True, text=True, check=False
    )
    return [
        at_most("make_test_seconds", run.seconds, 900.0),
        at_least("branch_coverage_percent", float(total.stdout), 85.0),
    ]


class Watched:
    """One finished command: how long it took and the resident memory of its largest process."""

    seconds: float
    largest_process_gb: float = 0.0


def watch(command: list[str]) -> Watched:
    """Run a command in the clone with an environment that this checkout does not shine through.

    Raises:
        CalledProcessError: if it fails.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AISLE_", "MAKE", "MFLAGS", "PROMETHEUS_"))
    }
    watched = Watched()
    started = time.monotonic()
    with subprocess.Popen(command, cwd=CLONE, env={**environment, "CI": "true"}) as process:
        over = threading.Event()
        sampler = threading.Thread(target=_sample, args=(process.pid, watched, over))
        sampler.start()
        status = process.wait()
        watched.seconds = round(time.monotonic() - started, 1)
        over.set()
        sampler.join()
    if status:
        raise subprocess.CalledProcessError(status, command)
    return watched


def _sample(pid: int, watched: Watched, over: threading.Event) -> None:
    root = psutil.Process(pid)
    while not over.wait(_SAMPLE_SECONDS):
        try:
            family = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in family:
            try:
                resident = process.memory_info().rss / 1e9
            except psutil.NoSuchProcess:
                continue
            watched.largest_process_gb = round(max(watched.largest_process_gb, resident), 2)


def left_behind() -> list[int]:
    """Processes that still work in the clone."""
    folder = CLONE.resolve()
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found
