"""What the containers of rendered manifests would run, as processes of this machine.

Choices: volumes are folders below one folder, a claim's shared by all pods that mount it; their paths in the pod are
replaced wherever a value names them. Ports are free ones, since pods have addresses of their own and processes have
not; names of services become the loopback interface. Anything else is as the manifests say, and a reference to what
they do not hold is an error. Knows no service.
"""

import base64
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from services.common.process import free_port
from tests.k8s.manifests import Object, Objects, Pods, named, of_kind

_VARIABLE = re.compile(r"\$\((\w+)\)")
_FILE_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Program:
    """What one container runs."""

    name: str
    words: list[str]
    environment: dict[str, str]


class Machine:
    """This machine in place of a cluster."""

    def __init__(self, objects: Objects, folder: Path, claims: Mapping[str, Path], paths: Mapping[str, Path]) -> None:
        """Nothing runs yet.

        Args:
            objects: the manifests.
            folder: where volumes are made.
            claims: folders for persistent volume claims that hold something already.
            paths: parts of images that lie elsewhere here.
        """
        self._objects = objects
        self._folder = folder
        self._claims = claims
        self._paths = paths
        self._ports: dict[tuple[str, int], int] = {}

    def port(self, pods: str, port: int) -> int:
        """This machine's port for one of a pod's."""
        return self._ports.setdefault((pods, port), free_port())

    def program(self, pods: Pods, container: Object) -> Program:
        """What a container runs, by the manifests."""
        mounts = {mount["mountPath"]: self._volume(pods, mount["name"]) for mount in container.get("volumeMounts", ())}
        told = self._environment(container)
        listening = {str(port["containerPort"]) for port in container.get("ports", ())}

        def here(text: str) -> str:
            if text in listening:
                return str(self.port(pods.name, int(text)))
            return self._addresses(_paths(text, mounts | dict(self._paths)))

        words = [*container["command"], *container.get("args", ())]
        words = [here(_VARIABLE.sub(lambda found: told[found[1]], word)) for word in words]
        environment = {name: here(value) for name, value in told.items()}
        own = {name: value for name, value in os.environ.items() if not name.startswith("AISLE_")}
        temporary = {"TMPDIR": str(mounts["/tmp"])} if "/tmp" in mounts else {}  # noqa: S108 - the pod's
        if words[0] == "python":
            words[0] = sys.executable
        return Program(f"{pods.name}-{container['name']}", words, own | temporary | environment)

    def _environment(self, container: Object) -> dict[str, str]:
        told: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            told |= named(self._objects, "ConfigMap", source["configMapRef"]["name"])["data"]
        for variable in container.get("env", ()):
            value = variable.get("value")
            text = self._referred(variable["valueFrom"]) if value is None else str(value)
            told[variable["name"]] = _VARIABLE.sub(lambda found: told[found[1]], text)
        return told

    def _referred(self, source: Object) -> str:
        if "secretKeyRef" in source:
            return self._files("Secret", source["secretKeyRef"]["name"])[source["secretKeyRef"]["key"]].decode()
        return self._files("ConfigMap", source["configMapKeyRef"]["name"])[source["configMapKeyRef"]["key"]].decode()

    def _files(self, kind: str, name: str) -> dict[str, bytes]:
        """The keys of a ConfigMap or a Secret and what they hold."""
        one = named(self._objects, kind, name)
        plain = {key: text.encode() for key, text in (one.get("data") or {}).items()}
        return {key: base64.b64decode(text) for key, text in plain.items()} if kind == "Secret" else plain

    def _volume(self, pods: Pods, name: str) -> Path:
        volumes = [*pods.spec.get("volumes", ()), *_templates(pods)]
        volume = next(one for one in volumes if one["name"] == name)
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        if claim in self._claims:
            return self._claims[claim]
        folder = self._folder / "claims" / claim if claim else self._folder / pods.name / name
        folder.mkdir(parents=True, exist_ok=True)
        for kind, key in (("ConfigMap", "configMap"), ("Secret", "secret")):
            if key in volume:
                for file, content in self._files(kind, volume[key].get("name") or volume[key]["secretName"]).items():
                    (folder / file).write_bytes(content)
                    (folder / file).chmod(_FILE_MODE)
        return folder

    def _addresses(self, text: str) -> str:
        """HOST:PORT of services as they are here, and every interface as the loopback one."""
        for service in of_kind(self._objects, "Service"):
            name = service["metadata"]["name"]
            pods = service["spec"]["selector"]["app.kubernetes.io/name"]
            pattern = re.compile(rf"(?<![\w./-]){re.escape(name)}(?:[\w.-]*):(\d+)")
            text = pattern.sub(partial(self._address, pods), text)
        return text.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - it is what is replaced

    def _address(self, pods: str, found: re.Match[str]) -> str:
        return f"127.0.0.1:{self.port(pods, int(found[1]))}"


def _templates(pods: Pods) -> Iterator[Object]:
    """The volumes that a StatefulSet makes claims for: one pod of each runs here."""
    for template in pods.owner["spec"].get("volumeClaimTemplates", ()):
        yield {"name": template["metadata"]["name"]}


def _paths(text: str, there: Mapping[str, Path]) -> str:
    """A text in which paths of the pod are those of this machine; the longest that fits."""
    fitting = "|".join(re.escape(path) for path in sorted(there, key=len, reverse=True))
    return re.sub(rf"(?<![\w/.-])({fitting})(?=$|[/,+:])", lambda found: str(there[found[1]]), text) if there else text
