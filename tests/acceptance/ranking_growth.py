"""Line 5 of AREA=ranking: what a request and an item cost where the catalogue is forty times as large.

Two shops drawn alike, of as many items as Complete Journey has and of a million, each opened by a process of its own
as serving opens it; a third process with next to no items tells what a process costs before it holds any. Rounds of
requests alternate between the two, so that whatever else the machine does hits both.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from tests.acceptance.rows import Row, at_least, at_most
from tests.large_shop import catalogue, large_shoppers, write_large_bundle

SMALL, LARGE, NEXT_TO_NONE = 24_000, 1_000_000, 400
BUILD = Path("build/ranking-growth")

_ROUNDS = 20
_SHOPPERS = 400
_LATENCY_RATIO = 1.5
_BYTES_PER_ITEM = 1000
_RECALL = 0.95


def growth() -> list[Row]:
    """Line 5: latency, memory and recall."""
    shutil.rmtree(BUILD, ignore_errors=True)
    try:
        seconds = {count: write_shop(BUILD / str(count), count) for count in (NEXT_TO_NONE, SMALL, LARGE)}
        return [Row("index_and_bundle_seconds", round(seconds[LARGE], 1), "reported", True), *measured()]
    finally:
        shutil.rmtree(BUILD, ignore_errors=True)


def write_shop(folder: Path, item_count: int) -> float:
    """Write a shop's bundle and shoppers; the seconds that the bundle took."""
    shop = catalogue(item_count)
    started = time.monotonic()
    write_large_bundle(folder / "bundles", shop)
    seconds = time.monotonic() - started
    (folder / "shoppers.json").write_text(json.dumps(large_shoppers(shop, _SHOPPERS)))
    return seconds


def measured() -> list[Row]:
    """Ask the processes."""
    with RankingProcess(NEXT_TO_NONE) as empty, RankingProcess(SMALL) as small, RankingProcess(LARGE) as large:
        spent: dict[RankingProcess, list[float]] = {empty: [], small: [], large: []}
        for round_number in range(_ROUNDS):
            for process in spent:
                answer = process.ask("recommend")
                spent[process] += answer if round_number else []  # the first round warms up
        median = {process: float(np.median(milliseconds)) for process, milliseconds in spent.items()}
        per_item = (large.ask("memory") - empty.ask("memory")) / LARGE
        searches = large.ask("search")
    return [
        Row("recommend_p50_ms_at_24k", round(median[small], 2), "reported", True),
        Row("recommend_p50_ms_at_1m", round(median[large], 2), "reported", True),
        at_most("recommend_p50_ratio", round(median[large] / median[small], 3), _LATENCY_RATIO),
        at_most("pss_bytes_per_item", round(per_item), _BYTES_PER_ITEM),
        *(row for name, found in searches.items() for row in search_rows(name, found)),
    ]


def search_rows(name: str, found: dict[str, float]) -> list[Row]:
    """What one filter's searches found and took."""
    return [
        at_least(f"recall@100_{name}", round(found["recall"], 4), _RECALL),
        Row(f"kept_{name}", round(found["kept"], 4), "reported", True),
        Row(f"search_p50_ms_{name}", round(found["p50_ms"], 2), "reported", True),
    ]


class RankingProcess:
    """A process that holds one shop and answers commands (ranking_growth_process)."""

    def __init__(self, item_count: int) -> None:
        """Args: item_count: of a shop that was written before."""
        self._folder = BUILD / str(item_count)

    def __enter__(self) -> Self:
        """Start it."""
        arguments = [str(self._folder / name) for name in ("bundles", "shoppers.json")]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.ranking_growth_process", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End it."""
        self._process.communicate()

    def ask(self, command: str) -> Any:
        """Its answer to a command.

        Raises:
            RuntimeError: it ended instead; the terminal says why.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._folder}: the process ended with status {self._process.wait()}")
        return json.loads(line)
