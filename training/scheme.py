"""The week scheme: a ranker whose labels come from weeks that its towers, popularity and features have not seen.

With W = the label window and C = the cutoff: towers ≤ C - 2W · labels C - 2W … C - W · validation C - W … C. The validation window
says how many trees; then the ranker is refitted on both windows. Nothing at or after C is ever read.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from features.encode import Floats
from features.schema import Dataset
from services.ranking.ordering import Interest, OrderingModel, Ranker, popular_rows
from services.retrieval.index import build_index
from training.baselines import Popularity, RecencyFrequency
from training.config import TrainConfig
from training.dataset import sequences
from training.evaluation import Comparison, compare
from training.export import torch_interest_run
from training.queries import Window, interests_of, open_window
from training.ranker import fit_ranker, joined, ranker_rows, tree_count
from training.towers import FittedText, Foundation, Towers, fit_interest, fit_text


@dataclass(frozen=True, slots=True)
class FittedRanker:
    """The refitted ranker, how its predecessor did on the validation window, and the text tower it was fitted with."""

    model_text: str
    trees: int
    text: FittedText
    validation: Comparison


def fit_by_weeks(
    data: Dataset, items: pl.DataFrame, foundation: Foundation, config: TrainConfig, as_of: datetime, seed: int
) -> FittedRanker:
    """Run the scheme up to the refitted ranker."""
    weeks = timedelta(weeks=config.ranker.window_weeks)
    start, middle = as_of - 2 * weeks, as_of - weeks
    before = sequences(data, items, start)
    towers = fit_interest(fit_text(foundation, before, config, seed), before, config, seed)
    rng = np.random.default_rng(seed)
    windows = [open_window(data, items, instant, config.ranker.window_weeks) for instant in (start, middle)]
    models = [_model_in_memory(window, towers.vectors) for window in windows]
    interests = [_interests(towers, window) for window in windows]
    first, second = (
        ranker_rows(model, window, interest, config.candidates, config.ranker, rng)
        for model, window, interest in zip(models, windows, interests, strict=True)
    )
    probe = fit_ranker(first, second, config.ranker, seed, config.ranker.max_trees)
    vocabulary = windows[1].items.vocabulary
    validation = compare(
        models[1],
        Ranker(probe),
        windows[1],
        interests[1],
        config.candidates,
        {
            "popularity": Popularity(data, vocabulary, middle),
            "recency_frequency": RecencyFrequency(data, vocabulary, middle),
        },
        seed,
    )
    trees = tree_count(probe)
    model_text = fit_ranker(joined(first, second), None, config.ranker, seed, trees)
    return FittedRanker(model_text, trees, towers.text, validation)


def _interests(towers: Towers, window: Window) -> list[Interest]:
    shoppers = [query.shopper for query in window.queries]
    return interests_of(torch_interest_run(towers.interest), towers.vectors, shoppers, window.now_us)


def _model_in_memory(window: Window, vectors: Floats) -> OrderingModel:
    return OrderingModel.assemble(window.items, vectors, build_index(vectors), popular_rows(window.items))
