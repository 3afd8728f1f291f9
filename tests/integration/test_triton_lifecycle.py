"""The server as a process: killed, restarted, orphaned, refused."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from services.common.process import ProcessError
from services.common.scorer import ScorerUnavailable, TritonScorer
from services.common.towers import TowerModels
from services.triton import embedded
from services.triton.embedded import EmbeddedTriton, TritonPorts, shared_memory_prefix, start_triton
from services.triton.environment import find_environment
from services.triton.repository import build_repository
from tests.contracts.test_scorer import a_history
from tests.integration.conftest import REPOSITORY_ROOT, TRITON_VENV
from tests.tiny_bundle import write_tiny_bundle
from tests.waiting import wait_until

MODELS = TowerModels.of_version("tiny.1")
SECONDS = 20.0

ORPHANS_PARENT = """
import sys
from pathlib import Path
from services.triton.embedded import start_triton
repository, work_dir, venv, model = sys.argv[1:]
triton = start_triton(Path(repository), [model], Path(work_dir), Path(venv))
print(triton.pid, triton.grpc_address, flush=True)
sys.stdin.read()
"""

LATE_METRICS = """
import http.server, json, sys
flags = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:] if "=" in argument)
class Health(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"name": flags["id"]}).encode())
        Health.asked += self.path.endswith("/ready")
        if Health.asked == 3:
            Health.metrics = http.server.HTTPServer((flags["metrics-address"], int(flags["metrics-port"])), Health)
http.server.HTTPServer((flags["http-address"], int(flags["http-port"])), Health).serve_forever()
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write_tiny_bundle(tmp_path / "bundle", "tiny.1", seed=1)
    build_repository(tmp_path / "bundle", "cpu", tmp_path / "repository")
    return tmp_path / "repository"


def start(repository: Path, port: int = 0) -> EmbeddedTriton:
    models = [MODELS.text, MODELS.interest]
    return start_triton(repository, models, repository.parent / "work", TRITON_VENV, ports=TritonPorts(grpc=port))


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def segments(port: int) -> list[Path]:
    return list(Path("/dev/shm").glob(f"{shared_memory_prefix(port)}*"))  # noqa: S108


async def test_a_killed_server_is_an_error_at_once_and_its_successor_on_the_port_is_found(repository: Path) -> None:
    with start(repository) as first:
        port = port_of(first.grpc_address)
        scorer = TritonScorer(first.grpc_address, MODELS)
        await scorer.interest_vectors(*a_history(5), timeout_seconds=10.0)
        os.kill(first.pid, signal.SIGKILL)
        wait_until(lambda: first.exit_status is not None, SECONDS)
        started = time.monotonic()
        with pytest.raises(ScorerUnavailable) as caught:
            await scorer.interest_vectors(*a_history(5), timeout_seconds=10.0)
        assert caught.value.reason == "unavailable"
        assert time.monotonic() - started < 1.0
        assert not await scorer.ready()
    with start(repository, port) as second:
        async with asyncio.timeout(10.0):
            while not await scorer.ready():
                await asyncio.sleep(0.02)
        assert (await scorer.interest_vectors(*a_history(5), timeout_seconds=10.0)).shape == (2, 128)
        os.kill(second.pid, signal.SIGKILL)  # quicker than to ask
    await scorer.close()


def test_a_server_takes_its_children_and_its_shared_memory_with_it(repository: Path) -> None:
    with start(repository) as triton:
        port = port_of(triton.grpc_address)
        stubs = psutil.Process(triton.pid).children(recursive=True)
        assert len(stubs) == 2
        assert len(segments(port)) == 2
    assert triton.exit_status == 0
    assert segments(port) == []
    wait_until(lambda: not any(stub.is_running() for stub in stubs), SECONDS)


def test_a_stub_that_hangs_when_its_server_is_killed_is_ended_at_the_stop(repository: Path) -> None:
    with start(repository) as triton:
        stubs = psutil.Process(triton.pid).children()
        stubs[0].suspend()
        os.kill(triton.pid, signal.SIGKILL)
    wait_until(lambda: not any(stub.is_running() for stub in stubs), SECONDS)


def test_a_server_writes_nothing_outside_its_folder_and_connects_to_nobody(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = repository.parent / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("CI", raising=False)  # under it ONNX Runtime keeps silent by itself
    with start(repository) as triton:
        server = psutil.Process(triton.pid)
        connections = [line for process in (server, *server.children()) for line in process.net_connections("inet")]
        assert [line for line in connections if line.raddr and not line.raddr.ip.endswith("127.0.0.1")] == []
    assert list(home.rglob("*")) == []


def test_shared_memory_that_a_killed_server_left_is_swept_by_its_successor_and_at_its_stop(repository: Path) -> None:
    first = start(repository)
    port = port_of(first.grpc_address)
    for process in (*psutil.Process(first.pid).children(), psutil.Process(first.pid)):
        process.kill()
    wait_until(lambda: first.exit_status is not None, SECONDS)
    left = segments(port)
    assert len(left) == 2
    with start(repository, port) as second:
        assert not set(left) & set(segments(port))
        for process in (*psutil.Process(second.pid).children(), psutil.Process(second.pid)):
            process.kill()
    assert segments(port) == []
    first.stop()


def test_a_server_dies_with_its_parent(repository: Path) -> None:
    arguments = [repository, repository.parent / "work", TRITON_VENV, MODELS.interest]
    with subprocess.Popen(
        [sys.executable, "-c", ORPHANS_PARENT, *map(str, arguments)],
        cwd=REPOSITORY_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid, address = parent.stdout.readline().split()
        server = psutil.Process(int(pid))
        stubs = server.children(recursive=True)
        assert len(stubs) == 1
        parent.kill()
    wait_until(lambda: not any(process.is_running() for process in (server, *stubs)), SECONDS)
    assert segments(port_of(address)) == []


def test_a_port_that_is_taken_is_named(repository: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ProcessError, match=f"grpc port {port} on 127.0.0.1: Address already in use"):
            start(repository, port)


def test_it_listens_where_it_is_told_to_but_loads_models_for_this_machine_alone(repository: Path) -> None:
    work = repository.parent / "work"
    with start_triton(repository, [MODELS.interest], work, TRITON_VENV, host="127.0.0.2") as triton:
        assert triton.grpc_address.startswith("127.0.0.2:")
        connections = psutil.Process(triton.pid).net_connections("tcp")
        listening = {(one.laddr.ip.removeprefix("::ffff:"), one.laddr.port) for one in connections if not one.raddr}
        addresses = (triton.grpc_address, triton.metrics_address, triton.http_address)
        assert listening == {(address.partition(":")[0], port_of(address)) for address in addresses}
        assert triton.http_address.startswith("127.0.0.1:")


def test_a_server_is_started_only_when_its_metrics_can_be_read(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = tmp_path / "tritonserver"
    late.write_text(f"#!{sys.executable}\n{LATE_METRICS}")
    late.chmod(0o755)
    monkeypatch.setattr(embedded, "find_environment", lambda venv: replace(find_environment(venv), server=late))
    with start(repository) as triton:
        host, _, port = triton.metrics_address.partition(":")
        socket.create_connection((host, int(port)), timeout=SECONDS).close()


def test_a_model_that_does_not_load_ends_the_start_with_the_reason(repository: Path) -> None:
    (repository / MODELS.text / "1" / "tokenizer.json").unlink()
    with pytest.raises(ProcessError, match="load failed for model 'text_tower_tiny_1'"):
        start_triton(repository, [MODELS.text], repository.parent / "work", TRITON_VENV)


@pytest.mark.parametrize(("crashes", "starts"), [(1, True), (2, False)])
def test_a_server_that_crashes_at_its_start_is_started_once_more(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crashes: int, starts: bool
) -> None:
    real = find_environment(TRITON_VENV)
    wrapper = tmp_path / "tritonserver"
    count = f'echo >> {tmp_path}/starts; [ "$(wc -l < {tmp_path}/starts)" -gt {crashes} ] || kill -ABRT $$'
    wrapper.write_text(f'#!/bin/sh\n{count}\nexec {real.server} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr(embedded, "find_environment", lambda _venv: replace(real, server=wrapper))
    if starts:
        with start(repository) as triton:
            os.kill(triton.pid, signal.SIGKILL)
    else:
        with pytest.raises(ProcessError, match="ended with status -6"):
            start(repository)
    assert len((tmp_path / "starts").read_text().splitlines()) == 2
