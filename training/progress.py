"""Progress on the terminal, and what each stage took, for the log and the manifest."""

import logging
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from rich.progress import track as _track

T = TypeVar("T")


def track(steps: Sequence[T], what: str) -> Iterable[T]:
    """Iterate with a progress bar when standard error is a terminal."""
    return _track(steps, description=what, disable=not sys.stderr.isatty())


def log_to_terminal() -> None:
    """Our own log lines from INFO, other libraries' from WARNING (the ONNX exporter tells hundreds of small things)."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for package in ("features", "training"):
        logging.getLogger(package).setLevel(logging.INFO)


@dataclass(slots=True)
class Timings:
    """Seconds and memory of a run's stages."""

    log: logging.Logger
    seconds: dict[str, float] = field(default_factory=dict)
    """Stage → wall-clock seconds."""
    peak_memory_mb: dict[str, float] = field(default_factory=dict)
    """Stage → the process's highest resident memory up to its end, MB."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage."""
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 1)
        self.peak_memory_mb[name] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
        self.log.info("%s: %.1f s, peak %.0f MB", name, self.seconds[name], self.peak_memory_mb[name])
