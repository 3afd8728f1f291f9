"""Several processes on one port: all answer, one that dies is replaced, all end together."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
import pytest
from aisle.v1 import recommendation_service_pb2 as messages
from aisle.v1 import recommendation_service_pb2_grpc as stubs

from services.common import workers
from services.common.process import ManagedProcess, free_port

SECONDS = 30.0
_RUN = "from services.common import workers; workers._SETTLED_SECONDS = {settled}; "
_RUN += "workers.run_workers('tests.integration.small_worker', 2)"


@contextmanager
def running_workers(folder: Path, settled_seconds: float = 0.0, **environment: str) -> Iterator[ManagedProcess]:
    """Two workers below one supervisor, which counts those that lived so long as settled."""
    command = [sys.executable, "-c", _RUN.format(settled=settled_seconds)]
    with ManagedProcess(
        "supervisor", command, log_path=folder / "log", environment={**os.environ, **environment}
    ) as process:
        yield process


def answers(port: int) -> dict[str, int]:
    """Which worker answered, with its pid, over many connections."""
    found: dict[str, int] = {}
    for _ in range(20):
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
            try:
                reply = stubs.RecommendationServiceStub(channel).Recommend(messages.RecommendRequest(), timeout=2.0)
            except grpc.RpcError:
                continue
            found[reply.bundle_version] = int(reply.recommendation_id)
    return found


def test_workers_share_the_port_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    port = free_port()
    with running_workers(tmp_path, SMALL_WORKER_PORT=str(port)) as supervisor:
        supervisor.wait_ready(lambda: set(answers(port)) == {"0", "1"}, SECONDS)
        before = answers(port)
        os.kill(before["1"], signal.SIGKILL)
        supervisor.wait_ready(lambda: answers(port).get("1", before["1"]) != before["1"], SECONDS)
        after = answers(port)
        assert after["0"] == before["0"]
        family = psutil.Process(supervisor.pid).children(recursive=True)
        assert supervisor.stop() == 0
        assert not any(process.is_running() for process in family)


def test_workers_that_end_as_soon_as_they_start_end_the_whole(tmp_path: Path) -> None:
    with running_workers(tmp_path, settled_seconds=60.0, SMALL_WORKER="broken", SMALL_WORKER_PORT="1") as supervisor:
        assert supervisor.wait(SECONDS) == 1
    assert "ended with status 1 as soon as it was started" in (tmp_path / "log").read_text()


def test_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(workers.WORKER, raising=False)
    assert workers.worker_number() is None
    monkeypatch.setenv(workers.WORKER, "3")
    assert workers.worker_number() == 3
    assert workers.worker_count(4) == 4
    assert workers.worker_count(0) == len(os.sched_getaffinity(0))
