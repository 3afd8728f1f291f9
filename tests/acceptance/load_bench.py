"""Line 6 of AREA=load: `make bench` ends within its time, and where Aisle is not ahead the page says why."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.acceptance.rows import Row, at_most, holds, told

OUT = Path("build/bench.json")
_SECONDS = 1200.0


def bench_page() -> list[Row]:
    """Every comparison at full size, in a process of its own as `make bench` runs it."""
    OUT.unlink(missing_ok=True)
    status = subprocess.run([sys.executable, "-m", "benchmarks", "--out", str(OUT)], check=False).returncode
    return page_rows(status, OUT)


def page_rows(status: int, out: Path) -> list[Row]:
    """What is promised of a run that has ended."""
    if not out.exists():
        return [holds("bench_ended", value=False)]
    run = json.loads(out.read_text())
    silent = [row["name"] for row in run["rows"] if not _ahead(row) and not row["reason"].strip()]
    return [
        holds("bench_ended", value=status == 0 and out.with_suffix(".md").exists()),
        at_most("bench_seconds", run["total_seconds"], _SECONDS),
        at_most("rows_neither_ahead_nor_with_a_reason", len(silent), 0),
        told("rows", len(run["rows"])),
        told("rows_not_ahead", ", ".join(row["name"] for row in run["rows"] if not _ahead(row)) or "none"),
        *(told(row["name"], row["value"]) for row in run["rows"]),
    ]


def _ahead(row: dict[str, Any]) -> bool:
    """Told anew from the figures, by whom the page was not written."""
    low = row["interval"][0] if row["interval"] else row["value"]
    return bool(min(low, row["value"]) > 1.0)
