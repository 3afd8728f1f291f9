"""Who may speak to whom: what the network policies allow, and what the table of k8s/README.md says.

Choices: every pair of ends (tests/k8s/ends.py) is asked about, on every port that the other listens on and on one that
it does not, in every protocol. An edge is allowed where the policies of both its ends allow it; an end without a policy
in that direction allows everything, as do ends outside, of which the names answer and ask nobody. A port of the table
is meant in each protocol in which it is listened on; a row of `anyone` speaks of every block of addresses too. Within a
pod, and from the node to its probes, Kubernetes itself allows everything.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.k8s.ends import ANYONE, NAMES, End, Port, ends_of, is_within
from tests.k8s.manifests import Finding, Object, Objects, of_kind, selects

UNNAMED_PORT = 1
"""Stands for every port that a pod does not have."""
EVERY_POD = "every pod"

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_ROW = re.compile(r"^\| (?P<sources>[^|]+) \| (?P<targets>[^|]+) \| (?P<ports>[0-9, ]+) \|", re.MULTILINE)


class Edge(NamedTuple):
    """Somebody may open a connection."""

    source: str
    target: str
    port: int
    protocol: str = "TCP"


def check_edges(objects: Objects, table: Iterable[Edge]) -> list[Finding]:
    """`needed-path-cut`: in the table, and not allowed; `path-left-open`: allowed, and not in the table."""
    wanted, allowed = set(_expanded(table, ends_of(objects))), set(allowed_edges(objects))
    words = "{0.source} to {0.target}:{0.port}/{0.protocol}".format
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
    ends, policies = ends_of(objects), list(of_kind(objects, "NetworkPolicy"))
    for source in ends:
        for target in ends:
            if source is NAMES or (source.is_outside and target.is_outside):
                continue
            for port in sorted({*target.ports, *(Port(UNNAMED_PORT, protocol) for protocol in _PROTOCOLS)}):
                goes_out = _allows(policies, "Egress", source, target, port)
                if goes_out and _allows(policies, "Ingress", target, source, port):
                    yield Edge(source.name, target.name, port.number, port.protocol)


def _expanded(table: Iterable[Edge], ends: Iterable[End]) -> Iterator[Edge]:
    """The rows whose ends are there, an edge for each end and each protocol that they speak of."""
    meant = {end.name: [end] for end in ends}
    meant[EVERY_POD] = [end for end in ends if not end.is_outside]
    meant[ANYONE.name] = [end for end in ends if end.block is not None]
    for row in table:
        for target in meant.get(row.target, ()):
            protocols = _PROTOCOLS if row.port == UNNAMED_PORT else target.protocols_of(row.port) or {row.protocol}
            for source in meant.get(row.source, ()):
                yield from (Edge(source.name, target.name, row.port, protocol) for protocol in protocols)


def _allows(policies: Iterable[Object], way: str, own: End, other: End, port: Port) -> bool:
    """Whether the policies of one end allow a connection with the other, on a port of whichever is called."""
    if own.is_outside:
        return True
    taken = [one["spec"] for one in policies if selects(one["spec"]["podSelector"], own.labels)]
    taken = [spec for spec in taken if way in spec.get("policyTypes", ())]
    rules = [rule for spec in taken for rule in spec.get(way.lower(), ())]
    peers = "to" if way == "Egress" else "from"
    return not taken or any(_is_port(rule.get("ports"), port) and _is_peer(rule.get(peers), other) for rule in rules)


def _is_port(ports: Iterable[Mapping[str, Any]] | None, port: Port) -> bool:
    return ports is None or any(
        one.get("protocol", "TCP") == port.protocol and _is_number_or_name(one, port) for one in ports
    )


def _is_number_or_name(one: Mapping[str, Any], port: Port) -> bool:
    first = one.get("port")
    if isinstance(first, int):
        return first <= port.number <= int(one.get("endPort", first))
    return first is None or first == port.name


def _is_peer(peers: Iterable[Mapping[str, Any]] | None, other: End) -> bool:
    return peers is None or any(_is(peer, other) for peer in peers)


def _is(peer: Mapping[str, Any], other: End) -> bool:
    if "ipBlock" in peer:
        return is_within(other.block, peer["ipBlock"])
    is_in = selects(peer["namespaceSelector"], other.namespace) if "namespaceSelector" in peer else not other.is_outside
    return is_in and selects(peer.get("podSelector", {}), other.labels)
