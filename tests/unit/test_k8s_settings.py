"""Every variable that a manifest sets is one that somebody reads, and every setting that a pod needs is set."""

from copy import deepcopy

import pytest

from services import reference
from services.ingest.settings import IngestSettings
from tests.k8s import settings
from tests.k8s.availability import is_cron
from tests.k8s.manifests import Finding, Object, Objects, of_kind, pods_of
from tests.k8s.overlays import every_overlay


def changed_settings(name: str, old: str, new: str | None) -> list[Finding]:
    """What is found where a variable of a service's ConfigMaps has another line, or none."""
    objects = deepcopy(list(every_overlay()["local"]))
    for one in config_maps(objects, name):
        value = one["data"].pop(old)
        if new is not None:
            variable, _, given = new.partition("=")
            one["data"][variable] = given or value
    return settings.check_variables(objects)


def config_maps(objects: Objects, name: str) -> list[Object]:
    maps = list(of_kind(objects, "ConfigMap"))
    return [one for one in maps if one["metadata"]["name"].startswith(f"{name}-")]


def test_every_service_of_the_reference_runs_in_some_overlay() -> None:
    run = {
        settings.module_of(container)
        for objects in every_overlay().values()
        for pods in pods_of(objects)
        for container in pods.containers()
        if settings.settings_of(container)
    }
    assert len(run) == len(reference.SETTINGS)


@pytest.mark.parametrize("service", ["ranking", "ingest", "updater", "triton"])
def test_a_setting_that_a_pod_needs_is_missed_by_name(service: str) -> None:
    [own] = config_maps(every_overlay()["local"], f"{service}-settings")
    needed = {"AISLE_HOST", "AISLE_BUNDLES"}
    missed = {name for name in own["data"] if "unset-setting" in {one.name for one in
              changed_settings(f"{service}-settings", name, None)}}  # fmt: skip
    assert needed <= missed
    assert "AISLE_CLOCK" not in missed


def test_what_needs_to_be_set_follows_from_the_default() -> None:
    needed = {name for name, field in IngestSettings.model_fields.items() if settings.is_required(field)}
    assert needed == {
        "host", "bundles", "redis", "live_dir", "feast_dir", "offline_dir", "training_dir", "triton_address"
    }  # fmt: skip


def test_a_variable_that_nobody_reads_is_found() -> None:
    found = changed_settings("ranking-settings", "AISLE_METRICS_PORT", "AISLE_METRIC_PORT")
    assert [(one.name, one.what) for one in found] == [("unread-variable", "AISLE_METRIC_PORT")]


@pytest.mark.parametrize("line", ["AISLE_CLOCK=walls", "AISLE_DRAIN_SECONDS=soon", "AISLE_RANKING_PORT=80100"])
def test_a_value_that_a_setting_cannot_take_is_found(line: str) -> None:
    found = changed_settings("ranking-settings", line.partition("=")[0], line)
    assert [(one.name, one.what) for one in found] == [("wrong-setting", line)]


def test_a_flag_that_a_command_does_not_know_and_a_port_nobody_listens_on_are_found() -> None:
    objects = deepcopy(list(every_overlay()["local"]))
    for pods in pods_of(objects):
        for container in pods.containers():
            if settings.module_of(container) == "training.nightly":
                container["args"].append("--quickly")
            container["ports"] = []
    assert [one.what for one in settings.check_flags(objects)] == ["training.nightly --quickly"]
    elsewhere = {one.where for one in settings.check_listening(objects)}
    assert elsewhere == {f"Deployment/{name}" for name in ("ranking", "ingest", "updater", "triton")}


@pytest.mark.parametrize(
    ("schedule", "is_right"),
    [
        ("0 3 * * *", True),
        ("*/15 0-6,22 1 1-12/2 7", True),
        ("0 24 * * *", False),
        ("0 3 * *", False),
        ("0 3 0 * *", False),
        ("0 6-3 * * *", False),
        ("*/0 * * * *", False),
        ("daily * * * *", False),
    ],
)
def test_a_schedule_is_five_fields_within_their_ranges(schedule: str, is_right: bool) -> None:
    assert is_cron(schedule) is is_right
