"""Line 9 of AREA=quality: the same numbers whatever happens to a run, and a warm start that is worth it."""

import time
from pathlib import Path

from features.adapters import load
from features.bundle import open_bundle, serving_path
from tests.acceptance.quality_text import runs
from tests.acceptance.rows import Row, at_least, at_most
from training.evaluate import evaluate
from training.train import Folders, train, train_on
from training.warm_start import config_of

STORE = Path("build/accept/quality")
_PARENT_WEEK, _SEED = 48, 0


def repeatable() -> list[Row]:
    """Fitting in two processes, killed and again; then one more week on top of a bundle."""
    return [*runs(), *warm_start()]


def warm_start() -> list[Row]:
    """A bundle of one week less goes on to the cutoff of the serving one, which was trained in full."""
    data, full = load("complete-journey", Path("build/data")), open_bundle(serving_path(Path("bundles")))
    folders, version = Folders(STORE / "bundles", STORE / "checkpoints"), f"parent-w{_PARENT_WEEK}"
    if not (folders.bundles / version).exists():
        train(data, config_of(full), data.calendar.week_end(_PARENT_WEEK), _SEED, folders, version)
    parent = open_bundle(folders.bundles / version)
    started = time.monotonic()
    warm = train_on(parent, data, full.as_of, _SEED, folders, f"warm-{time.time_ns()}")
    seconds = time.monotonic() - started
    whole = sum(float(one) for one in parent.manifest["seconds"].values())
    found, best = evaluate(data, warm, _SEED), evaluate(data, full, _SEED)
    return [
        at_most("warm_start_time_over_full_run", round(seconds / whole, 3), 0.25),
        *(
            at_least(
                f"warm_start_{task}_recall@20_over_full_run",
                round(float(found[task]["aisle"]["recall@20"]) / float(best[task]["aisle"]["recall@20"]), 4),
                0.99,
            )
            for task in ("all", "new")
        ),
    ]
