"""What network policies allow is found as Kubernetes defines it, and every policy of ours is needed."""

from typing import Any

import pytest

from tests.k8s.checks import README
from tests.k8s.edges import UNNAMED_PORT, Edge, allowed_edges, check_edges, table_of
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
def test_no_policy_can_be_taken_away_unnoticed_but_the_one_for_pods_that_none_speaks_of(name: str) -> None:
    objects = every_overlay()[name]
    its_edges = {edge for edge in allowed_edges([*objects, pod("newcomer", 80)]) if "newcomer" in edge}
    assert its_edges == {Edge("newcomer", "names", 53)}
    unnoticed = [
        title(one)
        for one in of_kind(objects, "NetworkPolicy")
        if not check_edges([other for other in objects if other is not one], TABLE)
    ]
    assert unnoticed == ["NetworkPolicy/nothing-by-default"]
