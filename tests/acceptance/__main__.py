"""`make accept AREA=chain [LINE=n]`: measures what an area promises, at full size, and writes build/accept-AREA.json.

Lines that were measured before are kept, so an interrupted run goes on where it stopped; delete the file to start
afresh. A line asked for by number is always measured anew. Exit status 1 when a figure misses its bound.
"""

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.acceptance.rows import Ledger, Row

AREAS = ("chain", "quality", "ranking", "live", "load", "k8s")
_VERDICTS = {True: "met", False: "NOT MET", None: "-"}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance", description=__doc__)
    parser.add_argument("area", choices=AREAS)
    parser.add_argument("--line", type=int, help="measure this line only")
    parser.add_argument("--data", help="folder of the Amazon Beauty benchmark, for the lines that need it")
    options = parser.parse_args()
    if options.data:
        os.environ["AISLE_AMAZON_BEAUTY"] = options.data
    lines: Mapping[int, Callable[[], list[Row]]] = importlib.import_module(f"tests.acceptance.{options.area}").LINES
    ledger = Ledger(Path("build") / f"accept-{options.area}.json")
    for line in [options.line] if options.line else sorted(lines):
        if not options.line and ledger.has(line):
            continue
        started = time.monotonic()
        rows = lines[line]()
        ledger.record(line, rows, time.monotonic() - started)
        for row in rows:
            print(f"{line}  {_VERDICTS[row.met]:<8} {row.name}: {row.value}  ({row.bound})", flush=True)
    if unmet := ledger.unmet():
        sys.exit(f"not met: {', '.join(unmet)}")


if __name__ == "__main__":
    main()
