"""Line 5 of AREA=quality: on the synthetic shop, clicks and purchases say more than purchases alone, and those more
than clicks alone.

The generator is as it stands; five seeds make five shops and five trainings each. Items, weeks and shoppers are the
same for all three; a system sees its own kinds of events only, in training and in the histories it is asked with. What
counts is always what a shopper bought in the two weeks after the cutoff, as NDCG@10 of the served list of recipe small
with two label windows.

Differences are paired: shopper by shopper within a seed, all seeds' shoppers resampled together, 95 % percentile
intervals. Their lower bounds lie above zero where the intervals are apart.
"""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from features.schema import Dataset
from features.synthetic import SyntheticConfig, generate
from services.ranking.ordering import Ranker, recommend
from tests.acceptance.rows import Row, at_least
from training.config import TrainConfig
from training.dataset import item_texts, select_catalogue
from training.metrics import ndcg_at, paired_bootstrap
from training.progress import Timings
from training.recipes import small
from training.scheme import ask, fit_by_windows
from training.splits import TimeSplit, sequences_before
from training.towers import Foundation, fit_interest, lay_foundation

STORE = Path("build/accept/quality")
SIGNALS = {
    "clicks_and_purchases": ("click", "purchase"),
    "purchases": ("purchase",),
    "clicks": ("click",),
}
ORDER = (("clicks_and_purchases", "purchases"), ("purchases", "clicks"))
"""What must be better than what."""
SEEDS = range(5)
CUTOFF_WEEK = 10
SHOP = {"user_count": 300, "item_count": 600, "weeks": 12, "sessions_per_week": 0.7}
"""More items than a shopper buys: where everything has been bought before, clicks have nothing to tell."""
_K = 10


def signals() -> list[Row]:
    """Line 5: the three systems' means and the differences between neighbours."""
    found = [seed_values(seed) for seed in SEEDS]
    rows = []
    for name in SIGNALS:
        mean = float(np.mean([value for of_seed in found for value in of_seed[name].values()]))
        rows.append(Row(f"{name}_ndcg@10", round(mean, 4), "reported", True))
    for better, worse in ORDER:
        pairs = [(of_seed[better][user], of_seed[worse][user]) for of_seed in found for user in sorted(of_seed[better])]
        ours, theirs = np.array(pairs).T
        low = paired_bootstrap(ours, theirs, np.random.default_rng(0)).difference_interval[0]
        rows.append(at_least(f"{better}_over_{worse}_lower_bound", round(low, 4), 1e-4))
    return rows


def seed_values(seed: int) -> dict[str, dict[str, float]]:
    """System → shopper → NDCG@10, read back where an earlier run has it."""
    path = STORE / f"signals-{seed}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shop = generate(SyntheticConfig(**SHOP, seed=seed)).dataset  # type: ignore[arg-type]
        draft = path.with_suffix(".part")
        recipe = replace(small(), ranker=replace(small().ranker, windows=2))
        draft.write_text(json.dumps(compared(shop, recipe, seed)))
        draft.rename(path)
    found: dict[str, dict[str, float]] = json.loads(path.read_text())
    return found


def compared(shop: Dataset, config: TrainConfig, seed: int) -> dict[str, dict[str, float]]:
    """All three systems on one shop, over the shoppers that all of them know something of or nothing."""
    as_of = shop.calendar.week_end(CUTOFF_WEEK)
    items = select_catalogue(shop, as_of, 0)
    foundation = lay_foundation(item_texts(items), config)
    return {name: values(shop, kinds, items, foundation, config, seed) for name, kinds in SIGNALS.items()}


def values(
    shop: Dataset, kinds: tuple[str, ...], items: pl.DataFrame, foundation: Foundation, config: TrainConfig, seed: int
) -> dict[str, float]:
    """Train on some kinds of events; shopper → NDCG@10 of the served list against what was bought."""
    as_of = shop.calendar.week_end(CUTOFF_WEEK)
    is_late, is_kept = pl.col("event_time") >= as_of, pl.col("event_type").is_in(kinds)
    heard = replace(shop, events=shop.events.filter(is_kept & ~is_late))
    split = TimeSplit(heard, as_of, config.ranker.window_weeks)
    fitted = fit_by_windows(split, items, foundation, config, seed, Timings(logging.getLogger(__name__)))
    towers = fit_interest(fitted.towers.text, sequences_before(split, items, 0), config, seed, fitted.towers)
    bought = shop.events.filter((is_kept & ~is_late) | ((pl.col("event_type") == "purchase") & is_late))
    after = TimeSplit(replace(shop, events=bought), as_of, config.ranker.window_weeks)
    asked = ask(after, items, sequences_before(after, items, 0), towers, config, 0)
    ranker = Ranker(fitted.trees["all"].model_text)
    return {
        query.user_id: ndcg_at(
            recommend(asked.model, ranker, query.shopper, interest, config.candidates, query.now_us).rows,
            query.truth,
            _K,
        )
        for query, interest in zip(asked.window.queries, asked.interests, strict=True)
    }
