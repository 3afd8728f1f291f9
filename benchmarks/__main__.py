"""`python -m benchmarks [--only PREFIX] [--out build/bench.json]`: Aisle beside other ways of doing the same.

Writes a JSON file and, beside it, the page (`build/bench.md`). Each group of rows is measured in a process of its own,
one after another, with one thread for every library: what a group holds or starts is gone before the next one. Exit
status 1 where a group fails or a row that is not ahead gives no reason.
"""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.page import RunOfBench, page, times
from benchmarks.rows import Row

_LIBRARIES = ("OMP", "OPENBLAS", "MKL", "NUMEXPR")
ONE_THREAD = {"POLARS_MAX_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"} | {
    f"{name}_NUM_THREADS": "1" for name in _LIBRARIES
}
OFFLINE = {"HF_HUB_OFFLINE": "1", "ORT_DISABLE_TELEMETRY": "1"}


def _rows_of(module: str) -> Callable[[], list[Row]]:
    """`rows()` of `benchmarks.<module>`, which is imported only when it is called."""
    return lambda: importlib.import_module(f"benchmarks.{module}").rows()


_NAMES = ("ranking", "retrieval", "features", "triton", "ingest", "training")
GROUPS: Mapping[str, Callable[[], list[Row]]] = {name: _rows_of(name) for name in _NAMES}
"""Group → what measures it; the names of its rows begin with the group's."""


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default="", metavar="PREFIX", help="groups whose names begin so; default: all")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"), help="the page is .md beside it")
    parser.add_argument("--group", choices=GROUPS, help=argparse.SUPPRESS)  # the child's side
    options = parser.parse_args(arguments)
    if options.group:
        options.out.write_text(json.dumps([asdict(row) for row in GROUPS[options.group]()]))
        return 0
    chosen = [name for name in GROUPS if name.startswith(options.only)]
    if not chosen:
        parser.error(f"--only {options.only}: there are {', '.join(GROUPS)}")
    try:
        run, rows = measured(chosen)
        write(options.out, run, rows)
    except (subprocess.CalledProcessError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


def measured(groups: list[str]) -> tuple[RunOfBench, list[Row]]:
    """Measure groups, and tell of each row as its group ends.

    Raises:
        subprocess.CalledProcessError: a group failed; the terminal says why.
    """
    rows, seconds = [], {}
    began = datetime.now(UTC).isoformat(timespec="seconds")
    for number, name in enumerate(groups, start=1):
        print(f"{number}/{len(groups)} {name} ...", flush=True)
        started = time.monotonic()
        found = _in_a_process(name)
        seconds[name] = round(time.monotonic() - started, 1)
        rows += found
        for row in found:
            print(f"  {row.name}: {row.ours:g} to {row.theirs:g} {row.unit}, {times(row)}  ({row.rival})", flush=True)
        print(f"  {seconds[name]:.0f} s", flush=True)
    machine = f"{os.cpu_count()} cores of {_processor()}, Python {platform.python_version()}"
    return RunOfBench(measured=began, machine=machine, seconds=seconds), rows


def write(out: Path, run: RunOfBench, rows: list[Row]) -> None:
    """Write the JSON file, then the page beside it.

    Raises:
        ValueError: see `rows.checked`; the JSON file is there all the same.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    facts = asdict(run) | {"total_seconds": round(run.total_seconds, 1)}
    out.write_text(json.dumps(facts | {"rows": [asdict(row) for row in rows]}, indent=2) + "\n")
    out.with_suffix(".md").write_text(page(rows, run))
    print(f"{out.with_suffix('.md')}: {len(rows)} rows in {run.total_seconds:.0f} s")


def _in_a_process(group: str) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "benchmarks", "--group", group, "--out", str(out)]
        subprocess.run(command, check=True, env=os.environ | ONE_THREAD | OFFLINE)  # noqa: S603 - our own command
        return [Row(**(row | {"interval": _pair(row["interval"])})) for row in json.loads(out.read_text())]


def _pair(interval: list[float] | None) -> tuple[float, float] | None:
    return (interval[0], interval[1]) if interval else None


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


if __name__ == "__main__":
    sys.exit(main())
