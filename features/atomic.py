"""Files that are there whole or not at all, whatever happens to the process that writes them.

Choices:
- A file is written under a name of its own beside its place, flushed to disk and renamed; then the folder is flushed,
  so that what was reported as written outlives a loss of power.
- Who writes holds a shared lock of the folder for as long as that takes, who clears up holds it alone: what is left
  over from a killed process is removed, what another one is still writing is not.

Knows nothing of what is in a file. Locks are the operating system's and end with their process.
"""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LEFTOVERS = ".*.tmp"


def write_atomically(path: Path, write: Callable[[Path], object]) -> Path:
    """Write or replace a file in one step.

    Args:
        path: Where it is to stand; its folder is made if absent.
        write: Is given the unfinished file's path and fills it.

    Returns:
        `path`.
    """
    make_folder(path.parent)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    with locked(path.parent, shared=True):
        try:
            write(unfinished)
            _flush(unfinished)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        _flush(path.parent)
    return path


def remove_files(folder: Path, paths: list[Path]) -> None:
    """Remove files of one folder, durably; one that is gone already is no error."""
    for path in paths:
        path.unlink(missing_ok=True)
    if paths:
        _flush(folder)


def is_unfinished(path: Path) -> bool:
    """Whether `write_atomically` calls a file so for as long as it is not in its place."""
    return path.match(_LEFTOVERS)


def remove_leftovers(folder: Path) -> int:
    """Remove what interrupted `write_atomically` calls left in a folder; waits for those that are at work.

    Returns:
        How many files that were.
    """
    with locked(folder):
        leftovers = list(folder.glob(_LEFTOVERS))
        remove_files(folder, leftovers)
    return len(leftovers)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably; one that exists is no error."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _flush(folder.parent)


@contextmanager
def locked(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a folder alone, or together with others that share it; waits for whoever stands in the way."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # also unlocks


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold a file that is there for nothing else; it is made if absent and stays. Waits for whoever holds it."""
    make_folder(lock.parent)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # also unlocks


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
