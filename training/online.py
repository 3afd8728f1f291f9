"""The hourly update: what shoppers did since the serving bundle's cutoff moves its items a little, and its counts up to
now. `python -m training.online --data complete-journey+live:build/live --bundle serving`.

Choices:
- Towers and ranker stay; items move by small deltas (deltas.py). The nightly run starts from the data, not from
  updates, so that hours do not add up to a drift.
- The latest slice of the events is held out. Parent and update are asked for it as the gate asks, and an update that
  would be refused is never written among the bundles. What is written has the deltas that were judged, and columns and
  popularity taken up to now.
- The catalogue's rows stay the parent's. New items come through the catalogue service and the nightly run.
"""

import argparse
import logging
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features import bundle as files
from features.adapters import load
from features.bundle import Bundle, open_bundle, promote, serving_path, write_bundle
from features.clock import parse_instant
from features.encode import Floats, item_columns
from features.schema import Dataset
from features.transforms import item_features, known_events
from features.vectors import every_vector
from services.ranking.ordering import popular_rows
from services.retrieval.index import build_index
from training.contenders import Contender, judge_pair
from training.deltas import Moved, UpdateConfig, fit_deltas
from training.progress import log_to_terminal
from training.queries import open_window
from training.splits import after_last
from training.verdict import GateLimits, Verdict, weigh

log = logging.getLogger("training.online")

_REPLACED = (files.ITEM_VECTORS, files.ITEM_COLUMNS, files.INDEX, files.POPULARITY, files.FEATURE_SPEC)
_SEALED = ("format", "version", "feature_fingerprint", "sha256", "manifest_sha256")
"""What write_bundle says itself."""


class UpdateRefused(Exception):  # noqa: N818 - not an error of the program
    """The parent goes on serving; the message says why."""


def update(
    data: Dataset,
    parent: Bundle,
    since: datetime,
    now: datetime,
    version: str,
    bundles: Path,
    config: UpdateConfig,
    limits: GateLimits,
    seed: int,
) -> Bundle:
    """Learn from the events of [since, now), judged on the last of them, and write `bundles/version`.

    Args:
        data: With events beyond the parent's cutoff.
        parent: The bundle that serves.
        since: Where the new events begin: the parent's cutoff or later.
        now: Where they end; nothing at or after it is read.
        version: The new bundle's name.
        bundles: Where bundles live.
        config: How far it may go.
        limits: The gate's.
        seed: Of every draw.

    Raises:
        ValueError: if `since` lies before the parent's cutoff or not before `now`.
        UpdateRefused: if a slice holds no event, or the gate refuses; nothing was written.
        BundleError: if the version exists already.
    """
    if not parent.as_of <= since < now:
        raise ValueError(f"since: {since} does not lie between the bundle's cutoff {parent.as_of} and {now}")
    held_from = now - (now - since) * config.held_out_share
    moved = _moved(data, parent, since, held_from, config, seed)
    facts = {"parent": parent.version, "seed": seed, "update": {"since": since.isoformat(), "moved": moved.item_count}}
    with tempfile.TemporaryDirectory() as aside:
        draft = _write(Path(aside), version, parent, data, moved.vectors, held_from, facts)
        verdict = _judged(_until(data, now), draft, parent, held_from, now, limits, seed)
    if not verdict.passed:
        raise UpdateRefused(" | ".join(map(str, verdict.refusals)))
    return _write(bundles, version, parent, data, moved.vectors, now, facts | {"gate": verdict.as_json()})


def _moved(
    data: Dataset, parent: Bundle, since: datetime, held_from: datetime, config: UpdateConfig, seed: int
) -> Moved:
    serving = Contender.of_bundle(parent)
    window = open_window(_until(data, held_from), serving.items, since, _weeks(held_from - since))
    moved = fit_deltas(window, every_vector(serving.model.vectors), serving.interest, config, seed)
    if not moved.item_count:
        raise UpdateRefused(f"no known shopper did anything from {since} to {held_from}")
    return moved


def _judged(
    data: Dataset, draft: Bundle, parent: Bundle, held_from: datetime, now: datetime, limits: GateLimits, seed: int
) -> Verdict:
    contenders = Contender.of_bundle(draft), Contender.of_bundle(parent)
    try:
        # Hours hold too few draws to judge on; that all events favour the parent makes an update no easier.
        judgement = judge_pair(data, *contenders, held_from, _weeks(now - held_from), seed, all_events=True)
    except ValueError as error:
        raise UpdateRefused(str(error)) from error
    return weigh(judgement, limits, seed)


def _write(
    bundles: Path,
    version: str,
    parent: Bundle,
    data: Dataset,
    vectors: Floats,
    as_of: datetime,
    facts: Mapping[str, Any],
) -> Bundle:
    """The parent's files, with other vectors and everything counted as of an instant."""
    items = pl.read_parquet(parent.path(files.ITEMS))
    features = item_features(known_events(data.events, as_of), items, data.promotions, as_of)
    inherited = {key: value for key, value in parent.manifest.items() if key not in _SEALED}
    with write_bundle(bundles, version, {**inherited, **facts, "as_of": as_of.isoformat()}) as root:
        for name in parent.manifest["sha256"]:
            if name not in _REPLACED:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(parent.path(name), root / name)
        np.save(root / files.ITEM_VECTORS, vectors.astype(np.float16))
        features.write_parquet(root / files.ITEM_COLUMNS)
        np.save(root / files.POPULARITY, popular_rows(item_columns(items, features, as_of)))
        build_index(vectors).save(root / files.INDEX)
    return open_bundle(bundles / version)


def _until(data: Dataset, instant: datetime) -> Dataset:
    return replace(data, events=data.events.filter(pl.col("event_time") < instant))


def _weeks(span: timedelta) -> int:
    """Whole weeks that hold a slice; the data is cut where the slice ends."""
    return -(-span // timedelta(weeks=1))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; exit status 1 when the update is refused."""
    options = _parser().parse_args(arguments)
    log_to_terminal()
    data = load(options.data, options.cache)
    root = serving_path(options.bundles) if options.bundle == "serving" else options.bundles / options.bundle
    parent = open_bundle(root)
    now = options.until or after_last(data.events)
    since = options.since or parent.as_of
    version = options.version or f"{parent.version}-u{now:%Y%m%d%H%M%S}"
    try:
        bundle = update(data, parent, since, now, version, options.bundles, UpdateConfig(), GateLimits(), options.seed)
    except UpdateRefused as refusal:
        sys.exit(f"not updated, {parent.version} goes on: {refusal}")
    reason = f"hourly update of {parent.version}: {bundle.manifest['update']['moved']} items moved, gate passed"
    promote(options.bundles, bundle.version, reason, datetime.now(UTC))
    log.info("promoted %s: %s", bundle.root, reason)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.online", description=__doc__)
    parser.add_argument("--data", default="complete-journey", help="ADAPTER[:ARGUMENT][+live:DIR] (%(default)s)")
    parser.add_argument("--bundle", default="serving", help="a version, or the serving one (default)")
    parser.add_argument("--since", type=parse_instant, help="ISO instant of the first new event (default: the cutoff)")
    parser.add_argument("--until", type=parse_instant, help="ISO instant after the last one (default: all)")
    parser.add_argument("--bundles", type=Path, default=Path("bundles"), help="where bundles live")
    parser.add_argument("--cache", type=Path, default=Path("build/data"), help="prepared data (default %(default)s)")
    parser.add_argument("--version", help="the new bundle's name (default: the parent's and the last event's time)")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
