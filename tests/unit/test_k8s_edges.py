"""What network policies allow is found as Kubernetes defines it, and every policy of ours is needed."""

from typing import Any

import pytest

from tests.k8s.checks import README
from tests.k8s.edges import UNNAMED_PORT, Edge, allowed_edges, check_edges, table_of
from tests.k8s.ends import is_within
from tests.k8s.manifests import NAME, Object, of_kind, title
from tests.k8s.overlays import every_overlay

TABLE = table_of(README)


def pod(name: str, port: int) -> Object:
    container = {"name": name, "ports": [{"name": "grpc", "containerPort": port}]}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "labels": {NAME: name}},
        "spec": {"containers": [container]},
    }


def policy(selected: dict[str, Any], types: list[str], **rules: Any) -> Object:
    spec = {"podSelector": selected, "policyTypes": types, **rules}
    return {"kind": "NetworkPolicy", "metadata": {"name": "policy"}, "spec": spec}


def between(objects: list[Object], *names: str) -> set[Edge]:
    return {edge for edge in allowed_edges(objects) if {edge.source, edge.target} <= set(names)}


PODS = [pod("shop", 80), pod("store", 6379)]
DENY = policy({}, ["Ingress", "Egress"])
TO_STORE = policy(
    {"matchLabels": {NAME: "shop"}},
    ["Egress"],
    egress=[{"to": [{"podSelector": {"matchLabels": {NAME: "store"}}}], "ports": [{"port": "grpc"}]}],
)
FROM_SHOP = policy(
    {"matchLabels": {NAME: "store"}},
    ["Ingress"],
    ingress=[{"from": [{"podSelector": {"matchExpressions": [{"key": NAME, "operator": "In", "values": ["shop"]}]}}]}],
)


def test_without_a_policy_everything_is_allowed_and_with_an_empty_one_nothing() -> None:
    free = between(PODS, "shop", "store", "anyone")
    assert {Edge("shop", "store", 6379), Edge("store", "anyone", 443), Edge("anyone", "shop", UNNAMED_PORT)} <= free
    assert between([*PODS, DENY], "shop", "store", "anyone", "names", "front end") == set()


def test_an_edge_needs_both_ends_and_a_named_port_is_the_targets() -> None:
    assert between([*PODS, DENY, TO_STORE], "shop", "store") == set()
    assert between([*PODS, DENY, FROM_SHOP], "shop", "store") == set()
    assert between([*PODS, DENY, TO_STORE, FROM_SHOP], "shop", "store") == {Edge("shop", "store", 6379)}


def test_a_selector_of_pods_alone_means_this_namespace() -> None:
    anybody = policy({}, ["Ingress"], ingress=[{"from": [{"podSelector": {}}]}])
    assert between([*PODS, anybody], "front end", "shop", "store") == between(PODS, "shop", "store") | {
        edge for edge in between(PODS, "front end", "shop", "store") if edge.target == "front end"
    }
    everywhere = policy({}, ["Ingress"], ingress=[{"from": [{"namespaceSelector": {}}]}])
    assert Edge("front end", "store", 6379) in allowed_edges([*PODS, everywhere])


def to_store_by(**port: Any) -> set[Edge]:
    """Who reaches the store where everybody may come in by one entry of `ports`."""
    return between([*PODS, policy({}, ["Ingress"], ingress=[{"ports": [port]}])], "shop", "store")


def test_a_protocol_is_tcp_unless_it_is_said() -> None:
    assert Edge("shop", "store", 6379) in to_store_by(port=6379)
    assert Edge("shop", "store", 6379) in to_store_by(port="grpc", protocol="TCP")
    assert to_store_by(port=6379, protocol="UDP") == to_store_by(port="grpc", protocol="UDP") == set()
    assert {edge.protocol for edge in to_store_by(protocol="UDP")} == {"UDP"}


def test_a_range_of_ports_is_every_port_of_it() -> None:
    assert Edge("shop", "store", 6379) in to_store_by(port=6000, endPort=6379)
    assert to_store_by(port=6380, endPort=7000) == set()


def test_a_row_is_meant_in_each_protocol_that_its_target_listens_in() -> None:
    over_udp = policy({}, ["Egress"], egress=[{"ports": [{"port": 53, "protocol": "UDP"}]}])
    found = check_edges([*PODS, over_udp], [Edge("every pod", "names", 53)])
    cut = {one.what for one in found if one.name == "needed-path-cut"}
    assert cut == {"shop to names:53/TCP", "store to names:53/TCP"}


def from_block(cidr: str, *left_out: str) -> list[Object]:
    peer = {"ipBlock": {"cidr": cidr, "except": list(left_out)} if left_out else {"cidr": cidr}}
    return [*PODS, policy({}, ["Ingress", "Egress"], ingress=[{"from": [peer], "ports": [{"port": "grpc"}]}])]


def test_a_block_of_addresses_is_what_it_is_and_no_pod() -> None:
    assert set(allowed_edges(from_block("10.0.0.0/8"))) == {
        Edge("10.0.0.0/8", "shop", 80), Edge("10.0.0.0/8", "store", 6379)
    }  # fmt: skip
    assert {edge.source for edge in allowed_edges(from_block("0.0.0.0/0"))} == {"anyone"}
    assert {edge.source for edge in allowed_edges(from_block("0.0.0.0/0", "10.0.0.0/8"))} == {
        "0.0.0.0/0 except 10.0.0.0/8"
    }


def test_a_row_of_anyone_speaks_of_every_block_and_a_block_may_have_a_row_of_its_own() -> None:
    anyone = [Edge("anyone", "shop", 80), Edge("anyone", "store", 6379)]
    assert {one.name for one in check_edges(from_block("10.0.0.0/8"), anyone)} == {"needed-path-cut"}
    assert check_edges(from_block("10.0.0.0/8"), [edge._replace(source="10.0.0.0/8") for edge in anyone]) == []
    assert check_edges(from_block("0.0.0.0/0"), anyone) == []


@pytest.mark.parametrize(
    ("inner", "outer", "is_in"),
    [
        ({"cidr": "10.1.0.0/16"}, {"cidr": "10.0.0.0/8"}, True),
        ({"cidr": "10.0.0.0/8"}, {"cidr": "10.1.0.0/16"}, False),
        ({"cidr": "10.1.0.0/16"}, {"cidr": "10.0.0.0/8", "except": ["10.1.2.0/24"]}, False),
        ({"cidr": "10.1.2.0/24"}, {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}, False),
        ({"cidr": "10.2.0.0/16"}, {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}, True),
        ({"cidr": "fd00::/8"}, {"cidr": "0.0.0.0/0"}, False),
        (None, {"cidr": "0.0.0.0/0"}, False),
    ],
)
def test_a_block_is_within_another_where_all_its_addresses_are(inner: Any, outer: Any, is_in: bool) -> None:
    assert is_within(inner, outer) is is_in


def test_the_table_is_read_whole() -> None:
    assert Edge("front end", "ranking", 8010) in TABLE
    assert {edge.target for edge in TABLE if edge.source == "prometheus"} >= {"ranking", "ingest", "updater", "triton"}
    assert len(TABLE) == len(set(TABLE)) > 25


@pytest.mark.parametrize("name", every_overlay())
def test_an_overlay_allows_exactly_the_table(name: str) -> None:
    objects = every_overlay()[name]
    assert check_edges(objects, TABLE) == []
    assert check_edges(objects, [edge for edge in TABLE if edge.target != "valkey"]) != []


@pytest.mark.parametrize("name", ["production", "staging", "with-remote-index"])
def test_no_policy_can_be_taken_away_unnoticed(name: str) -> None:
    objects = every_overlay()[name]
    its_edges = {edge for edge in allowed_edges([*objects, pod("newcomer", 80)]) if "newcomer" in edge}
    assert its_edges == {Edge("newcomer", "names", 53), Edge("newcomer", "names", 53, "UDP")}
    unnoticed = [
        title(one)
        for one in of_kind(objects, "NetworkPolicy")
        if not check_edges([other for other in objects if other is not one], TABLE)
    ]
    assert unnoticed == [], "the one for all pods holds the console, of which no other speaks"
