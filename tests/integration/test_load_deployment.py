"""Faults done to real processes: workers that are replaced, a process that is held still, a pointer that is moved."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from features.bundle import serving_path
from loadtest.deployment import LocalDeployment
from loadtest.faults import FaultError, parse_fault
from services.common.process import ManagedProcess, free_port
from services.stack import Part
from tests.second_bundle import rewritten
from tests.tiny_shop import write_shop_bundle
from tests.waiting import wait_until

SECONDS = 30.0
_RUN = "from services.common import workers; workers._SETTLED_SECONDS = 0.0; "
_RUN += "workers.run_workers('tests.integration.small_worker', 2)"


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[ManagedProcess]:
    """Two workers on one port."""
    environment = {**os.environ, "SMALL_WORKER_PORT": str(free_port())}
    with ManagedProcess(
        "workers", [sys.executable, "-c", _RUN], log_path=tmp_path / "log", environment=environment
    ) as process:
        wait_until(lambda: len(listening(process.pid)) == 2, SECONDS)
        yield process


def listening(pid: int) -> set[int]:
    """Pids of the children that listen."""
    children = psutil.Process(pid).children()
    return {child.pid for child in children if any(one.status == "LISTEN" for one in child.net_connections("tcp"))}


def deployment(bundles: Path, *parts: Part, swap_to: str | None = None) -> LocalDeployment:
    return LocalDeployment(parts, bundles, swap_to=swap_to)


def test_one_worker_is_killed_and_replaced(supervisor: ManagedProcess, tmp_path: Path) -> None:
    fault = parse_fault("kill:ranking-worker@1")
    local = deployment(tmp_path / "none", Part("ranking", supervisor.pid, "127.0.0.1:1", ""))
    local.check(fault)
    before = listening(supervisor.pid)
    local.do(fault)
    assert len(before & listening(supervisor.pid)) == 1
    wait_until(lambda: len(listening(supervisor.pid)) == 2, SECONDS)
    assert len(before & listening(supervisor.pid)) == 1


def test_what_is_held_still_goes_on(supervisor: ManagedProcess, tmp_path: Path) -> None:
    fault = parse_fault("stall:ranking@1+5")
    local = deployment(tmp_path / "none", Part("ranking", supervisor.pid, "127.0.0.1:1", ""))
    family = [psutil.Process(supervisor.pid), *psutil.Process(supervisor.pid).children()]
    local.do(fault)
    wait_until(lambda: {process.status() for process in family} == {psutil.STATUS_STOPPED}, SECONDS)
    local.undo(fault)
    wait_until(lambda: psutil.STATUS_STOPPED not in {process.status() for process in family}, SECONDS)
    assert len(family) == 3


def test_another_bundle_is_promoted_and_the_first_one_again(tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    first = write_shop_bundle(bundles, seed=1)
    fault, local = parse_fault("swap:bundle@1"), deployment(bundles)
    with pytest.raises(FaultError, match="has 0 other bundles"):
        local.check(fault)
    second = rewritten(first, bundles, "second", lambda _: None)
    local.check(fault)
    local.do(fault)
    assert serving_path(bundles).name == second.version
    local.mend(fault)
    assert serving_path(bundles).name == first.version
    with pytest.raises(FaultError, match="has no other bundle 'third'"):
        deployment(bundles, swap_to="third").check(fault)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kill:triton@1", "no 'triton' runs here, but ranking"),
        ("kill:ranking-worker@1", "ranking is one process here"),
        ("kill:ranking@1+2", r"nothing here can start ranking again; leave out '\+2'"),
    ],
)
def test_what_cannot_be_done_is_told_beforehand(text: str, said: str, tmp_path: Path) -> None:
    with ManagedProcess("sleep", ["sleep", "60"]) as process:
        local = deployment(tmp_path / "none", Part("ranking", process.pid, "127.0.0.1:1", ""))
        with pytest.raises(FaultError, match=said):
            local.check(parse_fault(text))


def test_a_process_is_killed_with_its_children_and_no_other(supervisor: ManagedProcess, tmp_path: Path) -> None:
    family = psutil.Process(supervisor.pid).children()
    with ManagedProcess("sleep", ["sleep", "60"]) as bystander:
        local = deployment(tmp_path / "none", Part("ranking", supervisor.pid, "127.0.0.1:1", ""))
        local.do(parse_fault("kill:ranking@1"))
        assert supervisor.exit_status == -9
        assert all(not process.is_running() or process.status() == psutil.STATUS_ZOMBIE for process in family)
        assert bystander.exit_status is None
