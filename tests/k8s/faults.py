"""Faults planted into manifests that are right, each with the name by which it must be caught."""

from copy import deepcopy
from typing import NamedTuple

from tests.k8s.hardening import GPU
from tests.k8s.manifests import Object, Objects, pod_template
from tests.k8s.planting import Plant, in_container, set_in, the, without


class Fault(NamedTuple):
    """One thing that goes wrong in a manifest."""

    name: str
    """What it is called where faults are listed."""
    caught_as: str
    """The name of the finding."""
    plant: Plant


def planted(objects: Objects, fault: Fault) -> list[Object]:
    """A copy of the objects with a fault."""
    copy = deepcopy(list(objects))
    fault.plant(copy)
    return copy


def _both_zero(objects: list[Object]) -> None:
    rolling = the(objects, "Deployment", "ranking")["spec"]["strategy"]["rollingUpdate"]
    rolling |= {"maxSurge": 0, "maxUnavailable": 0}


def _open_to_all(objects: list[Object]) -> None:
    rule = {"from": [{"namespaceSelector": {}}], "ports": [{"port": "valkey"}]}
    the(objects, "NetworkPolicy", "valkey")["spec"]["ingress"].append(rule)


def _missing_key(objects: list[Object]) -> None:
    source = {"name": the(objects, "ConfigMap", "ranking-settings")["metadata"]["name"], "key": "AISLE_NOWHERE"}
    container = pod_template(the(objects, *_RANKING))["spec"]["containers"][0]
    container["env"].append({"name": "AISLE_OFFLINE_DIR", "valueFrom": {"configMapKeyRef": source}})


def _open_range(objects: list[Object]) -> None:
    rule = {"from": [{"namespaceSelector": {}}], "ports": [{"port": 6000, "endPort": 7000}]}
    the(objects, "NetworkPolicy", "valkey")["spec"]["ingress"].append(rule)


def _waits_second(objects: list[Object]) -> None:
    containers = pod_template(the(objects, *_RANKING))["spec"]["initContainers"]
    containers.insert(0, containers[0] | {"name": "first"})


_RANKING = ("Deployment", "ranking")
_PROMISED = (
    ("unknown field", "unknown-field", set_in(*_RANKING, "spec.replica", 3)),
    ("wrong type", "wrong-type", set_in(*_RANKING, "spec.minReadySeconds", "five")),
    ("missing selector", "missing-field", set_in(*_RANKING, "spec.selector", None)),
    (
        "selector that matches no label",
        "selector-without-pods",
        set_in("Service", "triton", "spec.selector", {"app": "triton"}),
    ),
    (
        "service port that names no container port",
        "service-port-without-container-port",
        set_in("Service", "ingest", "spec.ports.0.targetPort", "http"),
    ),
    (
        "GPU request is not the limit",
        "gpu-request-differs",
        in_container("Deployment", "triton", "resources", {
            "requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi", GPU: "1"}
        }),
    ),
    (
        "HPA min above max",
        "hpa-min-above-max",
        set_in("HorizontalPodAutoscaler", "ingest", "spec.minReplicas", 1000),
    ),
    (
        "HPA on a metric that nobody exports",
        "hpa-metric-nobody-exports",
        set_in("HorizontalPodAutoscaler", "ranking", "spec.metrics.0.pods.metric.name", "aisle_queue_length"),
    ),
    (
        "PDB that forbids every drain",
        "pdb-forbids-every-drain",
        set_in("PodDisruptionBudget", "updater", "spec.maxUnavailable", 0),
    ),
    ("PDB with both fields", "pdb-both-fields", set_in("PodDisruptionBudget", "ranking", "spec.minAvailable", 1)),
    ("surge and unavailable both 0", "rollout-cannot-move", _both_zero),
    ("missing volume", "missing-volume", without("PersistentVolumeClaim", "live")),
    ("missing ConfigMap key", "missing-configmap-key", _missing_key),
    ("missing Secret", "missing-secret", without("Secret", "shopper-keys")),
    ("int in a ConfigMap", "wrong-type", set_in("ConfigMap", "ranking-settings", "data.AISLE_SHARDS", 8)),
    ("bad cron", "bad-cron", set_in("CronJob", "retrain", "spec.schedule", "0 25 * * *")),
    ("removed apiVersion", "removed-api-version", set_in("CronJob", "retrain", "apiVersion", "batch/v1beta1")),
    ("latest tag", "latest-tag", in_container(*_RANKING, "image", "aisle-ranking:latest")),
    ("privileged", "privileged", in_container(*_RANKING, "securityContext.privileged", True)),
    (
        "writable root",
        "writable-root",
        in_container("StatefulSet", "valkey", "securityContext.readOnlyRootFilesystem", False),
    ),
    ("no limits", "no-limits", in_container("Deployment", "ingest", "resources.limits", None)),
    ("no probe", "no-probe", in_container("Deployment", "triton", "readinessProbe", None)),
    (
        "NetworkPolicy that cuts a needed path",
        "needed-path-cut",
        set_in("NetworkPolicy", "triton", "spec.ingress.0.from.1.podSelector.matchLabels", {"app": "ingest"}),
    ),
    ("NetworkPolicy that leaves Valkey open", "path-left-open", _open_to_all),
    (
        "terminationGracePeriod shorter than the drain",
        "grace-shorter-than-drain",
        set_in(*_RANKING, "spec.template.spec.terminationGracePeriodSeconds", 50),
    ),
)  # fmt: skip
_FURTHER = (
    (
        "NetworkPolicy without the names over UDP",
        "needed-path-cut",
        set_in("NetworkPolicy", "names", "spec.egress.0.ports", [{"port": 53, "protocol": "TCP"}]),
    ),
    (
        "NetworkPolicy for another protocol",
        "needed-path-cut",
        set_in("NetworkPolicy", "triton", "spec.ingress.0.ports", [{"port": "grpc", "protocol": "UDP"}]),
    ),
    (
        "NetworkPolicy that takes one address for everyone",
        "needed-path-cut",
        set_in("NetworkPolicy", "prometheus", "spec.egress.1.to", [{"ipBlock": {"cidr": "203.0.113.7/32"}}]),
    ),
    ("NetworkPolicy that leaves a range of ports open", "path-left-open", _open_range),
    (
        "gRPC probe on a port that is not there",
        "probe-without-container-port",
        in_container("Deployment", "updater", "livenessProbe.grpc.port", 8010),
    ),
    (
        "TCP probe on a name that is not there",
        "probe-without-container-port",
        in_container("StatefulSet", "valkey", "livenessProbe.tcpSocket.port", "redis"),
    ),
    (
        "HTTP probe on a port that is not there",
        "probe-without-container-port",
        in_container("Deployment", "prometheus", "readinessProbe.httpGet.port", 9091),
    ),
    (
        "request above the limit",
        "request-above-limit",
        in_container("Deployment", "ingest", "resources", {
            "requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1000Mi"}
        }),
    ),
    (
        "ephemeral storage above the limit",
        "request-above-limit",
        in_container("Deployment", "ingest", "resources", {
            "requests": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"},
            "limits": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1G"},
        }),
    ),
    ("not a quantity", "not-a-quantity", in_container(*_RANKING, "resources.requests.memory", "2GB")),
    (
        "HPA on a metric of other pods",
        "hpa-metric-of-other-pods",
        set_in("HorizontalPodAutoscaler", "triton", "spec.metrics.0.pods.metric.name", "aisle_grpc_in_flight_requests"),
    ),
    (
        "HPA on pods that Prometheus does not ask",
        "hpa-metric-of-other-pods",
        set_in("Deployment", "ingest", "spec.template.metadata.annotations", {}),
    ),
    (
        "bound account without its token",
        "token-not-mounted",
        set_in("Deployment", "prometheus", "spec.template.spec.automountServiceAccountToken", False),
    ),
    (
        "token that nothing is granted to",
        "token-mounted",
        set_in(*_RANKING, "spec.template.spec.automountServiceAccountToken", True),
    ),
    (
        "shared claim for one node",
        "claim-for-one-node",
        set_in("PersistentVolumeClaim", "bundles", "spec.accessModes", ["ReadWriteOnce"]),
    ),
    (
        "flag that names a place where nothing is mounted",
        "unmounted-path",
        in_container("CronJob", "retrain", "args.1", "--bundles=/data/bundle"),
    ),
    ("container that needs a bundle before the wait", "waits-too-late", _waits_second),
)  # fmt: skip
FAULTS = [Fault(*fault) for fault in (*_PROMISED, *_FURTHER)]
