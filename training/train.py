"""One training run: data in, bundle out. `python -m training.train --data complete-journey --cutoff-week 49`.

With `--promote gate`, the nightly command, the newest weeks are held back and the gate (training.gate) judges on them:
what then serves has not learned from them, and the hourly update (training.online) brings its counts up to now. With
`never` the bundle waits for `python -m features.promote`: a canary may serve it meanwhile.

Started by `torchrun`, several processes share what stage A costs; the rest each of them computes for itself, and the
first writes and promotes.
"""

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

from features import bundle as files
from features.adapters import load
from features.bundle import Bundle, open_bundle, promote, write_bundle
from features.clock import parse_instant, to_us
from features.schema import Dataset
from training import gate
from training.checkpoint import save_towers
from training.config import Task, TrainConfig
from training.dataset import item_texts, select_catalogue, sequences
from training.item_to_item import fit_item_to_item
from training.loop import Surroundings
from training.newcomers import with_fair_newcomers
from training.package import manifest_facts, write_files, write_smaller_text_towers
from training.processes import Processes
from training.progress import Timings, log_to_terminal
from training.recipes import RECIPES
from training.resume import StepCheckpoints
from training.scheme import fit_by_windows
from training.splits import PROTOCOLS, LastOutSplit, Protocol, Split, TimeSplit, sequences_before, without_last
from training.towers import fit_interest, fit_text, lay_foundation
from training.tracking import NoTracker, TrackerName, open_tracker
from training.warm_start import config_of, instant_after, load_start

log = logging.getLogger("training.train")


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a run writes."""

    bundles: Path = Path("bundles")
    checkpoints: Path = Path("build/checkpoints")
    """Torch weights, in a folder of the bundle's version; also what a killed run goes on from."""


def train(
    data: Dataset,
    config: TrainConfig,
    as_of: datetime,
    seed: int,
    folders: Folders,
    version: str,
    protocol: Protocol = "time",
    around: Surroundings | None = None,
) -> Bundle:
    """Train on everything before `as_of` and write the bundle `version`.

    Args:
        data: The shop's.
        config: What to do.
        as_of: Nothing at or after it is read.
        seed: Same seed, same numbers.
        folders: Where to.
        version: The bundle's name.
        protocol: With `leave-one-out`, all but each shopper's last event is read instead, whatever `as_of` says.
        around: Processes, tracker and checkpoints; None: one process, nothing kept on the way.

    Raises:
        ValueError: if the data is too small for the configuration; the message says which part.
        ExportError: if a tower does not survive its export.
        BundleError: if the version exists already.
    """
    timings, around = Timings(log), around or Surroundings()
    split: Split = TimeSplit(data, as_of, config.ranker.window_weeks)
    if protocol == "leave-one-out":
        split = LastOutSplit(without_last(data))
        data, as_of = split.known(0), split.instant(0)
    items = select_catalogue(data, as_of, config.catalogue.min_shoppers)
    with timings.stage("frozen layers"):
        foundation = lay_foundation(item_texts(items), config)
    ranker = fit_by_windows(split, items, foundation, config, seed, timings, around)
    with timings.stage("towers on everything"):
        everything, last = sequences_before(split, items, 0), around.part("everything")
        if config.text.refit:
            text = fit_text(foundation, everything, config, seed, last.part("text"))
            towers = fit_interest(text, everything, config, seed, around=last)
        else:
            towers = fit_interest(ranker.towers.text, everything, config, seed, ranker.towers, last)
        towers = with_fair_newcomers(towers, everything, seed)
    trees = {task: dataclasses.asdict(fitted.growth) for task, fitted in ranker.trees.items()}
    learned = {"trees": trees, "protocol": protocol, "validation": ranker.validation}
    facts = manifest_facts(data, config, as_of, seed, items, timings) | learned
    if around.processes.is_first:
        with write_bundle(folders.bundles, version, facts) as root, timings.stage("bundle"):
            save_towers(towers, folders.checkpoints / version)
            tables = fit_item_to_item(everything, config.item_to_item, to_us(as_of))
            texts = {task: fitted.model_text for task, fitted in ranker.trees.items()}
            write_files(root, data, items, foundation.tokens, towers, tables, texts, as_of)
            if config.text.compress:
                facts[files.COMPRESSION] = write_smaller_text_towers(root, items, foundation.tokens.max_tokens, seed)
    around.processes.wait()
    return open_bundle(folders.bundles / version)


def train_on(parent: Bundle, data: Dataset, as_of: datetime, seed: int, folders: Folders, version: str) -> Bundle:
    """Go on from an earlier bundle with what has happened up to `as_of` (training.warm_start has what is carried over).

    Raises:
        WarmStartError: if the parent cannot be gone on from.
        BundleError: if the version exists already.
    """
    timings, config = Timings(log), config_of(parent)
    instant_after(parent, as_of)
    items = select_catalogue(data, as_of, config.catalogue.min_shoppers)
    with timings.stage("parent"):
        start, tokens = load_start(parent, folders.checkpoints, items, config)
    with timings.stage("towers on everything"):
        everything = sequences(data, items, as_of)
        towers = fit_interest(start.text, everything, config, seed, start)
    carried = {"parent": parent.version, "trees": parent.manifest["trees"], "protocol": "time"}
    facts = manifest_facts(data, config, as_of, seed, items, timings) | carried
    with write_bundle(folders.bundles, version, facts) as root, timings.stage("bundle"):
        save_towers(towers, folders.checkpoints / version)
        tables = fit_item_to_item(everything, config.item_to_item, to_us(as_of))
        rankers: dict[Task, str] = {
            "all": parent.path(files.RANKER).read_text(),
            "new": parent.path(files.NEW_RANKER).read_text(),
        }
        write_files(root, data, items, tokens, towers, tables, rankers, as_of)
        if config.text.compress:
            facts[files.COMPRESSION] = write_smaller_text_towers(root, items, tokens.max_tokens, seed)
    return open_bundle(folders.bundles / version)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; exit status 1 when the gate refuses or cannot judge."""
    options = _parser().parse_args(arguments)
    log_to_terminal()

    data = load(options.data, options.cache)
    as_of = _as_of(options, data)
    if options.promote == "gate":
        _check_serving(options.bundles, data, as_of, options.protocol)
    now = datetime.now(UTC)
    week = data.calendar.week_of(as_of - timedelta(microseconds=1))
    version = options.version or f"{data.name}-w{week}-{now:%Y%m%d%H%M%S}"
    folders = Folders(options.bundles, options.checkpoints)
    try:
        processes = Processes(cpu=options.device == "cpu")
    except ValueError as error:
        sys.exit(str(error))
    if processes.count > 1 and (options.warm_start or not options.version):
        sys.exit("several processes need a --version that they all know, and cannot go on from a bundle")
    if options.warm_start:
        bundle = train_on(open_bundle(options.warm_start), data, as_of, options.seed, folders, version)
    else:
        config = RECIPES[options.recipe]()
        around = _surroundings(options, config, as_of, version, processes)
        bundle = train(data, config, as_of, options.seed, folders, version, options.protocol, around)
        around.close()
    if not processes.is_first:
        return
    if options.promote == "gate":
        _pass_gate(options, bundle)
        return
    if options.promote == "never":
        log.info("wrote %s, which nobody serves", bundle.root)
        return
    promote(options.bundles, bundle.version, "training.train", now)
    log.info("promoted %s", bundle.root)


def _as_of(options: argparse.Namespace, data: Dataset) -> datetime:
    """The end of what is read: less than there is by what the gate is to judge on."""
    held_back = options.judge_weeks if options.promote == "gate" else 0
    if options.cutoff:
        cutoff: datetime = options.cutoff
        return cutoff - timedelta(weeks=held_back)
    week = options.cutoff_week or data.calendar.week_of(data.events["event_time"].max())  # type: ignore[arg-type]
    return data.calendar.week_end(week - held_back)


def _check_serving(bundles: Path, data: Dataset, as_of: datetime, protocol: Protocol) -> None:
    """End before the training if the gate could not judge after it."""
    if protocol != "time":
        sys.exit(f"--promote gate judges on weeks; --protocol {protocol} holds none back")
    root = gate.serving_root(bundles)
    if root is None:
        return
    serving = open_bundle(root)
    name = serving.manifest["data"]["name"]
    if name != data.name:
        sys.exit(f"{serving.version} serves {name}, not {data.name}: nothing to compare (--promote always replaces it)")
    if serving.as_of > as_of:
        sys.exit(f"{serving.version} knows events up to {serving.as_of}; the weeks to judge on begin at {as_of}")


def _pass_gate(options: argparse.Namespace, bundle: Bundle) -> None:
    """Promote by the gate's command, or end with its reason."""
    folders = ["--bundles", str(options.bundles), "--cache", str(options.cache)]
    told = ["--weeks", str(options.judge_weeks), "--out", str(options.gate_report)]
    told += ["--judge-all-events"] if options.judge_all_events else []
    gate.main(["--data", options.data, "--candidate", str(bundle.root), *folders, *told])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("--data", default="complete-journey", help="ADAPTER[:ARGUMENT][+live:DIR] (%(default)s)")
    parser.add_argument(
        "--protocol", choices=PROTOCOLS, default="time", help="what is held back: weeks, or each shopper's last event"
    )
    cutoff = parser.add_mutually_exclusive_group()
    cutoff.add_argument("--cutoff-week", type=int, help="read weeks ≤ N of the data's calendar (default: all)")
    cutoff.add_argument("--cutoff", type=parse_instant, metavar="ISO", help="read all before this instant, UTC")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="laptop", help="settings (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="where stage A learns (%(default)s)")
    parser.add_argument(
        "--bundles", type=Path, default=Path("bundles"), help="where bundles live (default %(default)s)"
    )
    parser.add_argument("--checkpoints", type=Path, default=Path("build/checkpoints"), help="torch weights")
    parser.add_argument("--cache", type=Path, default=Path("build/data"), help="prepared data (default %(default)s)")
    parser.add_argument("--version", help="the bundle's name (default: data, cutoff and the time of day)")
    parser.add_argument("--warm-start", type=Path, metavar="BUNDLE", help="go on from this bundle's towers and ranker")
    parser.add_argument(
        "--promote", choices=("always", "gate", "never"), default="always", help="(default %(default)s)"
    )
    parser.add_argument(
        "--judge-weeks", type=int, default=1, help="held back for the gate to judge on (default %(default)s)"
    )
    parser.add_argument("--judge-all-events", action="store_true", help="as the gate's (training.gate)")
    parser.add_argument("--gate-report", type=Path, default=Path("build/gate.json"), help="(default %(default)s)")
    parser.add_argument("--tracker", choices=get_args(TrackerName), default="tensorboard", help="where scalars go")
    parser.add_argument("--runs", type=Path, default=Path("build/runs"), help="the tracker's folder (%(default)s)")
    parser.add_argument("--checkpoint-every", type=int, default=100, metavar="STEPS", help="(default %(default)s)")
    return parser


def _surroundings(
    options: argparse.Namespace, config: TrainConfig, as_of: datetime, version: str, processes: Processes
) -> Surroundings:
    """The run's tracker, and checkpoints that a run of the same version, data and settings goes on from."""
    told = dataclasses.asdict(config)
    key = f"{options.data} {options.protocol} {as_of.isoformat()} {options.seed} {told}"
    return Surroundings(
        processes=processes,
        tracker=open_tracker(options.tracker, options.runs / version, told) if processes.is_first else NoTracker(),
        checkpoints=StepCheckpoints(options.checkpoints / version / "steps", options.checkpoint_every, key),
    )


if __name__ == "__main__":
    main()
