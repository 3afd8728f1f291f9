"""Who may speak to whom: what the network policies allow, and what the table of k8s/README.md says.

Choices: every pair of pods is asked about, on every port that the other has and on one that it has not; outside stand
a front end, the names of the cluster, and anyone else in the cluster or beyond. An edge is allowed where the policies
of both its ends allow it; an end without a policy in that direction allows everything, as do ends outside, of which the
names answer and ask nobody. Within a pod, and from the node to its probes, Kubernetes itself allows everything.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.k8s.manifests import NAME, Finding, Object, Objects, of_kind, pods_of, selects
from tests.k8s.references import container_ports

UNNAMED_PORT = 1
"""Stands for every port that a pod does not have."""
EVERY_POD = "every pod"

_NAMESPACE = {"kubernetes.io/metadata.name": "the one of the overlay"}
_ROW = re.compile(r"^\| (?P<sources>[^|]+) \| (?P<targets>[^|]+) \| (?P<ports>[0-9, ]+) \|", re.MULTILINE)


class Edge(NamedTuple):
    """Somebody may open a connection."""

    source: str
    target: str
    port: int


@dataclass(frozen=True, slots=True)
class End:
    """A kind of pod, or somebody outside."""

    name: str
    labels: Mapping[str, str]
    namespace: Mapping[str, str]
    ports: Mapping[str | int, int] = field(default_factory=dict)
    """By name and by number."""


NAMES = End("names", {"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"}, {53: 53})
OUTSIDE = (
    NAMES,
    End("front end", {}, {"aisle.dev/front-end": "true"}),
    End("anyone", {}, {}, {443: 443, 6443: 6443, 80: 80}),
)


def check_edges(objects: Objects, table: Iterable[Edge]) -> list[Finding]:
    """`needed-path-cut`: in the table, and not allowed; `path-left-open`: allowed, and not in the table."""
    ends = {end.name for end in _ends(objects)}
    wanted = {edge for edge in _expanded(table, ends) if {edge.source, edge.target} <= ends}
    allowed = set(allowed_edges(objects))
    words = "{0.source} to {0.target}:{0.port}".format
    return [
        *(Finding("needed-path-cut", edge.target, words(edge)) for edge in sorted(wanted - allowed)),
        *(Finding("path-left-open", edge.target, words(edge)) for edge in sorted(allowed - wanted)),
    ]


def table_of(readme: Path) -> list[Edge]:
    """The rows of the table of edges: names and ports separated by commas."""
    text = readme.read_text().partition("## Who may speak to whom")[2].partition("\n## ")[0]
    return [
        Edge(source.strip(), target.strip(), int(port))
        for row in _ROW.finditer(text)
        for source in row["sources"].split(",")
        for target in row["targets"].split(",")
        for port in row["ports"].split(",")
    ]


def allowed_edges(objects: Objects) -> Iterator[Edge]:
    """Every edge that the policies allow."""
    ends, policies = _ends(objects), list(of_kind(objects, "NetworkPolicy"))
    for source in ends:
        for target in ends:
            if source is NAMES or (source in OUTSIDE and target in OUTSIDE):
                continue
            for port in sorted({*target.ports.values(), UNNAMED_PORT}):
                goes_out = _allows(policies, "Egress", source, target, port, target)
                if goes_out and _allows(policies, "Ingress", target, source, port, target):
                    yield Edge(source.name, target.name, port)


def _ends(objects: Objects) -> list[End]:
    found = {}
    for pods in pods_of(objects):
        found[pods.name] = End(pods.name, {**pods.labels, NAME: pods.name}, _NAMESPACE, container_ports(pods))
    return [*found.values(), *OUTSIDE]


def _expanded(table: Iterable[Edge], ends: Iterable[str]) -> Iterator[Edge]:
    outside = {end.name for end in OUTSIDE}
    for edge in table:
        if edge.source == EVERY_POD:
            yield from (edge._replace(source=name) for name in ends if name not in outside)
        else:
            yield edge


def _allows(policies: Iterable[Object], way: str, own: End, other: End, port: int, target: End) -> bool:
    """Whether the policies of one end allow a connection on a port of `target`, seen from that end."""
    if own in OUTSIDE:
        return True
    taken = [one["spec"] for one in policies if selects(one["spec"]["podSelector"], own.labels)]
    taken = [spec for spec in taken if way in spec.get("policyTypes", ())]
    rules = [rule for spec in taken for rule in spec.get(way.lower(), ())]
    peers = "to" if way == "Egress" else "from"
    return not taken or any(_is_port(rule, port, target) and _is_peer(rule.get(peers), other) for rule in rules)


def _is_port(rule: Mapping[str, Any], port: int, target: End) -> bool:
    ports = rule.get("ports")
    return ports is None or any(
        "port" not in one or one["port"] == port or target.ports.get(one["port"]) == port for one in ports
    )


def _is_peer(peers: Iterable[Mapping[str, Any]] | None, other: End) -> bool:
    if peers is None:
        return True
    return any(
        "ipBlock" in peer
        or (
            selects(peer.get("podSelector", {}), other.labels)
            and (selects(peer["namespaceSelector"], other.namespace) if "namespaceSelector" in peer
                 else other.namespace == _NAMESPACE)
        )
        for peer in peers
    )  # fmt: skip
