"""Child processes that die with their parent.

Choices: the kernel's parent-death signal (`PR_SET_PDEATHSIG`), set by a tiny Python program that then becomes the
child, because code between fork and exec is unsafe in a process with threads. The kernel ties the signal to the
*thread* that spawned the child, so children are spawned by the main thread only. Each child has a session of its own:
Ctrl-C reaches the parent alone, which stops its children in order. Linux only. Knows nothing of what it starts.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_POLL_SECONDS = 0.02

# argv: death signal, the parent's pid, command... The second check closes the gap between fork and prctl, in which the
# parent may have died unnoticed. -I -S: no site-packages, 10 ms instead of 60.
_LAUNCHER = (sys.executable, "-I", "-S", "-c")
_LAUNCHER_CODE = """
import ctypes, os, sys
PR_SET_PDEATHSIG = 1
if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(sys.argv[1]), 0, 0, 0):
    sys.exit("prctl: " + os.strerror(ctypes.get_errno()))
if os.getppid() != int(sys.argv[2]):
    sys.exit("the parent is gone")
os.execvp(sys.argv[3], sys.argv[3:])
"""


class ProcessError(Exception):
    """A child process ended, or did not become ready, before it should; the message ends with the tail of its log."""


class ManagedProcess:
    """A running child process; ends with its parent, at `stop`, or at the end of a `with` block."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log_path: Path | None = None,
        environment: Mapping[str, str] | None = None,
        working_directory: Path | None = None,
        death_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Starts the process.

        Args:
            name: what it is called in messages.
            command: program and arguments; the program is looked up in PATH.
            log_path: file that its output is appended to, missing folders being made; default: it shares ours.
            environment: its whole environment; default: that of this process.
            working_directory: default: that of this process.
            death_signal: what the kernel sends it when this process dies.

        Raises:
            RuntimeError: called by another thread than the main one, with which the child would die.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(f"{name}: only the main thread may start it, or it dies with the thread that did")
        self.name = name
        self.log_path = log_path
        launcher = [*_LAUNCHER, _LAUNCHER_CODE, str(int(death_signal)), str(os.getpid())]
        with _opened(log_path) as log:
            self._popen = subprocess.Popen(  # noqa: S603 - the callers are our own modules
                [*launcher, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT if log else None,
                env=None if environment is None else dict(environment),
                cwd=working_directory,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs; its exit status; or minus the signal that ended it."""
        return self._popen.poll()

    def wait_ready(self, probe: Callable[[], bool], timeout_seconds: float) -> None:
        """Returns as soon as `probe` does so with True; it is called every 20 ms.

        Raises:
            ProcessError: the process ended, or the time is over.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            status = self.exit_status  # before the probe, which may wait for the end itself
            if probe():
                return
            if status is not None:
                raise ProcessError(f"{self.name}: ended with status {status}{self._log_tail()}")
            if time.monotonic() > deadline:
                raise ProcessError(f"{self.name}: not ready after {timeout_seconds} s{self._log_tail()}")
            time.sleep(_POLL_SECONDS)

    def wait(self, timeout_seconds: float) -> int:
        """Returns when it has ended by itself.

        Returns:
            Its exit status, or minus the signal that ended it.

        Raises:
            ProcessError: the time is over.
        """
        try:
            return self._popen.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"{self.name}: still runs after {timeout_seconds} s{self._log_tail()}") from None

    def stop(self, grace_seconds: float = 10.0) -> int:
        """Asks the process (not its children) to end, and ends it if it has not after `grace_seconds`.

        Returns:
            Its exit status, or minus the signal that ended it. Harmless when it has ended before.
        """
        self._popen.terminate()
        try:
            return self._popen.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            return self._popen.wait()

    def __enter__(self) -> Self:
        """The process itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stops it."""
        self.stop()

    def log(self) -> str:
        """What it has written so far; nothing where it shares our output."""
        return "" if self.log_path is None else self.log_path.read_text(errors="replace")

    def _log_tail(self, lines: int = 20) -> str:
        return "".join(f"\n  {line}" for line in self.log().strip().splitlines()[-lines:])


def _opened(log_path: Path | None) -> AbstractContextManager[IO[bytes] | None]:
    if log_path is None:
        return nullcontext()
    log_path.parent.mkdir(parents=True, exist_ok=True)
    return log_path.open("ab")


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now; another process may take it before it is used, so prefer port 0."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
