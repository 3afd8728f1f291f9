"""Whether Kubernetes can ask every server how it is."""

from collections.abc import Iterator

from tests.k8s.manifests import Finding, Object, Objects, pods_of, title

_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_CALLS = ("grpc", "httpGet", "tcpSocket")


def check_probes(objects: Objects) -> list[Finding]:
    """`no-probe`: a server that Kubernetes cannot ask whether it has started, is ready and lives."""
    found = []
    for pods in pods_of(objects):
        if pods.runs_to_an_end:
            continue
        for container in pods.spec.get("containers", ()):
            lacking = [kind for kind in _PROBES if kind not in container]
            if lacking:
                found.append(Finding("no-probe", f"{title(pods.owner)}/{container['name']}", ", ".join(lacking)))
    return found


def check_probed_ports(objects: Objects) -> list[Finding]:
    """`probe-without-container-port`: it asks on a port that its container does not have, by that number or name."""
    found = []
    for pods in pods_of(objects):
        for container in pods.containers():
            opened = {port.get(key) for port in container.get("ports", ()) for key in ("containerPort", "name")}
            found += [
                Finding("probe-without-container-port", f"{title(pods.owner)}/{container['name']}", f"{probe}: {port}")
                for probe, port in _probed(container)
                if port not in opened
            ]
    return found


def _probed(container: Object) -> Iterator[tuple[str, str | int]]:
    """Each probe that makes a call, and its port."""
    for probe in _PROBES:
        yield from ((probe, call["port"]) for kind, call in container.get(probe, {}).items() if kind in _CALLS)
