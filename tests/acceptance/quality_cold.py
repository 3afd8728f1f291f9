"""Line 4 of AREA=quality: items that training never saw live from their text.

A tenth of the text groups (all items that share a text) is taken out of catalogue and events; the towers are fitted on
the rest, and the withheld items get the vectors that an upsert would give them. Everything is ranked by interest score
over the whole catalogue. Beside it: the same towers fitted on everything, and random items of the shopper's heaviest
categories.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from features.adapters import load
from features.encode import Floats, Shopper
from features.schema import Dataset
from features.vocab import Rows
from tests.acceptance.rows import Row, at_least
from training.activations import FrozenActivations, text_vectors
from training.config import TrainConfig
from training.dataset import item_texts, select_catalogue, sequences
from training.export import torch_interest_run
from training.metrics import recall_at
from training.newcomers import with_fair_newcomers
from training.queries import Window, interests_of, open_window
from training.recipes import laptop
from training.towers import Foundation, Towers, fit_interest, fit_text, lay_foundation

_CUTOFF_WEEK, _WEEKS, _K = 49, 4, 20
_WITHHELD_SHARE = 0.1
_TOP_LEAVES = 5
"""The shopper's heaviest categories that random items are drawn from."""
_SEED = 0


def cold_start() -> list[Row]:
    """Complete Journey, the test weeks' events with the withheld items."""
    data = load("complete-journey", Path("build/data"))
    as_of = data.calendar.week_end(_CUTOFF_WEEK)
    items = select_catalogue(data, as_of, 5)
    cold = withheld_rows(items, _WITHHELD_SHARE, np.random.default_rng(_SEED))
    window = open_window(data, items, as_of, _WEEKS)
    unseen, seen = Trained.on(data, items, laptop(), cold), Trained.on(data, items, laptop(), cold[:0])
    rng = np.random.default_rng(_SEED)
    recalls = {
        "withheld": mean_recall(window, cold, lambda shopper: unseen.best(shopper, window.now_us)),
        "trained_on": mean_recall(window, cold, lambda shopper: seen.best(shopper, window.now_us)),
        "random_of_top_categories": mean_recall(window, cold, lambda shopper: _random(shopper, window, rng)),
    }
    places = {
        "withheld": _places(window, cold, lambda shopper: unseen.best(shopper, window.now_us)),
        "trained_on": _places(window, cold, lambda shopper: seen.best(shopper, window.now_us)),
    }
    told = [Row(f"share_of_places_{name}", round(value, 3), "told", True) for name, value in places.items()]
    told += [Row(f"recall@{_K}_{name}", round(value, 5), "told", True) for name, value in recalls.items()]
    ratios = {name: recalls["withheld"] / max(value, 1e-9) for name, value in recalls.items()}
    return [
        *told,
        at_least("withheld_over_trained_on", round(ratios["trained_on"], 3), 0.5),
        at_least("withheld_over_random_of_top_categories", round(ratios["random_of_top_categories"], 2), 3.0),
    ]


def withheld_rows(items: pl.DataFrame, share: float, rng: np.random.Generator) -> Rows:
    """Rows of the items of a random share of all text groups, ascending."""
    texts = item_texts(items)
    count = round(share * len(texts.distinct))
    groups = rng.permutation(len(texts.distinct))[:count]
    return np.flatnonzero(np.isin(texts.of_row, groups)).astype(np.int32)


@dataclass(frozen=True, slots=True)
class Trained:
    """Towers, and a vector for every item of the catalogue."""

    towers: Towers
    vectors: Floats
    """float32 [N, D]."""
    cold: Rows
    """Rows that training did not see: no history holds them."""

    @classmethod
    def on(cls, data: Dataset, items: pl.DataFrame, config: TrainConfig, cold: Rows) -> "Trained":
        """Fit on the catalogue without the rows `cold`, and give those the vectors of their texts."""
        warm = np.setdiff1d(np.arange(items.height), cold)
        known = items[warm]
        foundation = lay_foundation(item_texts(known), config)
        events = sequences(data, known, data.calendar.week_end(_CUTOFF_WEEK))
        towers = fit_interest(fit_text(foundation, events, config, _SEED), events, config, _SEED)
        towers = with_fair_newcomers(towers, events, _SEED)
        vectors = np.empty((items.height, towers.vectors.shape[1]), dtype=np.float32)
        vectors[warm] = towers.vectors
        if cold.size:
            vectors[cold] = _upserted(foundation, towers, items[cold])
        return cls(towers, vectors, cold)

    def best(self, shopper: Shopper, now_us: int) -> Rows:
        """The _K rows with the highest interest scores of the whole catalogue."""
        known = ~np.isin(shopper.history_rows, self.cold)
        bare = replace(
            shopper,
            history_rows=shopper.history_rows[known],
            history_event_types=shopper.history_event_types[known],
            history_times_us=shopper.history_times_us[known],
        )
        [interest] = interests_of(torch_interest_run(self.towers.interest), self.vectors, [bare], now_us)
        scores = (self.vectors @ interest.vectors.T).max(axis=1)
        best: Rows = np.argsort(-scores, kind="stable")[:_K].astype(np.int32)
        return best


def _upserted(foundation: Foundation, towers: Towers, items: pl.DataFrame) -> Floats:
    """What the exported text tower gives for items it was not fitted on, float32 [n, D]."""
    texts = item_texts(items)
    tower = towers.text.tower
    vectors = text_vectors(tower, FrozenActivations(tower, foundation.tokens, texts.distinct))
    with torch.inference_mode():
        adapted: Floats = towers.items.adapter(torch.from_numpy(vectors)).numpy()
    return adapted[texts.of_row]


def _places(window: Window, cold: Rows, best: Callable[[Shopper], Rows]) -> float:
    """Share of all lists' places that the withheld items take."""
    known = [query.shopper for query in window.queries if query.shopper.is_known]
    return float(np.mean([np.isin(best(shopper), cold).mean() for shopper in known]))


def _random(shopper: Shopper, window: Window, rng: np.random.Generator) -> Rows:
    heaviest = np.argsort(-shopper.leaf_affinity[:-1], kind="stable")[:_TOP_LEAVES]
    rows = np.flatnonzero(np.isin(window.items.leaf, heaviest)).astype(np.int32)
    return rng.permutation(rows)[:_K]


def mean_recall(window: Window, cold: Rows, best: Callable[[Shopper], Rows]) -> float:
    """Recall@_K of the events with cold items, over the known shoppers who have such an event."""
    found = []
    for query in window.queries:
        truth = np.intersect1d(query.truth, cold)
        if truth.size and query.shopper.is_known:
            found.append(recall_at(best(query.shopper), truth, _K))
    return float(np.mean(found))
