"""A real Triton server on this machine, as a child process, for the cpu target.

Choices: models are loaded by name only (explicit mode); the interface that loads them is on the loopback interface,
whatever address the others listen on, so that nobody else can; shared memory carries
the gRPC port in its name, so that what a killed server left behind is swept by the next one on that port. Knows nothing
of bundles.
"""

import http.client
import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from services.common.process import ManagedProcess, ProcessError, free_port
from services.triton.environment import TritonEnvironment, find_environment, prepare_backends

logger = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
_CONNECTION_AGE_MS, _CONNECTION_GRACE_MS = 300_000, 10_000
"""After how long a client must connect anew, so that it finds new servers, and how long its calls then may take."""
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the kernel's own place, not a folder for temporary files


class _CrashedError(ProcessError):
    """A signal ended the server before it was ready."""


@dataclass(frozen=True, slots=True)
class TritonPorts:
    """Where it listens; 0 for a free one."""

    grpc: int = 0
    http: int = 0
    metrics: int = 0


class EmbeddedTriton(ManagedProcess):
    """A running server that answers; ends like every managed process, and leaves no shared memory."""

    grpc_address: str
    """`host:port` for clients."""
    http_address: str
    """`host:port` of the HTTP interface: health, and loading and unloading of models."""
    metrics_address: str
    """`host:port` of the Prometheus exporter (`/metrics`)."""

    def __init__(
        self,
        command: Sequence[str | Path],
        environment: TritonEnvironment,
        ports: TritonPorts,
        host: str,
        log_path: Path,
    ) -> None:
        """Start the server; it is not ready yet."""
        self.grpc_address = f"{host}:{ports.grpc}"
        self.http_address = f"{_LOOPBACK}:{ports.http}"
        self.metrics_address = f"{host}:{ports.metrics}"
        self._prefix = shared_memory_prefix(ports.grpc)
        sweep_shared_memory(self._prefix)
        super().__init__("triton", command, log_path=log_path, environment=environment.variables)

    def stop(self, grace_seconds: float = 10.0) -> int:
        """End the server, then those of its stubs that did not follow, then what is left in shared memory."""
        status = super().stop(grace_seconds)
        # A stub that waits for a lock in shared memory when its server is killed waits for ever.
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        sweep_shared_memory(self._prefix)
        return status


def start_triton(
    repository: Path,
    models: Sequence[str],
    work_dir: Path,
    venv: Path,
    *,
    ports: TritonPorts = TritonPorts(),
    host: str = _LOOPBACK,
    timeout_seconds: float = 60.0,
) -> EmbeddedTriton:
    """Start Triton and wait until all `models` are loaded and warmed up and every address is listened on.

    Args:
        repository: Model repository of the cpu target.
        models: Names to load; others can be loaded and unloaded later.
        work_dir: Folder for the backend directory and the log `triton.log`; made if missing.
        venv: The virtual environment that holds Triton.
        ports: Where it listens.
        host: Address of the gRPC port and of the metrics.
        timeout_seconds: How long a start may take; two real towers take 3 s on two idle cores.

    Raises:
        TritonEnvironmentError: `venv` has no Triton that runs.
        ProcessError: A port is taken, the server ended (a model does not load) or was not ready in time.
    """
    environment = find_environment(venv)
    ports = TritonPorts(*(port or free_port() for port in (ports.grpc, ports.http, ports.metrics)))
    _require_unused(ports, host)
    backends = work_dir.resolve() / "backends"
    prepare_backends(environment, backends)
    server_id = f"aisle-{os.getpid()}-{ports.grpc}"
    flags = [f"--id={server_id}", *_flags(repository.resolve(), models, backends), *_port_flags(ports, host)]
    command: list[str | Path] = [environment.server, *flags]
    try:
        return _started(command, environment, ports, host, work_dir / "triton.log", server_id, timeout_seconds)
    except _CrashedError as crash:
        # Rarely a mutex in shared memory fails while models load, and the server aborts (boost's lock_exception).
        logger.warning("crashed at start, trying once more: %s", crash)
        return _started(command, environment, ports, host, work_dir / "triton.log", server_id, timeout_seconds)


def shared_memory_prefix(grpc_port: int) -> str:
    """How the names of the segments begin that the server on this port makes."""
    return f"aisle-triton-{grpc_port}-"


def sweep_shared_memory(prefix: str) -> None:
    """Remove the segments whose names begin with `prefix`."""
    for segment in _SHARED_MEMORY.glob(f"{prefix}*"):
        segment.unlink(missing_ok=True)


def _started(
    command: Sequence[str | Path],
    environment: TritonEnvironment,
    ports: TritonPorts,
    host: str,
    log_path: Path,
    server_id: str,
    timeout_seconds: float,
) -> EmbeddedTriton:
    triton = EmbeddedTriton(command, environment, ports, host, log_path)
    try:
        triton.wait_ready(_is_ready(ports, host, server_id), timeout_seconds)
    except ProcessError as error:
        status = triton.exit_status
        triton.stop()
        if status is not None and status < 0:
            raise _CrashedError(str(error)) from error
        raise
    except BaseException:
        triton.stop()
        raise
    return triton


def _require_unused(ports: TritonPorts, host: str) -> None:
    # Before the sweep, which must not touch the segments of a server that is alive.
    for kind, port in asdict(ports).items():
        address = _address(kind, host)
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((address, port))
            except OSError as error:
                raise ProcessError(f"triton: {kind} port {port} on {address}: {error.strerror}") from error


def _flags(repository: Path, models: Sequence[str], backends: Path) -> list[str]:
    return [
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        "--model-control-mode=explicit",
        *(f"--load-model={model}" for model in models),
        "--disable-auto-complete-config",  # ours are complete
        f"--grpc-max-connection-age={_CONNECTION_AGE_MS}",
        f"--grpc-max-connection-age-grace={_CONNECTION_GRACE_MS}",
        "--backend-config=python,stub-timeout-seconds=60",  # a busy machine needs its time to import ONNX Runtime
        "--allow-gpu-metrics=false",
    ]


def _address(kind: str, host: str) -> str:
    return _LOOPBACK if kind == "http" else host


def _port_flags(ports: TritonPorts, host: str) -> list[str]:
    flags = [f"--backend-config=python,shm-region-prefix-name={shared_memory_prefix(ports.grpc)}"]
    for kind, port in asdict(ports).items():
        flags += [f"--{kind}-address={_address(kind, host)}", f"--{kind}-port={port}"]
    return flags


def _is_ready(ports: TritonPorts, host: str, server_id: str) -> Callable[[], bool]:
    """A probe that is True once this server, and no other one on its port, has loaded its models and listens on all."""

    def probe() -> bool:
        connection = http.client.HTTPConnection(_LOOPBACK, ports.http, timeout=1.0)
        try:
            connection.request("GET", "/v2")
            if json.load(connection.getresponse()).get("name") != server_id:
                return False
            connection.request("GET", "/v2/health/ready")
            loaded = connection.getresponse().status == http.HTTPStatus.OK
            return loaded and _listens(host, ports.metrics)  # the last one that Triton opens
        except (OSError, http.client.HTTPException, ValueError):  # not listening yet
            return False
        finally:
            connection.close()

    return probe


def _listens(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=1.0):
        return True
    return False
