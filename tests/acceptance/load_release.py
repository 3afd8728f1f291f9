"""Lines 1, 4 and 7: what the gate lets through and what it does not, what shoppers notice of faults, and whether the
same build gets the same verdict every time."""

import json
import shutil
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from features.bundle import open_bundle, promote, serving_path
from loadtest.figures import DEFERRED, FAILED
from loadtest.recording import FRESHNESS, Mark, read_run
from tests.acceptance.load_runs import DATA, FOLDER, Finished, fresh_stack, load_test, plant, target
from tests.acceptance.rows import Row, at_most, holds, told
from tests.second_bundle import quieten, rewritten

SLOW_SECONDS = 0.02
ERROR_SHARE = 0.01
SMOKES = 10
RECOVERY_SECONDS = 5.0
FAULTS = (
    "kill:triton@35+6",
    "stall:triton@60+4",
    "kill:valkey@80+4",
    "stall:valkey@100+3",
    "kill:ranking-worker@115",
    "swap:bundle@140",
)


def gate() -> list[Row]:
    """Line 1: the good build passes; a slower ranker, one error in a hundred and features that stand still do not."""
    with fresh_stack() as stack:
        good = load_test("good", *target(stack), "--profile", "release")
        smoke = load_test("good-smoke", *target(stack), "--accept")
        stack.stop("updater")
        stale = load_test("stale", *target(stack))
        stack.restart("updater")
        plant(stack, "slow", SLOW_SECONDS)
        slow = load_test("slow", *target(stack))
        plant(stack, "errors", ERROR_SHARE)
        errors = load_test("errors", *target(stack))
    return [
        holds("the_good_build_passes_the_release_profile", value=good.status == 0),
        holds("the_good_build_passes_the_smoke_profile", value=smoke.status == 0),
        told("good_reason", good.verdict["reason"]),
        *_refused("20_ms_in_the_ranker", slow, "latency", stage="ranking"),
        *_refused("one_error_in_a_hundred", errors, "errors"),
        *_refused("a_stopped_updater", stale, "freshness"),
    ]


def _refused(name: str, ran: Finished, check: str, stage: str = "") -> list[Row]:
    """Whether the run failed for that reason, and the report names method and stage."""
    causes = [cause for cause in ran.verdict["causes"] if cause["check"] == check]
    named = [cause for cause in causes if cause["stage"] == stage] if stage else causes
    in_report = any(cause["method"] in ran.report and (cause["stage"] or "") in ran.report for cause in named)
    return [
        holds(f"{name}_fails_the_gate", value=ran.status == 1),
        holds(f"{name}_is_named", value=bool(named) and in_report),
        told(f"{name}_cause", causes[0]["text"] if causes else ran.verdict["reason"]),
    ]


def faults() -> list[Row]:
    """Line 4: back ends and a ranking process killed or stalled, and another bundle, under the release profile."""
    bundles = _two_bundles(FOLDER / "bundles")
    words = [word for fault in FAULTS for word in ("--fault", fault)]
    stack = ["--start-stack", "--data", DATA, "--bundles", bundles, "--port", 0, "--ranking-processes", 2]
    ran = load_test("faults", *stack, "--profile", "release", *words, build=Path("build"))
    calls, _, marks = read_run(ran.folder)
    asked = calls.filter(pl.col("method") != FRESHNESS)
    failed = asked.filter(FAILED)
    degraded = Counter(asked["degradations"].explode().drop_nulls().to_list())
    return [
        told("calls", asked.height),
        told("calls_degraded", json.dumps(degraded)),
        told("calls_failed_by_method_and_code", json.dumps(_counts(failed))),
        at_most("calls_failed_and_events_lost", failed.height, 0),
        told("calls_whose_events_were_sent_again", asked.filter(DEFERRED).height),
        holds("every_fault_is_marked", value=len(marks) == len(FAULTS)),
        *(_recovery(mark) for mark in marks),
        holds("the_report_shows_every_fault", value=all(mark.what in ran.report for mark in marks)),
        told("verdict", ran.verdict["reason"]),
    ]


def _recovery(mark: Mark) -> Row:
    seconds = float("inf") if mark.recovered_s is None else round(mark.recovered_s, 2)
    return at_most(f"{mark.what.replace(' ', '_')}_at_{mark.at_s:.0f}_recovery_seconds", seconds, RECOVERY_SECONDS)


def _counts(failed: pl.DataFrame) -> dict[str, int]:
    groups = failed.group_by("method", "code").len().sort("method", "code")
    return {f"{method} {code}": count for method, code, count in groups.iter_rows()}


def _two_bundles(bundles: Path) -> Path:
    """A folder with the serving bundle, promoted, and another one."""
    shutil.rmtree(bundles, ignore_errors=True)
    root = serving_path(Path("bundles"))
    shutil.copytree(root, bundles / root.name)
    first = open_bundle(bundles / root.name)
    rewritten(first, bundles, f"{first.version}-other", quieten)
    promote(bundles, first.version, "acceptance", datetime.now(UTC))
    return bundles


def same_verdict() -> list[Row]:
    """Line 7: the smoke profile again and again, each compared with the first that was accepted."""
    with fresh_stack() as stack:
        accepted = load_test("smoke-accepted", *target(stack), "--accept")
        runs = [load_test(f"smoke-{number}", *target(stack)) for number in range(SMOKES)]
    outcomes = Counter(run.verdict["outcome"] for run in runs)
    return [
        holds("the_first_run_is_accepted", value=accepted.status == 0),
        told("outcomes", json.dumps(outcomes)),
        *(told(f"reason_{number}", run.verdict["reason"]) for number, run in enumerate(runs) if run.status),
        holds(f"the_same_verdict_{SMOKES}_times", value=len(outcomes) == 1),
        holds("which_is_pass", value=outcomes["pass"] == SMOKES),
    ]
