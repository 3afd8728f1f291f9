"""The week scheme: a ranker whose labels come from weeks that its towers, popularity and features have not seen.

With W = the label window and C = the cutoff: towers ≤ C - 2W · labels C - 2W … C - W · validation C - W … C. The
validation window says how many trees; then the ranker is refitted on both windows. Nothing at or after C is ever read.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from features.schema import Dataset
from services.ranking.ordering import Interest, OrderingModel, Ranker, popular_rows
from services.retrieval.index import build_index
from training.baselines import Popularity, RecencyFrequency
from training.config import TrainConfig
from training.dataset import sequences
from training.evaluation import Comparison, Scores, compare
from training.export import torch_interest_run
from training.progress import Timings
from training.queries import Window, interests_of, open_window
from training.ranker import RankerRows, fit_ranker, joined, ranker_rows, tree_count
from training.towers import FittedText, Foundation, Towers, fit_interest, fit_text


@dataclass(frozen=True, slots=True)
class FittedRanker:
    """The refitted ranker, how its predecessor did on the validation window, and the text tower it was fitted with."""

    model_text: str
    trees: int
    text: FittedText
    validation: Comparison


def fit_by_weeks(
    data: Dataset,
    items: pl.DataFrame,
    foundation: Foundation,
    config: TrainConfig,
    as_of: datetime,
    seed: int,
    timings: Timings,
) -> FittedRanker:
    """Run the scheme up to the refitted ranker."""
    weeks = timedelta(weeks=config.ranker.window_weeks)
    start, middle = as_of - 2 * weeks, as_of - weeks
    before = sequences(data, items, start)
    with timings.stage("stage A, up to the label weeks"):
        text = fit_text(foundation, before, config, seed)
    with timings.stage("stage B, up to the label weeks"):
        towers = fit_interest(text, before, config, seed)
    rng = np.random.default_rng(seed)
    with timings.stage("ranker rows"):
        first = _rows(_asked(data, items, towers, start, config), config, rng)
        asked = _asked(data, items, towers, middle, config)
        second = _rows(asked, config, rng)
    with timings.stage("ranker"):
        probe = fit_ranker(first, second, config.ranker, seed, config.ranker.max_trees)
        trees = tree_count(probe)
        model_text = fit_ranker(joined(first, second), None, config.ranker, seed, trees)
    with timings.stage("validation"):
        validation = _validate(data, asked, Ranker(probe), config, middle, seed)
    return FittedRanker(model_text, trees, text, validation)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One label window with everything a ranking needs."""

    window: Window
    model: OrderingModel
    interests: list[Interest]


def _asked(data: Dataset, items: pl.DataFrame, towers: Towers, instant: datetime, config: TrainConfig) -> _Asked:
    window = open_window(data, items, instant, config.ranker.window_weeks)
    vectors, shoppers = towers.vectors, [query.shopper for query in window.queries]
    model = OrderingModel.assemble(window.items, vectors, build_index(vectors), popular_rows(window.items))
    return _Asked(window, model, interests_of(torch_interest_run(towers.interest), vectors, shoppers, window.now_us))


def _rows(asked: _Asked, config: TrainConfig, rng: np.random.Generator) -> RankerRows:
    return ranker_rows(asked.model, asked.window, asked.interests, config.candidates, config.ranker, rng)


def _validate(
    data: Dataset, asked: _Asked, ranker: Ranker, config: TrainConfig, instant: datetime, seed: int
) -> Comparison:
    vocabulary = asked.window.items.vocabulary
    baselines: dict[str, Scores] = {
        "popularity": Popularity(data, vocabulary, instant),
        "recency_frequency": RecencyFrequency(data, vocabulary, instant),
    }
    return compare(asked.model, ranker, asked.window, asked.interests, config.candidates, baselines, seed)
