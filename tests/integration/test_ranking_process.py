"""`python -m services.ranking` as a process: alone on its machine, and with faults it must not start with."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from aisle.v1 import recommendation_service_pb2 as messages
from grpc_health.v1 import health_pb2, health_pb2_grpc

from features import bundle as files
from services.client import RecommendationClient
from services.common.process import ManagedProcess, ProcessError, free_port
from tests.conftest import REPOSITORY_ROOT
from tests.tiny_shop import LIMITS, write_shop_bundle

READY_SECONDS = 60.0
RESIDENT_BYTES_MAX = 700e6


def start(folder: Path, **settings: object) -> ManagedProcess:
    """The service with the bundles in `folder` and nothing behind it."""
    known = {
        "BUNDLES": folder / "bundles",
        "FEAST_DIR": folder / "feast",
        "OFFLINE_DIR": folder / "offline",
        "REDIS": f"127.0.0.1:{free_port()}",
        "TRITON_ADDRESS": f"127.0.0.1:{free_port()}",
        "STARTUP_WAIT_SECONDS": 0,
    }
    environment = {f"AISLE_{key}": str(value) for key, value in (known | settings).items()}
    return ManagedProcess(
        "ranking",
        [sys.executable, "-m", "services.ranking"],
        log_path=folder / "ranking.log",
        environment=os.environ | environment,
        working_directory=REPOSITORY_ROOT,
    )


def serving_at(address: str) -> Callable[[], bool]:
    def probe() -> bool:
        with grpc.insecure_channel(address) as channel:
            try:
                reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)
            except grpc.RpcError:
                return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    return probe


@pytest.fixture(scope="module")
def address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, address: str) -> Iterator[ManagedProcess]:
    """The service, serving."""
    folder = tmp_path_factory.mktemp("ranking")
    write_shop_bundle(folder / "bundles", seed=1)
    with start(folder, RANKING_PORT=address.rpartition(":")[2]) as running:
        running.wait_ready(serving_at(address), READY_SECONDS)
        yield running


def test_it_serves_with_nothing_behind_it_and_says_so(process: ManagedProcess, address: str) -> None:
    request = messages.RecommendRequest(
        placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU, user_id="user-1", page_size=100
    )
    with RecommendationClient(address, timeout_seconds=10.0) as client:
        reply = client.recommend(request)
    assert len(reply.results) == LIMITS.total
    assert {result.source for result in reply.results} == {messages.CANDIDATE_SOURCE_POPULAR}
    assert reply.degradations == [
        messages.DEGRADATION_USER_FEATURES_FALLBACK,
        messages.DEGRADATION_POPULARITY_ONLY,
    ]
    assert '"message": "serving degraded"' in process.log()


def test_it_runs_without_torch_in_less_memory_than_is_allowed(process: ManagedProcess) -> None:
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert "lightgbm" in maps
    assert "torch" not in maps
    assert psutil.Process(process.pid).memory_info().rss < RESIDENT_BYTES_MAX


def test_it_leaves_in_order_when_told_to(process: ManagedProcess) -> None:
    """The last one of those that share the process."""
    assert process.stop() == 0
    assert '"message": "stopping"' in process.log()


def test_a_bundle_with_one_flipped_byte_is_refused_by_the_files_name(tmp_path: Path) -> None:
    path = write_shop_bundle(tmp_path / "bundles", seed=1).path(files.RANKER)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with start(tmp_path) as damaged, pytest.raises(ProcessError, match=rf"status 1\n.*ranking: {path}: sha256 differs"):
        damaged.wait_ready(lambda: False, READY_SECONDS)


def test_a_setting_that_cannot_be_is_refused_by_its_key(tmp_path: Path) -> None:
    words = r"status 1\n.*ranking: AISLE_FEATURES_TIMEOUT_MS: Input should be greater than 0 \(is '-1'\)"
    with start(tmp_path, FEATURES_TIMEOUT_MS=-1) as refused, pytest.raises(ProcessError, match=words):
        refused.wait_ready(lambda: False, READY_SECONDS)
