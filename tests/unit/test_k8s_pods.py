"""Tokens, shared volumes and probes are judged as Kubernetes goes about them."""

from typing import Any

import pytest

from tests.k8s.hardening import check_amounts
from tests.k8s.manifests import Object
from tests.k8s.probes import check_probed_ports
from tests.k8s.tokens import check_tokens
from tests.k8s.volumes import ONE_MACHINE, check_claims

SHELF = {"name": "shelf", "persistentVolumeClaim": {"claimName": "shelf"}}
BINDING = {
    "kind": "RoleBinding",
    "metadata": {"name": "clerk", "namespace": "shop"},
    "subjects": [{"kind": "ServiceAccount", "name": "clerk", "namespace": "shop"}, {"kind": "User", "name": "owner"}],
}
TOKEN = {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}


def workload(
    kind: str = "Deployment", name: str = "till", pod: Any = None, namespace: str = "shop", **spec: Any
) -> Object:
    template = {"template": {"spec": {"serviceAccountName": "clerk", "volumes": [SHELF], **(pod or {})}}}
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec | ({"jobTemplate": {"spec": template}} if kind == "CronJob" else template),
    }


def account(**said: bool) -> Object:
    return {"kind": "ServiceAccount", "metadata": {"name": "clerk", "namespace": "shop"}, **said}


@pytest.mark.parametrize(
    ("on_pod", "on_account", "is_mounted"),
    [
        ({}, {}, True),
        ({}, {"automountServiceAccountToken": False}, False),
        ({"automountServiceAccountToken": True}, {"automountServiceAccountToken": False}, True),
        ({"automountServiceAccountToken": False}, {"automountServiceAccountToken": True}, False),
        ({"automountServiceAccountToken": False, "volumes": [TOKEN]}, {}, True),
    ],
)
def test_a_token_is_mounted_as_the_pod_says_or_else_the_account(
    on_pod: dict[str, Any], on_account: dict[str, bool], *, is_mounted: bool
) -> None:
    objects = [workload(pod=on_pod), account(**on_account)]
    assert [one.name for one in check_tokens(objects)] == ["token-mounted"] * is_mounted
    assert [one.name for one in check_tokens([*objects, BINDING])] == ["token-not-mounted"] * (not is_mounted)


def test_a_role_is_bound_to_an_account_of_one_namespace() -> None:
    elsewhere = workload(namespace="warehouse", pod={"automountServiceAccountToken": True})
    assert [one.name for one in check_tokens([elsewhere, account(), BINDING])] == ["token-mounted"]


def claim(*modes: str, namespace: str = "shop") -> Object:
    metadata = {"name": "shelf", "namespace": namespace}
    return {"kind": "PersistentVolumeClaim", "metadata": metadata, "spec": {"accessModes": list(modes)}}


SCALER = {
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "till"},
    "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "till"}, "minReplicas": 1, "maxReplicas": 3},
}


@pytest.mark.parametrize(
    ("users", "is_shared"),
    [
        ([workload(replicas=1)], False),
        ([workload(replicas=2)], True),
        ([workload(), SCALER], True),
        ([workload(), workload("CronJob", "count")], True),
        ([workload(), workload("CronJob", "count", pod={"volumes": []})], False),
        ([workload("Job", parallelism=2)], True),
        ([workload("DaemonSet")], True),
    ],
)
def test_a_claim_of_several_pods_must_be_for_many_nodes_unless_there_is_one(
    users: list[Object], *, is_shared: bool
) -> None:
    assert [one.name for one in check_claims([*users, claim("ReadWriteOnce")])] == ["claim-for-one-node"] * is_shared
    assert check_claims([*users, claim("ReadWriteOnce", "ReadWriteMany")]) == []
    assert check_claims([*users, claim("ReadOnlyMany")]) == []
    assert check_claims([*users, claim("ReadWriteOnce", namespace=ONE_MACHINE)]) == []


@pytest.mark.parametrize(
    ("probe", "is_found"),
    [
        ({"grpc": {"port": 8010}}, False),
        ({"grpc": {"port": 8011}}, True),
        ({"tcpSocket": {"port": "grpc"}}, False),
        ({"httpGet": {"port": "http", "path": "/"}}, True),
        ({"exec": {"command": ["true"]}, "periodSeconds": 5}, False),
    ],
)
def test_a_probe_asks_on_a_port_of_its_own_container(probe: dict[str, Any], *, is_found: bool) -> None:
    asked = {"name": "till", "ports": [{"name": "grpc", "containerPort": 8010}], "livenessProbe": probe}
    beside = {"name": "beside", "ports": [{"name": "http", "containerPort": 8011}]}
    found = check_probed_ports([workload(pod={"containers": [asked, beside]})])
    assert [(one.name, one.where) for one in found] == [
        ("probe-without-container-port", "Deployment/till/till")
    ] * is_found


def test_only_a_request_that_has_a_limit_can_be_above_it() -> None:
    resources = {"requests": {"cpu": "3", "memory": "2Gi"}, "limits": {"memory": "2048Mi", "cpu": "2"}}
    one = workload(pod={"containers": [{"name": "till", "resources": resources}]})
    assert [found.what for found in check_amounts([one])] == ["cpu: 3 > 2"]
    resources["limits"] = {"memory": "4Gi"}
    assert check_amounts([one]) == []
