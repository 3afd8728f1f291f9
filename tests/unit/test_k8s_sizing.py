"""Production is as large as the calculation in k8s/README.md says, and the calculation says what it is made of."""

import dataclasses
import re
from typing import Any

import pytest

from tests.conftest import REPOSITORY_ROOT
from tests.k8s.manifests import Objects, named
from tests.k8s.overlays import every_overlay
from tests.k8s.sizing import Inputs, fullest_share, row_bytes, sizes

README = (REPOSITORY_ROOT / "k8s/README.md").read_text()
SIZES = sizes(Inputs())


@pytest.fixture(scope="module")
def production() -> Objects:
    """What the overlay renders to."""
    return every_overlay()["production"]


def told(head: str) -> dict[str, float]:
    """The numbers of the README's table whose first column is called that."""
    table = README.partition(f"| {head} | value |")[2].partition("\n\n")[0]
    return {
        name: float(value.replace(",", "")) for name, value in re.findall(r"^\| `(\w+)` \| ([\d.,]+) \|", table, re.M)
    }


def spec(production: Objects, kind: str, name: str) -> Any:
    return named(production, kind, name)["spec"]


def container(production: Objects, kind: str, name: str) -> Any:
    return spec(production, kind, name)["template"]["spec"]["containers"][0]


def test_the_readme_states_every_input_as_it_is() -> None:
    assert told("input") == pytest.approx({name: float(value) for name, value in dataclasses.asdict(Inputs()).items()})


def test_the_readme_states_every_size_as_it_is_calculated() -> None:
    assert told("size") == pytest.approx(
        {name: float(value) for name, value in dataclasses.asdict(SIZES).items()}, rel=0.01
    )


def test_the_overlay_has_the_calculated_pods(production: Objects) -> None:
    ranking, ingest = (spec(production, "HorizontalPodAutoscaler", name) for name in ("ranking", "ingest"))
    assert (ranking["minReplicas"], ranking["maxReplicas"]) == (SIZES.ranking_least, SIZES.ranking_most)
    assert ranking["maxReplicas"] >= SIZES.ranking_at_peak
    assert ingest["minReplicas"] == SIZES.ingest_least
    assert spec(production, "Deployment", "updater")["replicas"] == SIZES.updaters
    assert spec(production, "StatefulSet", "valkey")["replicas"] == SIZES.valkey_servers


def test_the_overlay_asks_for_the_calculated_memory_and_volumes(production: Objects) -> None:
    memory = {
        name: container(production, kind, name)["resources"]["requests"]["memory"]
        for kind, name in (("Deployment", "ranking"), ("StatefulSet", "valkey"))
    }
    assert memory == {"ranking": f"{SIZES.ranking_memory_mib}Mi", "valkey": f"{SIZES.valkey_memory_gib}Gi"}
    told = {one["name"]: one.get("value") for one in container(production, "StatefulSet", "valkey")["env"]}
    assert told["MAXMEMORY"] == f"{SIZES.valkey_most_gib}gb"
    data = spec(production, "StatefulSet", "valkey")["volumeClaimTemplates"][0]["spec"]
    bundles = spec(production, "PersistentVolumeClaim", "bundles")
    asked = [one["resources"]["requests"]["storage"] for one in (data, bundles)]
    assert asked == [f"{SIZES.valkey_volume_gib}Gi", f"{SIZES.bundles_gib}Gi"]


def test_a_canary_has_what_productions_pods_have() -> None:
    ours, theirs = (container(every_overlay()["canary"], "Deployment", name) for name in ("ranking-canary", "ranking"))
    for part in ("resources", "startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "envFrom"):
        assert ours[part] == theirs[part], part


def test_the_overlay_has_the_calculated_shards_and_the_names_of_all_servers(production: Objects) -> None:
    data = {one["metadata"]["name"].rpartition("-")[0]: one["data"] for one in production if one["kind"] == "ConfigMap"}
    assert data["shards"]["AISLE_SHARDS"] == str(SIZES.shards)
    assert len(data["valkey-nodes"]["nodes"].split(",")) == int(data["valkey-nodes"]["size"]) == SIZES.valkey_servers


def test_a_row_is_as_large_as_its_lists_are_long_and_no_longer_than_they_may_be() -> None:
    nothing = {"events_per_shopper": 0, "items_per_shopper": 0, "leaves_per_shopper": 0, "categories_per_shopper": 0}
    scalars = row_bytes(Inputs(**nothing))
    assert scalars == 4 * 8 + 3 * 4
    assert row_bytes(Inputs(**nothing | {"events_per_shopper": 2}, id_bytes=5)) == scalars + 2 * (5 + 8 + 8)
    assert row_bytes(Inputs(events_per_shopper=50, items_per_shopper=256)) == row_bytes(
        Inputs(events_per_shopper=10**6, items_per_shopper=10**6)
    )


def test_servers_are_as_many_as_the_fullest_one_needs() -> None:
    assert SIZES.valkey_fullest_gib <= SIZES.valkey_most_gib
    assert fullest_share(1, 64) == 1.0
    assert fullest_share(3, 1) == 1.0
    assert 1 / 15 < fullest_share(15, 64) == 6 / 64, "a shard is on one server as a whole"
    smaller = sizes(Inputs(seen_days=0.0))
    assert smaller.valkey_servers < SIZES.valkey_servers


def test_twice_the_calls_need_twice_the_processes() -> None:
    doubled = sizes(Inputs(recommends_per_second=10_000))
    assert doubled.ranking_at_peak in (2 * SIZES.ranking_at_peak - 1, 2 * SIZES.ranking_at_peak)
    assert doubled.valkey_servers > SIZES.valkey_servers, "ids of events are kept for two days"
