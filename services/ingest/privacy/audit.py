"""The audit log: one line for everything done to a single shopper's data, or to data by its age.

Choices: JSON Lines in `<live folder>/audit.jsonl`; a line is on the disk before the caller is answered; several
processes may append to one file. A line holds the keyed hash of an id (features/shopper_digest.py), never the id. One
that a crash cut short is ended by the next, so that it spoils no other.

Knows nothing of what was done.
"""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from features.atomic import locked, make_folder

FILE = "audit.jsonl"


class AuditLog:
    """Appends lines; blocking, so called from a thread."""

    def __init__(self, live_dir: Path) -> None:
        """Args: live_dir: made at the first line if absent."""
        self.path = live_dir / FILE
        """The file."""

    def append(self, time: datetime, action: str, digests: Sequence[str], facts: Mapping[str, Any]) -> None:
        """One line, durable on return.

        Args:
            time: Aware instant.
            action: "purge", "export", "opt-out", "opt-in" or "retention".
            digests: Of the shopper's ids; none for what is about all shoppers.
            facts: Counts and such, as JSON can hold them.

        Raises:
            OSError: it could not be written.
        """
        line = {"time": time.astimezone(UTC).isoformat(), "action": action, "shopper": list(digests), **facts}
        make_folder(self.path.parent)
        with locked(self.path.parent):
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                _write(descriptor, _ending(descriptor) + json.dumps(line).encode() + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _ending(descriptor: int) -> bytes:
    """What ends a line that a crash cut short."""
    size = os.fstat(descriptor).st_size
    return b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
