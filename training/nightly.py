"""The nightly job: `python -m training.nightly --data parquet:DIR+live:build/live`.

Choices:
- One command from the log to the bundle that serves: a warm start from what serves, judged by the gate on the last
  weeks; then the online store is filled from the new bundle.
- A refusal ends with status 1 and leaves everything as it was. `--full` fits everything anew, as does a night without
  anything to go on from; how often that pays is for the shop to say (once a week is usual).
- What the log holds of finished days is put together into one file a shard first. What is too old to be kept goes by
  `python -m services.ingest.retention`, after this.
- Before anything is fitted, bundles that are neither new nor needed for going back make room, with their weights.
"""

import argparse
import logging
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from features.adapters import live_folder, load
from features.bundle import forget_old_bundles, open_bundle
from features.event_log import compact, days
from training import train, warm_start
from training.gate import serving_root
from training.progress import log_to_terminal
from training.recipes import RECIPES
from training.splits import after_last

log = logging.getLogger("training.nightly")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; exit status 1 when the gate refuses or cannot judge."""
    options = _parser().parse_args(arguments)
    log_to_terminal()
    live = live_folder(options.data)
    if live is not None:
        _compact(live)
    _make_room(options.bundles, options.checkpoints, options.keep)
    cutoff = after_last(load(options.data, options.cache).events)
    places = ["--data", options.data, "--cache", str(options.cache), "--bundles", str(options.bundles)]
    train.main([*places, "--cutoff", cutoff.isoformat(), *_fit(options), "--promote", options.promote])
    if options.promote == "never":
        return
    stores = ["--feast-dir", str(options.feast_dir), "--offline-dir", str(options.offline_dir)]
    _run("features.materialise", *places, *stores, "--redis", options.redis)


def _compact(live: Path) -> None:
    for day in days(live)[:-1]:  # to the last one parts are still added
        compact(live, day)


def _make_room(bundles: Path, checkpoints: Path, keep: int) -> None:
    for version in forget_old_bundles(bundles, keep):
        shutil.rmtree(checkpoints / version, ignore_errors=True)
        log.info("forgot %s: older than the newest %d", version, keep)


def _run(module: str, *words: str) -> None:
    """A command of the suite that must not find torch, in a process of its own."""
    subprocess.run([sys.executable, "-m", module, *words], check=True)  # noqa: S603 - our own module


def _fit(options: argparse.Namespace) -> list[str]:
    """How `training.train` is to begin."""
    settings = ["--checkpoints", str(options.checkpoints), "--seed", str(options.seed), "--recipe", options.recipe]
    settings += ["--judge-weeks", str(options.judge_weeks), "--gate-report", str(options.gate_report)]
    settings += ["--judge-all-events"] if options.judge_all_events else []
    root = serving_root(options.bundles)
    if root is None or options.full:
        return settings
    if not warm_start.is_possible(open_bundle(root), options.checkpoints):
        log.info("%s: nothing to go on from; everything is fitted anew", root)
        return settings
    return [*settings, "--warm-start", str(root)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.nightly", description=__doc__)
    parser.add_argument("--data", required=True, help="ADAPTER[:ARGUMENT]+live:DIR")
    parser.add_argument("--full", action="store_true", help="fit everything anew")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="laptop", help="of a full fit (%(default)s)")
    parser.add_argument(
        "--promote", choices=("gate", "never"), default="gate", help="never: for a canary, and features.promote later"
    )
    parser.add_argument("--judge-weeks", type=int, default=1, help="held back for the gate (default %(default)s)")
    parser.add_argument("--judge-all-events", action="store_true", help="as the gate's (training.gate)")
    parser.add_argument("--gate-report", type=Path, default=Path("build/gate.json"), help="(default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bundles", type=Path, default=Path("bundles"), help="where bundles live")
    parser.add_argument("--keep", type=int, default=10, metavar="N", help="bundles to keep (default %(default)s)")
    parser.add_argument("--checkpoints", type=Path, default=Path("build/checkpoints"), help="torch weights")
    parser.add_argument("--cache", type=Path, default=Path("build/data"), help="prepared data (default %(default)s)")
    parser.add_argument("--feast-dir", type=Path, default=Path("build/feast"), help="Feast's registry")
    parser.add_argument("--offline-dir", type=Path, default=Path("build/offline"), help="Feast's offline tables")
    parser.add_argument("--redis", default="127.0.0.1:6379", help="online store, host:port (default %(default)s)")
    return parser


if __name__ == "__main__":
    main()
