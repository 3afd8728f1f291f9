"""Lines 1, 2, 3 and 6 of AREA=k8s: what the manifests say, read by tests/k8s."""

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.acceptance.rows import Row, at_least, at_most, holds, told
from tests.k8s import settings
from tests.k8s.__main__ import main
from tests.k8s.checks import README, findings
from tests.k8s.edges import allowed_edges, check_edges, table_of
from tests.k8s.faults import FAULTS, planted
from tests.k8s.manifests import dumped, named, of_kind, pods_of
from tests.k8s.overlays import TOOLS, every_overlay
from tests.k8s.schema import VERSIONS, schema_findings
from tests.k8s.sizing import Inputs
from tests.k8s.sizing import sizes as calculated


def faults() -> list[Row]:
    """Line 1: the check is green, and every planted fault is caught by its name."""
    with TemporaryDirectory(prefix="aisle-k8s-") as folder:
        status = main(Path(folder))
        caught = [fault.name for fault in FAULTS if fault.caught_as in _found(fault.name, Path(folder))]
    return [
        at_most("k8s_check_exit_status", status, 0),
        told("overlays", len(every_overlay())),
        told("versions_of_kubernetes", ", ".join(VERSIONS)),
        at_least("planted_faults_caught_by_name", len(caught), 25),
        at_most("planted_faults_not_caught", len(FAULTS) - len(caught), 0),
    ]


def _found(name: str, folder: Path) -> set[str]:
    [fault] = [fault for fault in FAULTS if fault.name == name]
    objects = planted(every_overlay()["production"], fault)
    path = folder / "planted.yaml"
    path.write_text(dumped(objects))
    by_schema = schema_findings(path, TOOLS / "kubernetes-validate", VERSIONS[-1:])
    return {finding.name for finding in by_schema or findings(objects)}


def variables() -> list[Row]:
    """Line 2: over all overlays, the variables that nobody reads and the settings that are not set."""
    told_of, found = 0, []
    for objects in every_overlay().values():
        for pods in pods_of(objects):
            told_of += sum(len(settings.environment_of(objects, pods, one)) for one in pods.containers())
        found += settings.check_variables(objects) + settings.check_listening(objects) + settings.check_flags(objects)
    names = [finding.name for finding in found]
    return [
        told("variables_set", told_of),
        at_most("variables_that_nobody_reads", names.count("unread-variable"), 0),
        at_most("required_settings_not_set", names.count("unset-setting"), 0),
        at_most("values_that_a_setting_cannot_take", names.count("wrong-setting"), 0),
        at_most("ports_or_flags_that_programs_do_not_know", len(set(names) & {"listens-elsewhere", "unknown-flag"}), 0),
    ]


def edges() -> list[Row]:
    """Line 3: the edges that policies allow against those of the table, and what the lack of a policy does."""
    table, rows = table_of(README), []
    for name, objects in every_overlay().items():
        names = [finding.name for finding in check_edges(objects, table)]
        rows += [
            told(f"{name}_edges", len(set(allowed_edges(objects)))),
            at_most(f"{name}_needed_paths_cut", names.count("needed-path-cut"), 0),
            at_most(f"{name}_paths_left_open", names.count("path-left-open"), 0),
        ]
    production = every_overlay()["production"]
    unnoticed = [
        one["metadata"]["name"]
        for one in of_kind(production, "NetworkPolicy")
        if not check_edges([other for other in production if other is not one], table)
    ]
    return [*rows, holds("every_policy_is_missed_when_it_is_taken_away", value=not unnoticed)]


def sizes() -> list[Row]:
    """Line 6: the calculation, and whether the production overlay is as large."""
    wanted, production = calculated(Inputs()), every_overlay()["production"]
    scaler = named(production, "HorizontalPodAutoscaler", "ranking")["spec"]
    memory = named(production, "Deployment", "ranking")["spec"]["template"]["spec"]["containers"][0]["resources"]
    servers = named(production, "StatefulSet", "valkey")["spec"]
    return [
        *(told(name, round(value, 2)) for name, value in dataclasses.asdict(wanted).items()),
        holds(
            "ranking_scales_to_the_peak", value=scaler["maxReplicas"] == wanted.ranking_most >= wanted.ranking_at_peak
        ),
        holds("ranking_memory", value=memory["requests"]["memory"] == f"{wanted.ranking_memory_mib}Mi"),
        holds("updaters", value=named(production, "Deployment", "updater")["spec"]["replicas"] == wanted.updaters),
        holds("valkey_servers", value=servers["replicas"] == wanted.valkey_servers),
    ]
