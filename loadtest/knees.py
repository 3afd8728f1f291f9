"""The profile `capacity`: the search for the knee with runs of the generator, and what it writes down."""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from loadtest import rules
from loadtest.capacity import Knee, Step, find_knee, step_of
from loadtest.levels import Levels
from loadtest.recording import read_run
from loadtest.running import Load, complete_run

_JUDGED_FROM = 0.3
"""Share of a run after which it is judged: a queue needs time to show."""


def search_knee(load: Load, options: argparse.Namespace, levels: Levels) -> int:
    """Search, print each step, write capacity.json; the exit status is 1 where no rate was healthy."""
    knee = find_knee(
        _measuring(load, options.out, options.step_seconds, levels),
        options.first_rate,
        resolution=options.resolution,
        rate_max=options.rate_max,
    )
    write_knee(options.out, knee)
    print(f"knee: {knee.rate:.1f} visits/s, {knee.calls_per_second:.1f} calls/s; {knee.why}")
    print(f"steps: {options.out / 'capacity.json'}")
    return 0 if knee.rate else 1


def _measuring(load: Load, out: Path, seconds: float, levels: Levels) -> Callable[[float], Step]:
    count = 0

    def measure(rate: float) -> Step:
        nonlocal count
        count += 1
        folder = out / f"step-{count:02d}"
        other = replace(load, seed=load.seed + count)  # or a rate that is measured again would see the same arrivals
        complete_run(other, folder, "--rate-seconds", rate, seconds, seconds=seconds)
        calls, facts, _ = read_run(folder)
        limits = rules.generator(calls, facts, levels)
        is_limit = any(finding.result == "failed" for finding in limits)
        step = step_of(calls, rate, _JUDGED_FROM * seconds, facts.seconds, generator_is_the_limit=is_limit)
        print(
            f"{rate:8.1f} visits/s: {step.answered / step.seconds:7.1f} calls/s answered, {step.failed} of {step.due} "
            f"failed, p50 {step.p50_ms:.1f} ms, p99 {step.p99_ms:.1f} ms",
            flush=True,
        )
        return step

    return measure


def write_knee(out: Path, knee: Knee) -> None:
    """Write capacity.json."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "capacity.json").write_text(json.dumps(asdict(knee), indent=2) + "\n")
