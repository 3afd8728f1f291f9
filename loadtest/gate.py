"""The gate: `python -m loadtest.gate RUN_FOLDER` judges a finished run, writes verdict.json, summary.csv and
report.html beside it, and exits with 0 (pass), 1 (fail) or 3 (the run says nothing about the build).

Choices:
- Errors are judged always. Waiting times, degraded replies and freshness are not judged while a fault lasts and the
  deployment recovers from it: that part is told, and how long it recovers is judged instead.
- A run is compared with the last accepted one of its environment and profile, at about the same rate. `--accept` makes
  this run the accepted one if it passes; `--override REASON` does so where it fails, for a change that is wanted.
- A run whose generator was the bottleneck is invalid, whatever else it shows.

The rules are in counted.py and rules.py, how sure they are in resampling.py.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from loadtest import counted, rules
from loadtest.accepted import ACCEPTED, accept, accepted_run
from loadtest.causes import causes_of
from loadtest.comparison import ratios, timed
from loadtest.figures import bundles_of, steady
from loadtest.findings import Finding
from loadtest.levels import Levels, LevelsError, levels_file, read_levels
from loadtest.recording import Mark, RunFacts, read_run
from loadtest.report import write_report
from loadtest.verdict import OF_THE_RUN, Verdict, in_order


class Run(NamedTuple):
    """What `read_run` reads."""

    calls: pl.DataFrame
    facts: RunFacts
    marks: Sequence[Mark]

    def judged(self) -> pl.DataFrame:
        """Calls that were due after the warm-up."""
        return self.calls.filter(pl.col("due_s") >= self.facts.warm_up_seconds)


def judge(
    calls: pl.DataFrame, facts: RunFacts, marks: Sequence[Mark], levels: Levels, accepted: Run | None = None
) -> Verdict:
    """Judge a run.

    Args:
        calls: CALLS.
        facts: of the run.
        marks: what was done to the deployment meanwhile.
        levels: of its environment.
        accepted: the run that it is compared with.
    """
    judged = Run(calls, facts, marks).judged()
    calm = steady(judged, marks, levels.recovery_s)
    quantiles = timed(calm, levels)
    apart = rules.comparable(facts, accepted.facts) if accepted else "there is none"
    before = None if apart or accepted is None else steady(accepted.judged(), accepted.marks, levels.recovery_s)
    compared = ratios(quantiles, timed(before, levels, "accepted"), levels.confidence) if before is not None else []
    findings = in_order(
        [
            *rules.measured(calm),
            *rules.generator(judged, facts, levels),
            *counted.errors(judged, levels),
            *counted.lost(judged),
            *counted.freshness(calm, levels),
            *counted.degraded(calm, levels),
            *counted.deferred(calm, levels),
            *rules.latency(calm, quantiles, levels),
            *rules.regression(compared, levels),
            *rules.recovery(marks, levels),
            *rules.throughput(judged, facts, levels),
        ]
    )
    failures = [finding for finding in findings if finding.result == "failed"]
    return Verdict(
        findings=findings,
        causes=causes_of(failures, judged, calm, before),
        ratios=compared,
        bundles=bundles_of(judged),
        accepted_bundles=bundles_of(accepted.judged()) if accepted else None,
        warnings=_warnings(findings, apart if accepted else ""),
    )


def _warnings(findings: Sequence[Finding], apart: str) -> list[str]:
    """What to know before anything else is read."""
    found = [
        f"The generator is what was measured: {finding}."
        for finding in findings
        if finding.check in OF_THE_RUN and finding.result == "failed"
    ]
    return found + ([f"Not compared: {apart}."] if apart else [])


def settle(folder: Path, levels_path: Path | None = None, accepted_root: Path = ACCEPTED) -> Verdict:
    """Judge the run in a folder and write what was found beside it.

    Raises:
        FileNotFoundError: the run is not whole.
        LevelsError: there are no levels for its environment, or they cannot be used.
    """
    calls, facts, marks = read_run(folder)
    levels = read_levels(levels_path or levels_file(facts.environment))
    before = accepted_run(facts, accepted_root)
    accepted = Run(*read_run(before)) if before else None
    verdict = judge(calls, facts, marks, levels, accepted)
    write_report(
        folder, verdict, calls, facts, marks, levels, accepted.judged() if accepted and verdict.ratios else None
    )
    return verdict


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _parser().parse_args(arguments)
    try:
        verdict = settle(options.folder, options.levels, options.accepted)
    except (FileNotFoundError, LevelsError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    lines = [verdict.outcome.upper() + ": " + verdict.reason, *verdict.warnings]
    lines += [f"cause: {cause.text}\n       look at: {cause.where}" for cause in verdict.causes]
    print("\n".join([*lines, f"report: {options.folder / 'report.html'}"]))
    if options.accept or options.override:
        print(accept(options.folder, verdict, options.override, options.accepted))
    sys.exit(verdict.exit_code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.gate", description=__doc__)
    parser.add_argument("folder", type=Path, help="of a finished run")
    parser.add_argument("--levels", type=Path, help="a file of service levels (default: that of the run's environment)")
    parser.add_argument("--accept", action="store_true", help="make it the accepted run if it passes")
    parser.add_argument("--override", metavar="REASON", help="make it the accepted run though it fails; kept beside it")
    parser.add_argument("--accepted", type=Path, default=ACCEPTED, help="where accepted runs lie (default %(default)s)")
    return parser


if __name__ == "__main__":
    main()
