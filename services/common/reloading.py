"""A value read from files that may be replaced while the process runs: renewed certificates, added and revoked keys.

Choices: looking is a `stat` of each file, so it can be done at every connection and call, and nothing watches in the
background. Files that cannot be read keep the value that was good last, with one error in the log: a slip of the hand
must not take a running service down. Knows nothing of what the files hold.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from services.common.settings import SettingsError

logger = logging.getLogger(__name__)

T = TypeVar("T")
Stamp = tuple[int, int, int] | None
"""Time of the last change, size and inode of a file; None where there is none."""


class Reloaded(Generic[T]):
    """What `load` makes of some files as they are now. May be asked from any thread."""

    def __init__(self, paths: Sequence[Path], load: Callable[[], T]) -> None:
        """Load for the first time.

        Raises:
            SettingsError: what `load` finds wrong; later it is logged instead.
        """
        self._paths, self._load = tuple(paths), load
        self._stamps = self._look()
        self._value = load()

    def current(self) -> T:
        """The value, loaded anew if a file has changed."""
        self.changed()
        return self._value

    def changed(self) -> T | None:
        """The new value if a file has changed since the last look, else None."""
        # Looked at before they are read: a file replaced meanwhile is seen at the next look, not missed.
        stamps = self._look()
        if stamps == self._stamps:
            return None
        self._stamps = stamps
        try:
            self._value = self._load()
        except SettingsError as error:
            logger.error("kept what was read before", extra={"reason": str(error)})
            return None
        logger.info("read again", extra={"files": [str(path) for path in self._paths]})
        return self._value

    def _look(self) -> tuple[Stamp, ...]:
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
