"""Evaluation of a bundle on the weeks after its cutoff: `python -m training.evaluate --data complete-journey --out
report.json`.

Full ranking of what a request would have been answered, with the towers, index, columns and ranker read from the
bundle's own files.
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from features import bundle as files
from features.adapters import live_folder, load
from features.bundle import Bundle, open_bundle, serving_path
from features.left_out import NewlyLeftOut
from features.schema import Dataset
from services.ranking.ordering import CandidateLimits, Interest, OrderingModel, Rankers, open_model
from training.dataset import sequences
from training.evaluation import K, judge_model
from training.export import onnx_interest_run
from training.judgement import HEADLINE, Comparison, Judgement
from training.progress import log_to_terminal
from training.queries import Window, interests_of, open_window
from training.report import RunFacts, report_of, write_report
from training.rivals import Rivals, quick_rivals, tuned_rivals, zero_shot_vectors
from training.shopper_metrics import item_facts
from training.slices import attribute_groupings, history_grouping
from training.splits import PROTOCOLS, LastOutSplit, Protocol, Split, TimeSplit, without_last

log = logging.getLogger("training.evaluate")

WEEKS = 4
"""Length of the test window."""
_METHOD: dict[Protocol, str] = {
    "time": "Time split: all before {day} was known; what shoppers did in the {weeks} weeks from that day counts.",
    "leave-one-out": "Leave-one-out: each shopper's events but the last were known; the last one counts.",
}


@dataclass(frozen=True, slots=True)
class Examined:
    """A bundle opened for evaluation, and the shoppers of its test window."""

    items: pl.DataFrame
    """The bundle's ITEMS table."""
    model: OrderingModel
    rankers: Rankers
    limits: CandidateLimits
    window: Window
    interests: list[Interest]


def examine(data: Dataset, bundle: Bundle, weeks: int = WEEKS, protocol: Protocol = "time") -> Examined:
    """Open a bundle and pose the queries of the weeks after its cutoff, or those of each shopper's last event.

    Raises:
        ValueError: if the data holds no event after the bundle's cutoff.
    """
    items = pl.read_parquet(bundle.path(files.ITEMS))
    if protocol == "time":
        window = open_window(data, items, bundle.as_of, weeks)
    else:
        window = LastOutSplit(data).window(items, 1)
    if not window.queries:
        raise ValueError(
            f"{data.name}: no event in the {weeks} weeks after {bundle.as_of:%Y-%m-%d}; nothing to judge by"
        )
    model = open_model(bundle)
    run = onnx_interest_run(bundle.path(files.INTEREST_TOWER))
    shoppers = [query.shopper for query in window.queries]
    return Examined(
        items=items,
        model=model,
        rankers=Rankers.load(bundle),
        limits=CandidateLimits(**bundle.manifest["config"]["candidates"]),
        window=window,
        interests=interests_of(run, model.vectors, shoppers, window.now_us),
    )


def judge_bundle(
    data: Dataset, bundle: Bundle, seed: int, examined: Examined, rivals: Rivals, headline: str = HEADLINE
) -> Judgement:
    """The bundle beside its rivals, with all that is known of items and shoppers."""
    queries, model = examined.window.queries, examined.model
    return judge_model(
        model,
        examined.rankers,
        examined.window,
        examined.interests,
        examined.limits,
        rivals.by_task,
        seed,
        facts=item_facts(
            examined.items, model.items, sequences(data, examined.items, bundle.as_of).counts, model.vectors
        ),
        groupings=[
            history_grouping([query.seen.size for query in queries]),
            *attribute_groupings(data.users, [query.user_id for query in queries]),
        ],
        headline=headline,
    )


def evaluate(data: Dataset, bundle: Bundle, seed: int, weeks: int = WEEKS) -> Comparison:
    """Metrics of the bundle beside popularity and frequency, on the same shoppers and items."""
    examined = examine(data, bundle, weeks)
    return judge_bundle(data, bundle, seed, examined, quick_rivals(seen_by(data, bundle, weeks), examined.items)).tasks


def seen_by(data: Dataset, bundle: Bundle, weeks: int, protocol: Protocol = "time") -> Split:
    """Cuts of what the bundle's training saw."""
    return TimeSplit(data, bundle.as_of, weeks) if protocol == "time" else LastOutSplit(without_last(data))


def rivals_of(split: Split, bundle: Bundle, seed: int, items: pl.DataFrame, which: str, k: int = K) -> Rivals:
    """`quick` or `all` baselines, from what the bundle's training saw."""
    if which == "quick":
        return quick_rivals(split, items)
    encoder = bundle.manifest["config"]["text"]["encoder"]
    vectors = zero_shot_vectors(split.known(0), items, bundle.as_of, encoder, seed)
    return tuned_rivals(split, items, seed, vectors, k)


def run_facts(
    data: Dataset,
    bundle: Bundle,
    seed: int,
    weeks: int,
    window: Window,
    rivals: Rivals,
    protocol: Protocol = "time",
) -> RunFacts:
    """What the report says of the run."""
    day = f"{bundle.as_of.astimezone(ZoneInfo(data.calendar.timezone)):%-d %B %Y}"
    ahead = data.events.filter(
        pl.col("event_time") >= bundle.as_of, pl.col("event_time") < bundle.as_of + timedelta(weeks=weeks)
    )
    purchases_only = (ahead["event_type"] == "purchase").all()
    return RunFacts(
        data=data.name,
        synthetic=data.synthetic,
        bundle=bundle.version,
        method=_METHOD[protocol].format(day=day, weeks=weeks),
        window=f"{weeks} weeks from {day}" if protocol == "time" else "each shopper's last event",
        shopper_count=len(window.queries),
        item_count=len(window.items.vocabulary),
        seed=seed,
        verb="bought" if purchases_only else "went for",
        baselines=rivals.settings,
        budget=rivals.budget,
        seconds=bundle.manifest.get("seconds", {}),
        curves=bundle.manifest.get("curves", {}),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _parser().parse_args(arguments)
    log_to_terminal()
    live = live_folder(options.data)
    newly = None if live is None else NewlyLeftOut(live)
    data = load(options.data, options.cache)
    bundle = open_bundle(options.bundle or serving_path(options.bundles))
    if options.cutoff_week is not None and data.calendar.week_end(options.cutoff_week) != bundle.as_of:
        raise SystemExit(f"bundle {bundle.version} ends at {bundle.as_of}, not with week {options.cutoff_week}")
    examined = examine(data, bundle, options.weeks, options.protocol)
    split = seen_by(data, bundle, options.weeks, options.protocol)
    rivals = rivals_of(split, bundle, options.seed, examined.items, options.baselines)
    judgement = judge_bundle(data, bundle, options.seed, examined, rivals)
    run = run_facts(data, bundle, options.seed, options.weeks, examined.window, rivals, options.protocol)
    report = {"bundle": bundle.version, "data": data.name, "weeks": options.weeks} | report_of(run, judgement)
    written = write_report(options.out, report, judgement)
    if newly is not None:
        newly.leave(written[-1])
    for task, systems in judgement.tasks.items():
        for name, metrics in systems.items():
            log.info("%-4s %-18s %s", task, name, {key: metrics[key] for key in ("recall@20", "ndcg@20")})
    log.info("wrote %s", ", ".join(map(str, written)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("--data", default="complete-journey", help="ADAPTER[:ARGUMENT][+live:DIR] (%(default)s)")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="time", help="what was held back from training")
    parser.add_argument(
        "--baselines",
        choices=["all", "quick"],
        default="all",
        help="all of them, tuned on the weeks before the cutoff, or popularity and frequency (default %(default)s)",
    )
    parser.add_argument("--weeks", type=int, default=WEEKS, help="length of the test window (default %(default)s)")
    parser.add_argument("--cutoff-week", type=int, help="refuse a bundle that was not cut at the end of this week")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--bundle", type=Path, help="a bundle's folder (default: the serving one)")
    parser.add_argument("--bundles", type=Path, default=Path("bundles"))
    parser.add_argument("--cache", type=Path, default=Path("build/data"), help="prepared data (default %(default)s)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/evaluation.json"),
        help="with .html and .parquet beside it (%(default)s)",
    )
    return parser


if __name__ == "__main__":
    main()
