"""Progress on the terminal, silent elsewhere."""

import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.progress import track as _track

T = TypeVar("T")


def track(steps: Sequence[T] | range, what: str) -> Iterable[T]:
    """Iterate with a progress bar when standard error is a terminal."""
    return _track(steps, description=what, disable=not sys.stderr.isatty())
