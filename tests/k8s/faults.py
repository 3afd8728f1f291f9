"""Faults planted into manifests that are right, each with the name by which it must be caught."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

from tests.k8s.hardening import GPU
from tests.k8s.manifests import Object, Objects, of_kind, pod_template

Plant = Callable[[list[Object]], None]


class Fault(NamedTuple):
    """One thing that goes wrong in a manifest."""

    name: str
    """What it is called where faults are listed."""
    caught_as: str
    """The name of the finding."""
    plant: Plant
    """Changes objects in place."""


def planted(objects: Objects, fault: Fault) -> list[Object]:
    """A copy of the objects with a fault."""
    copy = deepcopy(list(objects))
    fault.plant(copy)
    return copy


def _set(kind: str, name: str, path: str, value: Any) -> Plant:
    def plant(objects: list[Object]) -> None:
        _put(_one(objects, kind, name), path, value)

    return plant


def _in_container(kind: str, name: str, path: str, value: Any) -> Plant:
    """In a workload's first container."""

    def plant(objects: list[Object]) -> None:
        _put(pod_template(_one(objects, kind, name))["spec"]["containers"][0], path, value)

    return plant


def _put(place: Any, path: str, value: Any) -> None:
    """Set what lies at a path of keys and numbers separated by dots; a value of None takes it away."""
    *way, last = path.split(".")
    for key in way:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    if value is None:
        del place[last]
    else:
        place[last] = value


def _one(objects: Objects, kind: str, name: str) -> Object:
    """The object of that name; those that a generator made by the beginning of it."""
    return next(
        one
        for one in of_kind(objects, kind)
        if one["metadata"]["name"] == name or one["metadata"]["name"].startswith(f"{name}-")
    )


def _without(kind: str, name: str) -> Plant:
    def plant(objects: list[Object]) -> None:
        objects.remove(_one(objects, kind, name))

    return plant


def _both_zero(objects: list[Object]) -> None:
    rolling = _one(objects, "Deployment", "ranking")["spec"]["strategy"]["rollingUpdate"]
    rolling |= {"maxSurge": 0, "maxUnavailable": 0}


def _open_to_all(objects: list[Object]) -> None:
    rule = {"from": [{"namespaceSelector": {}}], "ports": [{"port": "valkey"}]}
    _one(objects, "NetworkPolicy", "valkey")["spec"]["ingress"].append(rule)


def _missing_key(objects: list[Object]) -> None:
    source = {"name": _one(objects, "ConfigMap", "ranking-settings")["metadata"]["name"], "key": "AISLE_NOWHERE"}
    container = pod_template(_one(objects, *_RANKING))["spec"]["containers"][0]
    container["env"].append({"name": "AISLE_OFFLINE_DIR", "valueFrom": {"configMapKeyRef": source}})


_RANKING = ("Deployment", "ranking")
_FAULTS = (
    ("unknown field", "unknown-field", _set(*_RANKING, "spec.replica", 3)),
    ("wrong type", "wrong-type", _set(*_RANKING, "spec.minReadySeconds", "five")),
    ("missing selector", "missing-field", _set(*_RANKING, "spec.selector", None)),
    (
        "selector that matches no label",
        "selector-without-pods",
        _set("Service", "triton", "spec.selector", {"app": "triton"}),
    ),
    (
        "service port that names no container port",
        "service-port-without-container-port",
        _set("Service", "ingest", "spec.ports.0.targetPort", "http"),
    ),
    (
        "GPU request is not the limit",
        "gpu-request-differs",
        _in_container("Deployment", "triton", "resources", {
            "requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi", GPU: "1"}
        }),
    ),
    (
        "HPA min above max",
        "hpa-min-above-max",
        _set("HorizontalPodAutoscaler", "ingest", "spec.minReplicas", 1000),
    ),
    (
        "HPA on a metric that nobody exports",
        "hpa-metric-nobody-exports",
        _set("HorizontalPodAutoscaler", "ranking", "spec.metrics.0.pods.metric.name", "aisle_queue_length"),
    ),
    (
        "PDB that forbids every drain",
        "pdb-forbids-every-drain",
        _set("PodDisruptionBudget", "updater", "spec.maxUnavailable", 0),
    ),
    ("PDB with both fields", "pdb-both-fields", _set("PodDisruptionBudget", "ranking", "spec.minAvailable", 1)),
    ("surge and unavailable both 0", "rollout-cannot-move", _both_zero),
    ("missing volume", "missing-volume", _without("PersistentVolumeClaim", "live")),
    ("missing ConfigMap key", "missing-configmap-key", _missing_key),
    ("missing Secret", "missing-secret", _without("Secret", "shopper-keys")),
    ("int in a ConfigMap", "wrong-type", _set("ConfigMap", "ranking-settings", "data.AISLE_SHARDS", 8)),
    ("bad cron", "bad-cron", _set("CronJob", "retrain", "spec.schedule", "0 25 * * *")),
    ("removed apiVersion", "removed-api-version", _set("CronJob", "retrain", "apiVersion", "batch/v1beta1")),
    ("latest tag", "latest-tag", _in_container(*_RANKING, "image", "aisle-ranking:latest")),
    ("privileged", "privileged", _in_container(*_RANKING, "securityContext.privileged", True)),
    (
        "writable root",
        "writable-root",
        _in_container("StatefulSet", "valkey", "securityContext.readOnlyRootFilesystem", False),
    ),
    ("no limits", "no-limits", _in_container("Deployment", "ingest", "resources.limits", None)),
    ("no probe", "no-probe", _in_container("Deployment", "triton", "readinessProbe", None)),
    (
        "NetworkPolicy that cuts a needed path",
        "needed-path-cut",
        _set("NetworkPolicy", "triton", "spec.ingress.0.from.1.podSelector.matchLabels", {"app": "ingest"}),
    ),
    ("NetworkPolicy that leaves Valkey open", "path-left-open", _open_to_all),
    (
        "terminationGracePeriod shorter than the drain",
        "grace-shorter-than-drain",
        _set(*_RANKING, "spec.template.spec.terminationGracePeriodSeconds", 50),
    ),
)  # fmt: skip
FAULTS = [Fault(*fault) for fault in _FAULTS]
