"""Line 10 of AREA=quality: what features and training cost grows with the data, and not faster.

Shoppers are drawn (seeded), so that a quarter of the shoppers brings about a quarter of the events. Steps of every
fitting loop are proportional to the data: the passes over it are what is held, and the claim is about our code, not
about how many passes pay. The catalogue is fixed at the items of the whole data: its own cost (encoding texts, the
item-to-item tables) does not grow with events and would only flatten the slope; it is measured but not counted.

Complete Journey's features are taken in a process of their own, so that its peak memory is theirs alone.
"""

import json
import logging
import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from features.adapters import load
from features.schema import Dataset
from features.transforms import item_features, known_events, user_features
from tests.acceptance.rows import Row, at_most
from training.config import TrainConfig
from training.dataset import item_texts, select_catalogue
from training.progress import Timings
from training.recipes import laptop
from training.scheme import fit_by_windows
from training.splits import TimeSplit
from training.towers import Foundation, lay_foundation

DATA = "complete-journey"
BUILD = Path("build")
SHARES = (0.25, 0.5, 1.0)
CUTOFF_WEEK = 49
_STEPS_SHARE = 0.25
"""Of the recipe's steps at full size: enough to time, and the line stays within minutes."""
_SLOPE = 1.1
_SECONDS, _GIGABYTES = 10.0, 3.0
_FEATURES = """
import json, time
from pathlib import Path
from features.adapters import load
from features.transforms import item_features, known_events, user_features
data = load({data!r}, Path({cache!r}))
started = time.monotonic()
as_of = data.events["event_time"].max()
known = known_events(data.events, as_of)
users, items = user_features(known, data.items), item_features(known, data.items, data.promotions, as_of)
seconds = time.monotonic() - started
status = Path("/proc/self/status").read_text()  # getrusage would count what the parent held before exec
peak = int(status.split("VmHWM:")[1].split()[0]) / 1024**2
print(json.dumps([seconds, peak, data.events.height, users.height, items.height]))
"""


def growth() -> list[Row]:
    """Line 10: the slope, and what features of everything cost."""
    data = load(DATA, BUILD / "data")
    as_of = data.calendar.week_end(CUTOFF_WEEK)
    items = select_catalogue(data, as_of, laptop().catalogue.min_shoppers)
    foundation = lay_foundation(item_texts(items), laptop())
    found = [measured(sampled(data, share), items, foundation, share) for share in SHARES]
    rows = [
        Row(f"{what}_seconds_at_{share:g}", round(seconds[what], 1), "reported", True)
        for share, seconds in zip(SHARES, found, strict=True)
        for what in seconds
    ]
    events = [sampled(data, share).events.height for share in SHARES]
    return [
        *rows,
        at_most("log_log_slope", round(slope(events, [sum(part.values()) for part in found]), 3), _SLOPE),
        *features(),
    ]


def sampled(data: Dataset, share: float) -> Dataset:
    """A share of the shoppers with all they did; the same shoppers are in every larger share."""
    users = data.events["user_id"].unique().sort().to_numpy()
    chosen = np.random.default_rng(0).permutation(users)[: round(share * len(users))]
    return replace(data, events=data.events.filter(pl.col("user_id").is_in(chosen.tolist())))


def measured(data: Dataset, items: pl.DataFrame, foundation: Foundation, share: float) -> dict[str, float]:
    """Seconds of features and of training, with steps proportional to the data."""
    as_of, config = data.calendar.week_end(CUTOFF_WEEK), scaled(laptop(), share * _STEPS_SHARE)
    started = time.monotonic()
    known = known_events(data.events, as_of)
    user_features(known, items)
    item_features(known, items, data.promotions, as_of)
    features_seconds = time.monotonic() - started
    started = time.monotonic()
    split = TimeSplit(data, as_of, config.ranker.window_weeks)
    fit_by_windows(split, items, foundation, config, 0, Timings(logging.getLogger(__name__)))
    return {"features": features_seconds, "training": time.monotonic() - started}


def scaled(config: TrainConfig, share: float) -> TrainConfig:
    """The recipe with a share of its steps, and two label windows."""
    text, interest, company = config.text, config.interest, config.text.company
    return replace(
        config,
        text=replace(
            text, steps=_steps(text.steps, share), company=replace(company, steps=_steps(company.steps, share))
        ),
        interest=replace(interest, steps=_steps(interest.steps, share)),
        ranker=replace(config.ranker, windows=2),
    )


def _steps(steps: int, share: float) -> int:
    return max(round(steps * share), 1)


def slope(sizes: list[int], seconds: list[float]) -> float:
    """Of ln seconds over ln size, by least squares."""
    found = np.polyfit([math.log(size) for size in sizes], [math.log(value) for value in seconds], 1)
    return float(found[0])


def features() -> list[Row]:
    """Features of everybody and everything from all transactions, in a process of its own."""
    script = _FEATURES.format(data=DATA, cache=str(BUILD / "data"))
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    seconds, peak, events, *_ = json.loads(run.stdout.splitlines()[-1])
    return [
        Row("transactions", events, "reported", True),
        at_most("features_seconds", round(seconds, 2), _SECONDS),
        at_most("features_process_peak_gb", round(peak, 2), _GIGABYTES),
    ]
