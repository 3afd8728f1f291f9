"""The tiny shop with shoppers who did something, for load tests: everything that a stack of its own needs, and the
command `python -m loadtest` against it."""

import subprocess
import sys
from pathlib import Path

import polars as pl

from features import bundle as files
from services.stack import StackConfig
from tests.shop import day, event
from tests.shop import events as events_table
from tests.tiny_shop import AS_OF, write_shop_bundle

_SHOPPERS = 10
_EVENTS = 100
_SECONDS = 6
_VISITS_PER_SECOND = 4
_LEVELS = """
confidence = 0.95
beyond = 10
error_share = 0.01
throughput_share = 0.8
recovery_s = 60.0
latency = {}
degraded = {}
regression = {}
generator = { cpu_share = 1.0, late_p99_ms = 10000, waiting_share = 1.0 }
"""
"""No waiting time is judged: the machine that tests run on is anybody's guess."""


def write_load_shop(folder: Path, triton_venv: Path) -> StackConfig:
    """Bundle and data below `folder`, and how to serve them."""
    items = pl.read_parquet(write_shop_bundle(folder / "bundles", seed=1).path(files.ITEMS))
    (folder / "shop").mkdir()
    items.write_parquet(folder / "shop" / "items.parquet")
    acts = (event(f"shopper-{n % _SHOPPERS}", f"item-{n * 7 % items.height}", n / 100) for n in range(_EVENTS))
    long_ago = AS_OF - day(10)
    happened = events_table(*acts).with_columns(pl.col("event_time") + long_ago)
    happened.write_parquet(folder / "shop" / "events.parquet")
    return StackConfig(
        data=f"parquet:{folder / 'shop'}",
        bundles=folder / "bundles",
        build=folder,
        triton_venv=triton_venv,
        ranking_port=0,
    )


def load_test(*words: object) -> subprocess.CompletedProcess[str]:
    """`python -m loadtest`; what it printed is all in `stdout`."""
    command = [sys.executable, "-m", "loadtest", *map(str, words)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def visit(folder: Path, name: str, *words: object) -> subprocess.CompletedProcess[str]:
    """A run against what the folder's stack.json lists."""
    levels = folder / "levels.toml"
    levels.write_text(_LEVELS)
    where = ["--build", folder, "--bundles", folder / "bundles", "--data", f"parquet:{folder / 'shop'}"]
    rate = ["--rate-seconds", _VISITS_PER_SECOND, _SECONDS, "--timeout", 10]
    return load_test(*where, *rate, "--levels", levels, "--out", folder / name, *words)
