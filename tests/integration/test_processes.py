"""Child processes: they end with their parent, and when told to; Valkey among them."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import grpc
import psutil
import pytest
import redis
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.process import ManagedProcess, ProcessError, free_port
from services.common.valkey import ValkeyConfig, start_valkey
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
SLEEP = "import time; print('up', flush=True); time.sleep(600)"
SLEEPER = [sys.executable, "-c", SLEEP]
DEAF = [sys.executable, "-c", """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(600)
"""]  # fmt: skip
PARENT = """
import sys, time
from pathlib import Path
from services.common.process import ManagedProcess
log_path = Path(sys.argv[1])
child = ManagedProcess("child", [sys.executable, "-c", sys.argv[2]], log_path=log_path)
child.wait_ready(lambda: "up" in log_path.read_text(), 10)
print(child.pid, flush=True)
time.sleep(600)
"""
SERVICE = """
import asyncio, sys
from services.common.server import serve
from services.common.settings import ServiceSettings
asyncio.run(serve(ServiceSettings.read(), int(sys.argv[1]), lambda server: []))
print("left in order", flush=True)
"""


def says_up(process: ManagedProcess) -> Callable[[], bool]:
    return lambda: "up" in process.log()


def test_a_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PARENT, str(tmp_path / "child.log"), SLEEP]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
        parent.wait()
        wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 10.0)


def test_stop_ends_a_willing_process_by_sigterm(tmp_path: Path) -> None:
    process = ManagedProcess("sleeper", SLEEPER, log_path=tmp_path / "logs" / "sleeper.log")
    process.wait_ready(says_up(process), 10)
    assert process.exit_status is None
    assert process.stop() == -signal.SIGTERM
    assert process.stop() == -signal.SIGTERM
    assert not psutil.pid_exists(process.pid)


def test_stop_ends_a_deaf_process_by_sigkill(tmp_path: Path) -> None:
    with ManagedProcess("deaf", DEAF, log_path=tmp_path / "deaf.log") as process:
        process.wait_ready(says_up(process), 10)
        assert process.stop(grace_seconds=0.1) == -signal.SIGKILL


def test_a_process_that_ends_by_itself_is_waited_for(tmp_path: Path) -> None:
    with ManagedProcess("hasty", [sys.executable, "-c", "raise SystemExit(3)"]) as process:
        assert process.wait(10.0) == 3
    with ManagedProcess("sleeper", SLEEPER, log_path=tmp_path / "sleeper.log") as process:
        process.wait_ready(says_up(process), 10)
        with pytest.raises(ProcessError, match=r"sleeper: still runs after 0\.1 s"):
            process.wait(0.1)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(10.0) == -signal.SIGKILL


def test_the_end_of_a_with_block_stops_the_process(tmp_path: Path) -> None:
    with ManagedProcess("sleeper", SLEEPER, log_path=tmp_path / "sleeper.log") as process:
        process.wait_ready(says_up(process), 10)
    assert process.exit_status == -signal.SIGTERM


def test_a_process_that_ends_before_it_is_ready_is_reported_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such bundle')"]
    process = ManagedProcess("hasty", command, log_path=tmp_path / "hasty.log")
    with pytest.raises(ProcessError, match=r"hasty: ended with status 1\n  no such bundle"):
        process.wait_ready(lambda: False, 10)


def test_a_process_that_is_not_ready_in_time_is_reported(tmp_path: Path) -> None:
    with (
        ManagedProcess("sleeper", SLEEPER, log_path=tmp_path / "sleeper.log") as process,
        pytest.raises(ProcessError, match=r"sleeper: not ready after 0\.1 s"),
    ):
        process.wait_ready(lambda: False, 0.1)


def test_only_the_main_thread_may_start_a_process(tmp_path: Path) -> None:
    errors: list[Exception] = []

    def start() -> None:
        try:
            ManagedProcess("sleeper", SLEEPER, log_path=tmp_path / "sleeper.log").stop()
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert [str(error) for error in errors] == [
        "sleeper: only the main thread may start it, or it dies with the thread that did"
    ]


def test_a_free_port_can_be_bound() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))


def test_a_service_ends_in_order_on_sigterm(tmp_path: Path) -> None:
    port = free_port()
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}"}
    command = [sys.executable, "-c", SERVICE, str(port)]

    def healthy() -> bool:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)
            except grpc.RpcError:
                return False
            return True

    with ManagedProcess("service", command, log_path=tmp_path / "service.log", environment=environment) as process:
        process.wait_ready(healthy, 20)
        assert process.stop() == 0
    log = process.log()
    assert f'"address": "127.0.0.1:{port}"' in log
    assert log.endswith("left in order\n")


@pytest.mark.parametrize("append_fsync", ["always", "everysec"])
def test_valkey_keeps_what_it_acknowledged_when_it_is_killed(tmp_path: Path, append_fsync: str) -> None:
    config = ValkeyConfig(tmp_path, free_port(), append_fsync="always" if append_fsync == "always" else "everysec")
    with start_valkey(config) as process, redis.Redis(port=config.port) as client:
        client.xadd("events", {"item": "tea"})
        assert client.config_get("appendfsync") == {"appendfsync": append_fsync}
        os.kill(process.pid, signal.SIGKILL)
    with start_valkey(config), redis.Redis(port=config.port) as client:
        assert [fields for _, fields in client.xrange("events")] == [{b"item": b"tea"}]


def test_valkey_without_its_file_starts_empty_and_writes_nothing(tmp_path: Path) -> None:
    config = ValkeyConfig(tmp_path, free_port(), append_only=False)
    with start_valkey(config), redis.Redis(port=config.port) as client:
        client.set("tea", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["valkey.log"]


def test_valkey_listens_on_the_loopback_interface_only(tmp_path: Path) -> None:
    config = ValkeyConfig(tmp_path, free_port(), append_only=False)
    with start_valkey(config) as process:
        listening = [link.laddr for link in psutil.Process(process.pid).net_connections() if link.status == "LISTEN"]
    assert listening == [("127.0.0.1", config.port)]


def test_valkey_on_a_taken_port_is_an_error_even_though_something_answers_there(tmp_path: Path) -> None:
    config = ValkeyConfig(tmp_path / "first", free_port(), append_only=False)
    with start_valkey(config), pytest.raises(ProcessError, match=r"(?s)valkey: ended with status 1.*in use"):
        start_valkey(ValkeyConfig(tmp_path / "second", config.port, append_only=False))
