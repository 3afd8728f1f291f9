"""One training run: data in, bundle out. `python -m training.train --data complete-journey --cutoff-week 49`."""

import argparse
import dataclasses
import logging
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from features.adapters import load
from features.bundle import Bundle, open_bundle, promote, write_bundle
from features.schema import Dataset
from training.checkpoint import save_towers
from training.config import TrainConfig
from training.dataset import item_texts, select_catalogue, sequences
from training.package import write_files
from training.progress import Timings, log_to_terminal
from training.recipes import RECIPES
from training.scheme import fit_by_weeks
from training.towers import fit_interest, fit_text, lay_foundation

log = logging.getLogger("training.train")


def train(
    data: Dataset, config: TrainConfig, as_of: datetime, seed: int, bundles: Path, checkpoints: Path, version: str
) -> Bundle:
    """Train on everything before `as_of`; write `bundles/version`, and the torch weights to `checkpoints/version`.

    Raises:
        ValueError: if the data is too small for the configuration; the message says which part.
        ExportError: if a tower does not survive its export.
        BundleError: if the version exists already.
    """
    timings = Timings(log)
    items = select_catalogue(data, as_of, config.catalogue.min_shoppers)
    with timings.stage("frozen layers"):
        foundation = lay_foundation(item_texts(items), config)
    ranker = fit_by_weeks(data, items, foundation, config, as_of, seed, timings)
    with timings.stage("towers on everything"):
        everything = sequences(data, items, as_of)
        text = fit_text(foundation, everything, config, seed) if config.text.refit else ranker.text
        towers = fit_interest(text, everything, config, seed)
    facts = {
        "as_of": as_of.isoformat(),
        "data": {"name": data.name, "synthetic": data.synthetic, "items": items.height},
        "config": dataclasses.asdict(config),
        "seed": seed,
        "git_commit": _git_commit(),
        "trees": ranker.trees,
        "validation": ranker.validation,
        "seconds": timings.seconds,
        "peak_memory_mb": timings.peak_memory_mb,
    }
    with write_bundle(bundles, version, facts) as root, timings.stage("bundle"):
        save_towers(towers, checkpoints / version)
        write_files(root, data, items, foundation, towers, ranker.model_text, as_of)
    return open_bundle(bundles / version)


def _git_commit() -> str | None:
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("--data", default="complete-journey", help="ADAPTER or ADAPTER:DIR (default %(default)s)")
    parser.add_argument("--cutoff-week", type=int, help="train on weeks ≤ N of the data's calendar (default: all)")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="laptop", help="settings (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--bundles", type=Path, default=Path("bundles"), help="where bundles live (default %(default)s)"
    )
    parser.add_argument("--checkpoints", type=Path, default=Path("build/checkpoints"), help="torch weights")
    parser.add_argument("--cache", type=Path, default=Path("build/data"), help="prepared data (default %(default)s)")
    parser.add_argument("--version", help="the bundle's name (default: data, cutoff and the time of day)")
    options = parser.parse_args(arguments)
    log_to_terminal()

    data = load(options.data, options.cache)
    week = options.cutoff_week or data.calendar.week_of(data.events["event_time"].max())  # type: ignore[arg-type]
    now = datetime.now(UTC)
    version = options.version or f"{data.name}-w{week}-{now:%Y%m%d%H%M%S}"
    as_of = data.calendar.week_end(week)
    bundle = train(data, RECIPES[options.recipe](), as_of, options.seed, options.bundles, options.checkpoints, version)
    promote(options.bundles, bundle.version, "training.train", now)
    log.info("promoted %s", bundle.root)


if __name__ == "__main__":
    main()
