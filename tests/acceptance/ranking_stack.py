"""The whole stack for measuring: servers on one half of the cores, the caller on the other."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
from aisle.v1 import recommendation_service_pb2 as messages
from grpc_health.v1 import health_pb2, health_pb2_grpc

from features.adapters import load
from services.common.process import ManagedProcess, free_port
from services.stack import Stack, StackConfig, running_stack

DATA = "complete-journey"
FOR_YOU = messages.PLACEMENT_RECOMMENDED_FOR_YOU
LOGS = Path("build/logs")
READY_SECONDS = 60.0


@contextmanager
def pinned_stack(*, back_ends_anywhere: bool = False, **changes: Any) -> Iterator[Stack]:
    """The default bundle's stack on the first half of the cores; this process moves to the second half meanwhile.

    Args:
        back_ends_anywhere: whether Triton and Valkey may use all cores, as where they have machines of their own.
        changes: fields of `StackConfig`; without `live`, nothing is taken in.
    """
    before = os.sched_getaffinity(0)
    servers, caller = halves()
    config: dict[str, Any] = {"data": DATA, "ranking_port": 0, "live": False} | changes
    os.sched_setaffinity(0, servers)  # what the children inherit
    try:
        with running_stack(StackConfig(**config)) as stack:
            os.sched_setaffinity(0, caller)
            if back_ends_anywhere:
                for name in ("triton", "valkey"):
                    _move(psutil.Process(stack.processes[name].pid), servers | caller)
            yield stack
    finally:
        os.sched_setaffinity(0, before)


def restart_pinned(stack: Stack, name: str, *, anywhere: bool = False) -> None:
    """Start a part again, on the servers' cores or on all."""
    servers, caller = halves()
    os.sched_setaffinity(0, servers | caller if anywhere else servers)
    try:
        stack.restart(name)
    finally:
        os.sched_setaffinity(0, caller)


def _move(process: psutil.Process, cores: set[int]) -> None:
    """A process, its threads and its children to other cores."""
    for member in (process, *process.children(recursive=True)):
        for thread in member.threads():
            os.sched_setaffinity(thread.id, cores)


@contextmanager
def reference_server(kind: str) -> Iterator[tuple[str, psutil.Process]]:
    """One of `benchmarks.reference_servers` on the servers' cores: its address and its process."""
    port, (servers, _) = free_port(), halves()
    command = [sys.executable, "-m", "benchmarks.reference_servers", kind, str(port)]
    with ManagedProcess(kind, command, log_path=LOGS / f"{kind}.log") as process:
        os.sched_setaffinity(process.pid, servers)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(READY_SECONDS)
        yield f"127.0.0.1:{port}", psutil.Process(process.pid)


def halves() -> tuple[set[int], set[int]]:
    """The cores of this machine for servers and for the caller; the same ones where there is only one."""
    cores = sorted(range(os.cpu_count() or 1))
    middle = len(cores) // 2
    return set(cores[:middle] or cores), set(cores[middle:])


def shoppers() -> list[str]:
    """All shoppers of the default data."""
    ids: list[str] = load(DATA, Path("build/data")).users["user_id"].to_list()
    return ids


def home_pages(user_ids: Sequence[str]) -> Iterator[messages.RecommendRequest]:
    """Requests for the home page's list of twenty, shopper after shopper, for ever."""
    while True:
        for user_id in user_ids:
            yield messages.RecommendRequest(placement=FOR_YOU, user_id=user_id, page_size=20)


def cpu_seconds(process: psutil.Process) -> float:
    """What the process has computed so far, in user and in kernel mode."""
    times = process.cpu_times()
    return float(times.user + times.system)


def is_serving(address: str) -> bool:
    """Whether the whole server says SERVING."""
    with grpc.insecure_channel(address) as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1.0)
        except grpc.RpcError:
            return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
