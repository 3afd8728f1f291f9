"""Who exports which figures follows from what pods run and from whether Prometheus asks them."""

from copy import deepcopy

import pytest

from tests.k8s.exporters import ASKED, TRITON, exported_by
from tests.k8s.manifests import Objects, Pods, pods_of
from tests.k8s.overlays import every_overlay

CALLS = "aisle_grpc_in_flight_requests"


def pods_called(objects: Objects, name: str) -> Pods:
    return next(pods for pods in pods_of(objects) if pods.name == name)


@pytest.mark.parametrize("name", ["ranking", "ingest", "updater"])
def test_a_service_exports_what_its_modules_make_and_its_calls(name: str) -> None:
    objects = every_overlay()["staging"]
    own = {
        "ranking": "aisle_degradations_total",
        "ingest": "aisle_events_total",
        "updater": "aisle_updater_lag_seconds",
    }
    exported = {one: exported_by(objects, pods_called(objects, one)) for one in own}
    assert {CALLS, own[name]} <= exported[name]
    assert [one for one in own if own[name] in exported[one]] == [name]


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_triton_exports_its_own_figures_whoever_starts_it(overlay: str) -> None:
    objects = every_overlay()[overlay]
    assert exported_by(objects, pods_called(objects, "triton")) == TRITON


def test_pods_that_are_not_asked_or_not_told_a_port_export_nothing() -> None:
    objects = deepcopy(list(every_overlay()["staging"]))
    ranking = pods_called(objects, "ranking")
    [container] = ranking.spec["containers"]
    assert exported_by(objects, Pods(ranking.owner, ranking.labels, {}, ranking.spec)) == set()
    untold = {**ranking.spec, "containers": [container | {"envFrom": []}]}
    assert exported_by(objects, Pods(ranking.owner, ranking.labels, {ASKED: "9090"}, untold)) == set()
    container["ports"] = []
    assert exported_by(objects, ranking) == set()
    assert exported_by(objects, pods_called(objects, "valkey")) == set()
