"""`python -m loadtest`: shoppers visit a deployment, and a verdict says whether it may go out.

    python -m loadtest --start-stack --profile release           a stack of this machine's own, three minutes, a verdict
    python -m loadtest --target shop:8010 --ingest shop:8012     any deployment; without --ingest no events are written
    python -m loadtest --target shop:8010 --profile capacity     how many visits a second it takes
    python -m loadtest --start-stack --fault kill:triton@20+8    what shoppers notice of a fault

Without --target the deployment that BUILD/stack.json lists is visited. Events are really written: into a stack of its
own with --start-stack, whose folder is emptied first; elsewhere only where --ingest names a service. Exit status 0:
pass; 1: fail; 2: wrong usage; 3: the run says nothing about the deployment.
"""

import argparse
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from features.bundle import BundleError, serving_path
from loadtest.accepted import accept
from loadtest.access import Access
from loadtest.deployment import LocalDeployment, listed_parts
from loadtest.faults import Fault, FaultError, check_faults, parse_fault
from loadtest.gate import settle
from loadtest.knees import search_knee
from loadtest.levels import LevelsError, levels_file, read_levels
from loadtest.options import CAPACITY, parser_of
from loadtest.profiles import PROFILES
from loadtest.running import Load, complete_run
from services.common.process import ProcessError
from services.stack import StackConfig, running_stack

INVALID = 3


@dataclass(frozen=True, slots=True)
class Target:
    """What is visited."""

    ranking: str
    ingest: str | None
    deployment: LocalDeployment | None
    """Its processes; None where they are not known."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = parser_of(__doc__ or "")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # what was done is undone on the way out
    try:
        faults = [parse_fault(text) for text in options.fault]
        levels = read_levels(options.levels or levels_file(options.environment))
        with _target(options) as target:
            load = _load(options, target)
            if options.profile == CAPACITY:
                check_faults(faults, 0.0, target.deployment)
                return search_knee(load, options, levels)
            _visit(load, options, faults, target)
    except (FaultError, LevelsError, BundleError, _UsageError) as error:
        parser.error(str(error))
    except ProcessError as error:
        print(f"loadtest: {error}", file=sys.stderr)
        return INVALID
    return _verdict(options)


class _UsageError(ValueError):
    """The command line asks for what is not there."""


def _visit(load: Load, options: argparse.Namespace, faults: Sequence[Fault], target: Target) -> None:
    """The run, to its end."""
    if options.rate_seconds:
        name, (base, seconds) = "constant", options.rate_seconds
        rate: tuple[object, ...] = ("--rate-seconds", base, seconds)
    else:
        name, base, seconds = options.profile, options.visits_per_second, PROFILES[options.profile].seconds
        rate = ("--profile", name, "--visits-per-second", base)
    check_faults(faults, seconds, target.deployment)
    events = f"events to {target.ingest}" if target.ingest else "no events are written"
    print(f"{name}: {seconds:g} s, {base:g} visits/s to {target.ranking}, {events}", flush=True)
    complete_run(load, options.out, *rate, seconds=seconds, faults=faults, deployment=target.deployment)


def _verdict(options: argparse.Namespace) -> int:
    accepted = options.build / "loadtest" / "accepted"
    verdict = settle(options.out, options.levels, accepted)
    lines = [f"{verdict.outcome.upper()}: {verdict.reason}", *verdict.warnings]
    lines += [f"cause: {cause.text}\n       look at: {cause.where}" for cause in verdict.causes]
    lines += [f"report: {options.out / 'report.html'}"]
    if options.accept:
        lines += [accept(options.out, verdict, None, accepted)]
    print("\n".join(lines))
    return verdict.exit_code


@contextmanager
def _target(options: argparse.Namespace) -> Iterator[Target]:
    """What the options name, started where they say so."""
    if options.start_stack:
        with running_stack(_stack_config(options)) as stack:
            deployment = LocalDeployment(stack.parts(), options.bundles, swap_to=options.swap_to, stack=stack)
            yield Target(stack.addresses["ranking"], stack.addresses["ingest"], deployment)
        return
    parts = listed_parts(options.build)
    listed = {part.name: part.address for part in parts}
    ranking = options.target or listed.get("ranking")
    if ranking is None:
        raise _UsageError(f"no --target, no --start-stack and no {options.build / 'stack.json'}")
    is_listed = ranking == listed.get("ranking")
    ingest = options.ingest or (listed.get("ingest") if is_listed and options.target is None else None)
    known = LocalDeployment(parts, options.bundles, swap_to=options.swap_to) if is_listed else None
    yield Target(ranking, None if ingest == "none" else ingest, known)


def _stack_config(options: argparse.Namespace) -> StackConfig:
    """A stack whose stores begin empty, so that no run depends on what an earlier one wrote."""
    build = options.build / "loadtest" / "stack"
    shutil.rmtree(build, ignore_errors=True)
    return StackConfig(
        data=options.data,
        bundles=options.bundles,
        build=build,
        data_cache=options.build / "data",
        triton_venv=options.triton_venv,
        ranking_port=options.port,
        ranking_processes=options.ranking_processes,
    )


def _load(options: argparse.Namespace, target: Target) -> Load:
    if options.out is None:
        moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        options.out = options.build / "loadtest" / "runs" / f"{options.profile}-{moment}"
    journeys = options.journeys or ("home" if options.profile == CAPACITY else "all")
    has_bundle = journeys == "all" or options.bundles.exists()
    return Load(
        ranking=target.ranking,
        ingest=target.ingest,
        environment=options.environment,
        bundle=serving_path(options.bundles) if has_bundle else None,
        data=options.data,
        cache=options.build / "data",
        journeys=journeys,
        seed=options.seed,
        workers=options.workers,
        timeout_seconds=options.timeout,
        connections=options.connections,
        remote_workers=options.remote_workers,
        web_ui=options.web_ui,
        **asdict(Access.of(options)),
    )


if __name__ == "__main__":
    sys.exit(main())
