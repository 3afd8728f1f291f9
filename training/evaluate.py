"""Evaluation of a bundle on the weeks after its cutoff: `python -m training.evaluate --data complete-journey --out
report.json`.

Full ranking of what a request would have been answered, with the towers, index, columns and ranker read from the
bundle's own files.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from features import bundle as files
from features.adapters import load
from features.bundle import Bundle, open_bundle, serving_path
from features.schema import Dataset
from services.ranking.ordering import CandidateLimits, Interest, OrderingModel, Ranker, open_model
from training.baselines import Popularity, RecencyFrequency
from training.evaluation import Comparison, Scores, compare
from training.export import onnx_interest_run
from training.progress import log_to_terminal
from training.queries import Window, interests_of, open_window

log = logging.getLogger("training.evaluate")

WEEKS = 4
"""Length of the test window."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A bundle opened for evaluation, and the shoppers of its test window."""

    model: OrderingModel
    ranker: Ranker
    limits: CandidateLimits
    window: Window
    interests: list[Interest]


def examine(data: Dataset, bundle: Bundle, weeks: int = WEEKS) -> Examined:
    """Open a bundle and pose the queries of the weeks after its cutoff.

    Raises:
        ValueError: if the data holds no event after the bundle's cutoff.
    """
    items = pl.read_parquet(bundle.path(files.ITEMS))
    window = open_window(data, items, bundle.as_of, weeks)
    if not window.queries:
        raise ValueError(
            f"{data.name}: no event in the {weeks} weeks after {bundle.as_of:%Y-%m-%d}; nothing to judge by"
        )
    model = open_model(bundle)
    run = onnx_interest_run(bundle.path(files.INTEREST_TOWER))
    shoppers = [query.shopper for query in window.queries]
    return Examined(
        model=model,
        ranker=Ranker.load(bundle.path(files.RANKER)),
        limits=CandidateLimits(**bundle.manifest["config"]["candidates"]),
        window=window,
        interests=interests_of(run, model.vectors, shoppers, window.now_us),
    )


def evaluate(data: Dataset, bundle: Bundle, seed: int, weeks: int = WEEKS) -> Comparison:
    """Metrics of the bundle and of the baselines, on the same shoppers and items."""
    examined = examine(data, bundle, weeks)
    vocabulary = examined.model.items.vocabulary
    baselines: dict[str, Scores] = {
        "popularity": Popularity(data, vocabulary, bundle.as_of),
        "recency_frequency": RecencyFrequency(data, vocabulary, bundle.as_of),
    }
    window, interests = examined.window, examined.interests
    return compare(examined.model, examined.ranker, window, interests, examined.limits, baselines, seed)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("--data", default="complete-journey", help="ADAPTER or ADAPTER:DIR (default %(default)s)")
    parser.add_argument("--protocol", choices=["time"], default="time", help="the weeks after the bundle's cutoff")
    parser.add_argument("--weeks", type=int, default=WEEKS, help="length of the test window (default %(default)s)")
    parser.add_argument("--cutoff-week", type=int, help="refuse a bundle that was not cut at the end of this week")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--bundle", type=Path, help="a bundle's folder (default: the serving one)")
    parser.add_argument("--bundles", type=Path, default=Path("bundles"))
    parser.add_argument("--cache", type=Path, default=Path("build/data"), help="prepared data (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/evaluation.json"), help="(default %(default)s)")
    options = parser.parse_args(arguments)
    log_to_terminal()

    data = load(options.data, options.cache)
    bundle = open_bundle(options.bundle or serving_path(options.bundles))
    if options.cutoff_week is not None and data.calendar.week_end(options.cutoff_week) != bundle.as_of:
        parser.error(f"bundle {bundle.version} ends at {bundle.as_of}, not with week {options.cutoff_week}")
    comparison = evaluate(data, bundle, options.seed, options.weeks)
    report = {"bundle": bundle.version, "data": data.name, "weeks": options.weeks, "tasks": comparison}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    for task, systems in comparison.items():
        for name, metrics in systems.items():
            log.info("%-4s %-18s %s", task, name, {key: metrics[key] for key in ("recall@20", "ndcg@20")})


if __name__ == "__main__":
    main()
