"""Whether what an object names is there: labels, ports, volumes, keys, accounts."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.k8s.manifests import Finding, Object, Objects, Pods, of_kind, pods_of, selects, title

_KEYED = {"ConfigMap": ("data", "binaryData"), "Secret": ("data", "stringData")}


def check_selectors(objects: Objects) -> list[Finding]:
    """`selector-without-pods`: a workload that does not take its own pods, a service, budget or policy that takes
    nobody's."""
    found = []
    every = list(pods_of(objects))
    for one in of_kind(objects, "Deployment", "StatefulSet"):
        own = next(pods for pods in every if pods.owner is one)
        if not selects(one["spec"].get("selector", {}), own.labels):
            found.append(_lost(one, "its own pods' labels differ"))
    for one in of_kind(objects, "Service", "PodDisruptionBudget", "NetworkPolicy"):
        selector = one["spec"].get("podSelector" if one["kind"] == "NetworkPolicy" else "selector", {})
        if not any(selects(selector, pods.labels) for pods in every):
            found.append(_lost(one, f"no pod has {selector}"))
    return found


def check_ports(objects: Objects) -> list[Finding]:
    """`service-port-without-container-port`: a service sends to a port that no container of its pods has."""
    found = []
    for service in of_kind(objects, "Service"):
        taken = [pods for pods in pods_of(objects) if selects(service["spec"].get("selector", {}), pods.labels)]
        for port in service["spec"].get("ports", ()):
            target = port.get("targetPort", port["port"])
            if not all(target in container_ports(pods) for pods in taken):
                found.append(Finding("service-port-without-container-port", title(service), f"{target}"))
    return found


def container_ports(pods: Pods) -> dict[str | int, int]:
    """A pod's ports, by name and by number."""
    every = [port for container in pods.servers() for port in container.get("ports", ())]
    numbers: dict[str | int, int] = {port["containerPort"]: port["containerPort"] for port in every}
    return numbers | {port["name"]: port["containerPort"] for port in every if "name" in port}


def check_volumes(objects: Objects) -> list[Finding]:
    """`missing-volume`: a container mounts what the pod does not have, or a pod claims what nobody made."""
    found = []
    claims = {one["metadata"]["name"] for one in of_kind(objects, "PersistentVolumeClaim")}
    for pods in pods_of(objects):
        volumes = {volume["name"]: volume for volume in pods.spec.get("volumes", ())}
        made = {one["metadata"]["name"] for one in pods.owner["spec"].get("volumeClaimTemplates", ())}
        for container in pods.containers():
            mounted = [mount["name"] for mount in container.get("volumeMounts", ())]
            lacking = [name for name in mounted if name not in volumes.keys() | made]
            found += [Finding("missing-volume", title(pods.owner), name) for name in lacking]
        for volume in volumes.values():
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            if claim is not None and claim not in claims:
                found.append(Finding("missing-volume", title(pods.owner), f"claim {claim}"))
    return found


def check_keys(objects: Objects) -> list[Finding]:
    """`missing-configmap`, `missing-configmap-key`, `missing-secret`, `missing-secret-key`."""
    there = {
        kind: {
            one["metadata"]["name"]: {key for part in parts for key in one.get(part) or ()}
            for one in of_kind(objects, kind)
        }
        for kind, parts in _KEYED.items()
    }
    found = []
    for pods in pods_of(objects):
        for kind, name, key in _named_keys(pods):
            if name not in there[kind]:
                found.append(Finding(f"missing-{kind.lower()}", title(pods.owner), name))
            elif key is not None and key not in there[kind][name]:
                found.append(Finding(f"missing-{kind.lower()}-key", title(pods.owner), f"{name}: {key}"))
    return found


def _named_keys(pods: Pods) -> Iterator[tuple[str, str, str | None]]:
    """Kind, name and key (None: all of it) of what a pod reads."""
    for container in pods.containers():
        for source in container.get("envFrom", ()):
            yield from _referred(source, {"configMapRef": "ConfigMap", "secretRef": "Secret"})
        for variable in container.get("env", ()):
            yield from _referred(
                variable.get("valueFrom", {}), {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"}
            )
    for volume in pods.spec.get("volumes", ()):
        for kind, field in (("ConfigMap", "configMap"), ("Secret", "secret")):
            source = volume.get(field, {})
            name = source.get("name", source.get("secretName"))
            if name is not None:
                yield kind, name, None
                yield from ((kind, name, item["key"]) for item in source.get("items", ()))


def _referred(source: Mapping[str, Any], kinds: Mapping[str, str]) -> Iterator[tuple[str, str, str | None]]:
    for field, kind in kinds.items():
        if field in source:
            yield kind, source[field]["name"], source[field].get("key")


def check_accounts(objects: Objects) -> list[Finding]:
    """`missing-service-account`, `missing-scale-target`: a pod's account, an autoscaler's target."""
    accounts = {one["metadata"]["name"] for one in of_kind(objects, "ServiceAccount")}
    found = [
        Finding("missing-service-account", title(pods.owner), str(pods.spec.get("serviceAccountName")))
        for pods in pods_of(objects)
        if pods.spec.get("serviceAccountName") not in accounts
    ]
    there = {title(one) for one in objects}
    for one in of_kind(objects, "HorizontalPodAutoscaler"):
        target = one["spec"]["scaleTargetRef"]
        if f"{target['kind']}/{target['name']}" not in there:
            found.append(Finding("missing-scale-target", title(one), target["name"]))
    return found


def _lost(one: Object, why: str) -> Finding:
    return Finding("selector-without-pods", title(one), why)
