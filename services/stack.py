"""The whole suite on one machine: `python -m services.stack --data complete-journey`.

Valkey, Triton, the retrieval, ranking and ingest services and the updater as child processes, and the jobs that fill
the online store. All of them die with this process. `build/stack.json` says where each one is.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.process import ManagedProcess, ProcessError, free_port
from services.common.valkey import Fsync, ValkeyConfig, start_valkey

_READY_SECONDS = 90.0
_MODULES = {"updater": "services.ingest.updater"}
"""Where a part's module is not called as the part is."""
_UPDATER_PORT = "AISLE_UPDATER_PORT"
_FREE_PORTS = ("valkey", "triton", "triton_http", "triton_metrics", "retrieval")


@dataclass(frozen=True, kw_only=True, slots=True)
class StackConfig:
    """What runs and where. Ports are on the loopback interface; 0 takes a free one."""

    data: str
    """Where the shoppers' histories come from: ADAPTER or ADAPTER:DIR."""
    bundles: Path = Path("bundles")
    build: Path = Path("build")
    """Folder for prepared data, the stores' files and the logs."""
    data_cache: Path | None = None
    """Folder for prepared data alone; default: in `build`."""
    triton_venv: Path = Path(".venv-triton")
    ranking_port: int = 8010
    """The ingest service has the port two above."""
    live: bool = True
    """Whether events and catalogue changes are taken in: the ingest service and the updater."""
    clock: str = "bundle"
    append_fsync: Fsync = "everysec"
    """When an acknowledged event is on the disk: at once, or within a second."""
    remote_index: bool = False
    """Whether the ranking service asks the retrieval service rather than an index of its own."""
    ranking_processes: int | None = None
    """How many share the ranking port; default: what the environment says, or one."""
    updaters: int = 1
    """Processes that share the shards: `updater`, `updater-2`, …"""


@dataclass(frozen=True, slots=True)
class Part:
    """One running process, as `stack.json` lists it."""

    name: str
    pid: int
    address: str
    log: str


class Stack:
    """The running processes by name."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self.processes: dict[str, ManagedProcess] = {}
        self.addresses: dict[str, str] = {}
        self._starts: dict[str, Callable[[], ManagedProcess]] = {}

    def start(self, name: str, start: Callable[[], ManagedProcess], address: str) -> None:
        """Start a process and take it in."""
        self.processes[name] = start()
        self.addresses[name] = address
        self._starts[name] = start

    def restart(self, name: str) -> None:
        """Start a part again, with the same settings and at the same address; ends what is left of it."""
        self.stop(name)
        self.processes[name] = self._starts[name]()

    def stop(self, name: str) -> None:
        """Stop a part; harmless when it has ended before."""
        self.processes[name].stop()

    def parts(self) -> list[Part]:
        """What `stack.json` holds."""
        return [
            Part(name, process.pid, self.addresses[name], str(process.log_path))
            for name, process in self.processes.items()
        ]


@contextlib.contextmanager
def running_stack(config: StackConfig) -> Iterator[Stack]:
    """Start everything, wait until it is ready, and stop it in reverse order on leaving.

    Raises:
        ProcessError: a part ended or was not ready in time; the message ends with its log.
    """
    stack = Stack()
    with contextlib.ExitStack() as stopping:
        ports = {name: free_port() for name in (*_FREE_PORTS, *_updaters(config))}
        first = config.ranking_port
        ports |= {"ranking": first or free_port(), "ingest": first + 2 if first else free_port()}
        _start(stack, config, ports, stopping)
        for job in _jobs(config, stack.addresses["valkey"]):
            stopping.callback(job.stop)
            job.wait_ready(partial(_has_succeeded, job), _READY_SECONDS)
        for name in _servers(config):
            stack.processes[name].wait_ready(serving(stack.addresses[name]), _READY_SECONDS)
        listing = config.build / "stack.json"
        listing.write_text(json.dumps([asdict(part) for part in stack.parts()], indent=2) + "\n")
        stopping.callback(listing.unlink, missing_ok=True)
        yield stack


def _start(stack: Stack, config: StackConfig, ports: dict[str, int], stopping: contextlib.ExitStack) -> None:
    def take(name: str, start: Callable[[], ManagedProcess]) -> None:
        stack.start(name, start, f"127.0.0.1:{ports[name]}")
        stopping.callback(stack.stop, name)

    valkey = ValkeyConfig(config.build / "valkey", ports["valkey"], append_fsync=config.append_fsync)
    take("valkey", partial(start_valkey, valkey))
    environment = _environment(config, ports)
    for name in ("triton", *_servers(config)):
        module = _MODULES.get(name.partition("-")[0], f"services.{name}")
        own = environment | {_UPDATER_PORT: str(ports[name])} if name.startswith("updater") else environment
        command, log_path = [sys.executable, "-m", module], config.build / "logs" / f"{name}.log"
        take(name, partial(ManagedProcess, name, command, log_path=log_path, environment=own))


def _environment(config: StackConfig, ports: dict[str, int]) -> dict[str, str]:
    """What the services read; one thread each for the numerics, since every service answers many calls side by side."""
    remote = {"AISLE_RETRIEVAL_ADDRESS": f"127.0.0.1:{ports['retrieval']}"} if config.remote_index else {}
    several = {"AISLE_RANKING_PROCESSES": str(config.ranking_processes)} if config.ranking_processes else {}
    return {
        **os.environ,
        **remote,
        **several,
        "OMP_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
        "AISLE_BUNDLES": str(config.bundles),
        "AISLE_CLOCK": config.clock,
        "AISLE_REDIS": f"127.0.0.1:{ports['valkey']}",
        "AISLE_FEAST_DIR": str(config.build / "feast"),
        "AISLE_OFFLINE_DIR": str(config.build / "offline"),
        "AISLE_TRITON_VENV": str(config.triton_venv),
        "AISLE_TRITON_WORK_DIR": str(config.build / "triton"),
        "AISLE_TRITON_GRPC_PORT": str(ports["triton"]),
        "AISLE_TRITON_HTTP_PORT": str(ports["triton_http"]),
        "AISLE_TRITON_METRICS_PORT": str(ports["triton_metrics"]),
        "AISLE_TRITON_ADDRESS": f"127.0.0.1:{ports['triton']}",
        "AISLE_RETRIEVAL_PORT": str(ports["retrieval"]),
        "AISLE_RANKING_PORT": str(ports["ranking"]),
        "AISLE_INGEST_PORT": str(ports["ingest"]),
        _UPDATER_PORT: str(ports["updater"]),
        "AISLE_LIVE_DIR": str(config.build / "live"),
        "AISLE_TRAINING_DIR": str(config.build),
    }


def _servers(config: StackConfig) -> tuple[str, ...]:
    """The parts that answer the gRPC health service."""
    return ("retrieval", "ranking", "ingest", *_updaters(config)) if config.live else ("retrieval", "ranking")


def _updaters(config: StackConfig) -> list[str]:
    return ["updater", *(f"updater-{number}" for number in range(2, config.updaters + 1))]


def _jobs(config: StackConfig, redis: str) -> Iterator[ManagedProcess]:
    """What is run to its end before the stack is ready, each begun when it is asked for."""
    live = config.build / "live"
    live.mkdir(parents=True, exist_ok=True)
    data = f"{config.data}+live:{live}" if config.live else config.data
    shared = {
        "--data": data,
        "--cache": config.data_cache or config.build / "data",
        "--bundles": config.bundles,
        "--redis": redis,
    }
    feast = {"--feast-dir": config.build / "feast", "--offline-dir": config.build / "offline"}
    yield _job(config, "features.materialise", shared | feast)
    if config.live:
        yield _job(config, "services.ingest.seed", shared | {"--live-dir": live})


def _job(config: StackConfig, module: str, options: Mapping[str, object]) -> ManagedProcess:
    name = module.rpartition(".")[2]
    words = [str(part) for pair in options.items() for part in pair]
    log_path = config.build / "logs" / f"{name}.log"
    return ManagedProcess(name, [sys.executable, "-m", module, *words], log_path=log_path)


def _has_succeeded(job: ManagedProcess) -> bool:
    return job.exit_status == 0


def serving(address: str) -> Callable[[], bool]:
    """A probe that is True once the gRPC health service says SERVING."""

    def probe() -> bool:
        with grpc.insecure_channel(address) as channel:
            try:
                reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1.0)
            except grpc.RpcError:
                return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    return probe


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m services.stack", description=__doc__)
    add_options(parser)
    options = parser.parse_args(arguments)
    try:
        with running_stack(config_of(options)) as stack:
            for part in stack.parts():
                print(f"{part.name:<12} {part.address:<22} pid {part.pid:<8} {part.log}")
            wait_for_signal()
    except ProcessError as error:
        sys.exit(f"stack: {error}")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what runs and where."""
    parser.add_argument("--data", default="complete-journey", help="ADAPTER or ADAPTER:DIR (default %(default)s)")
    parser.add_argument("--bundles", type=Path, default=Path("bundles"))
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--port", type=int, default=8010, help="of the ranking service; 0 for a free one")
    parser.add_argument("--triton-venv", type=Path, default=Path(os.environ.get("AISLE_TRITON_VENV", ".venv-triton")))


def config_of(options: argparse.Namespace) -> StackConfig:
    """What `add_options` read."""
    return StackConfig(
        data=options.data,
        bundles=options.bundles,
        build=options.build,
        triton_venv=options.triton_venv,
        ranking_port=options.port,
    )


def wait_for_signal() -> None:
    """Return at SIGTERM or Ctrl-C."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
