"""What an overlay of k8s/ renders to, and the parts of it that checks look at.

Choices: rendered by the kubectl of .venv-k8s from a copy in which the examples of secrets stand for the secrets; a
component that no overlay has is rendered in the local one. Objects are the dictionaries of the YAML. Knows no rule.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import yaml

Object: TypeAlias = dict[str, Any]
Objects: TypeAlias = Sequence[Object]

NAME = "app.kubernetes.io/name"
KUSTOMIZATION = "kustomization.yaml"
_OWNERS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod")


class Finding(NamedTuple):
    """Something that is wrong."""

    name: str
    """Which rule; a few fixed words."""
    where: str
    """Kind and name of the object."""
    what: str
    """What is wrong with it."""


class RenderError(Exception):
    """kubectl could not make manifests; the message is its own."""


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods that one object makes."""

    owner: Object
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What the application calls them: the label that services and policies select by."""
        return self.labels.get(NAME, "")

    @property
    def runs_to_an_end(self) -> bool:
        """Whether they are a job's."""
        return self.owner["kind"] in ("Job", "CronJob")

    def containers(self) -> Iterator[Object]:
        """All of them, those that run before the others first."""
        yield from self.spec.get("initContainers", ())
        yield from self.spec.get("containers", ())

    def servers(self) -> Iterator[Object]:
        """Those that run for as long as the pod does."""
        yield from (one for one in self.spec.get("initContainers", ()) if one.get("restartPolicy") == "Always")
        yield from self.spec.get("containers", ())


def prepared(k8s: Path, out: Path) -> Path:
    """A copy of k8s/ below `out` that has everything that rendering needs; returns the folder of its overlays."""
    copy = out / "k8s"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(k8s, copy, ignore=shutil.ignore_patterns("secrets", "__pycache__"))
    for example in copy.glob("overlays/*/secrets.example"):
        example.rename(example.with_name("secrets"))
    wanted = {path.parent.name for path in copy.glob("components/*/kustomization.yaml")}
    for component in sorted(wanted - _used(copy)):
        overlay = copy / "overlays" / f"with-{component}"
        shutil.copytree(copy / "overlays/local", overlay)
        own = yaml.safe_load((overlay / KUSTOMIZATION).read_text())
        own["components"].append(f"../../components/{component}")
        (overlay / KUSTOMIZATION).write_text(yaml.safe_dump(own))
    return copy / "overlays"


def _used(k8s: Path) -> set[str]:
    """Components that are part of an overlay, by themselves or by another component."""
    users = [*k8s.glob(f"overlays/*/{KUSTOMIZATION}"), *k8s.glob(f"*/{KUSTOMIZATION}")]
    return {Path(name).name for user in users for name in yaml.safe_load(user.read_text()).get("components", ())}


def rendered(overlay: Path, kubectl: Path) -> str:
    """The manifests of an overlay, YAML.

    Raises:
        RenderError: it has none.
    """
    command = [str(kubectl), "kustomize", str(overlay)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode or run.stderr:  # kustomize warns of what it is about to drop
        raise RenderError(f"{overlay.name}: {run.stderr.strip()}")
    return run.stdout


def parsed(text: str) -> list[Object]:
    """The objects of a stream of YAML."""
    return [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]


def dumped(objects: Objects) -> str:
    """The inverse of `parsed`."""
    text: str = yaml.dump_all(objects, Dumper=yaml.CSafeDumper, sort_keys=False)
    return text


def of_kind(objects: Objects, *kinds: str) -> Iterator[Object]:
    """The objects of some kinds."""
    return (one for one in objects if one["kind"] in kinds)


def named(objects: Objects, kind: str, name: str) -> Object:
    """One object.

    Raises:
        KeyError: there is no such object.
    """
    for one in of_kind(objects, kind):
        if one["metadata"]["name"] == name:
            return one
    raise KeyError(f"{kind}/{name}")


def title(one: Object) -> str:
    """How findings call an object."""
    return f"{one['kind']}/{one['metadata']['name']}"


def pods_of(objects: Objects) -> Iterator[Pods]:
    """What the objects' pods are like."""
    for owner in of_kind(objects, *_OWNERS):
        template = pod_template(owner)
        metadata = template.get("metadata", {})
        yield Pods(owner, metadata.get("labels") or {}, metadata.get("annotations") or {}, template.get("spec", {}))


def pod_template(owner: Object) -> Object:
    """What an object makes pods from."""
    if owner["kind"] == "Pod":
        return owner
    spec = owner.get("spec", {})
    if owner["kind"] == "CronJob":
        spec = spec.get("jobTemplate", {}).get("spec", {})
    template: Object = spec.get("template", {})
    return template


def scales(scaler: Object, owner: Object) -> bool:
    """Whether an autoscaler says how many pods a workload has."""
    target = scaler["spec"]["scaleTargetRef"]
    return (target["kind"], target["name"]) == (owner["kind"], owner["metadata"]["name"])


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector, of whichever form, takes something with these labels."""
    wanted = selector.get("matchLabels", {}) if selector.keys() <= {"matchLabels", "matchExpressions"} else selector
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(expression, labels) for expression in selector.get("matchExpressions", ())
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values", ())
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[expression["operator"]]
