"""Who could speak and be spoken to: the pods of an overlay, and who stands outside.

Choices: outside stand a front end, the names of the cluster, anyone else in the cluster or beyond, and the addresses of
every `ipBlock` that a policy names. No manifest says which addresses pods, a front end or the names have: an `ipBlock`
is none of them, and is anyone only where it is every address.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, NamedTuple

from tests.k8s.manifests import NAME, Object, Objects, of_kind, pods_of

Block = Mapping[str, Any]
"""An `ipBlock`: `cidr`, and under `except` what is left out of it."""

_OWN_NAMESPACE = {"kubernetes.io/metadata.name": "the one of the overlay"}
_EVERY_ADDRESS: Block = {"cidr": "0.0.0.0/0"}


class Port(NamedTuple):
    """Something that an end listens on."""

    number: int
    protocol: str = "TCP"
    name: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """A kind of pod, or somebody outside."""

    name: str
    labels: Mapping[str, str]
    namespace: Mapping[str, str]
    """The labels of its namespace."""
    ports: frozenset[Port] = frozenset()
    block: Block | None = None
    """Its addresses, where they are known."""

    @property
    def is_outside(self) -> bool:
        """Whether it is not a pod of the overlay."""
        return self.namespace != _OWN_NAMESPACE

    def protocols_of(self, number: int) -> set[str]:
        """The protocols in which it listens on a port."""
        return {port.protocol for port in self.ports if port.number == number}


_WEB = frozenset({Port(80), Port(443), Port(6443)})
NAMES = End(
    "names",
    {"k8s-app": "kube-dns"},
    {"kubernetes.io/metadata.name": "kube-system"},
    frozenset({Port(53, "UDP"), Port(53, "TCP")}),
)
FRONT_END = End("front end", {}, {"aisle.dev/front-end": "true"})
ANYONE = End("anyone", {}, {}, _WEB, _EVERY_ADDRESS)


def ends_of(objects: Objects) -> list[End]:
    """Everybody; pods first."""
    pods = {
        one.name: End(one.name, {**one.labels, NAME: one.name}, _OWN_NAMESPACE, frozenset(_listening(one.servers())))
        for one in pods_of(objects)
    }
    blocks = {_name(block): End(_name(block), {}, {}, _WEB, block) for block in _blocks(objects)}
    return [*pods.values(), NAMES, FRONT_END, ANYONE, *blocks.values()]


def _listening(containers: Iterator[Object]) -> Iterator[Port]:
    for container in containers:
        for port in container.get("ports", ()):
            yield Port(port["containerPort"], port.get("protocol", "TCP"), port.get("name", ""))


def _blocks(objects: Objects) -> Iterator[Block]:
    for policy in of_kind(objects, "NetworkPolicy"):
        rules = [*policy["spec"].get("ingress", ()), *policy["spec"].get("egress", ())]
        peers = [peer for rule in rules for peer in (*rule.get("from", ()), *rule.get("to", ()))]
        yield from (peer["ipBlock"] for peer in peers if peer.get("ipBlock", _EVERY_ADDRESS) != _EVERY_ADDRESS)


def _name(block: Block) -> str:
    return " except ".join([block["cidr"], *block.get("except", ())])


def is_within(block: Block | None, other: Block) -> bool:
    """Whether every address of the first is one of the second; those of somebody whose addresses are not known (None)
    are not."""
    if block is None or block == other:
        return block is not None
    own, whole = ip_network(block["cidr"]), ip_network(other["cidr"])
    holes = [ip_network(hole) for hole in other.get("except", ())]
    return own[0] in whole and own[-1] in whole and not any(own[0] in hole or hole[0] in own for hole in holes)
