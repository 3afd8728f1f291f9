"""Runs worth naming: a recipe is a function that returns a TrainConfig. Derive one by calling another and changing
fields."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from services.ranking.ordering import CandidateLimits
from training.config import CatalogueConfig, InterestTowerConfig, RankerConfig, TextTowerConfig, TrainConfig


def laptop() -> TrainConfig:
    """The default: a year of a grocer's purchases on two cores in about five minutes."""
    return TrainConfig()


def small() -> TrainConfig:
    """A shop of some hundred items, for tests and the synthetic shop: under a minute on two cores."""
    return replace(
        laptop(),
        catalogue=CatalogueConfig(min_shoppers=0),
        text=TextTowerConfig(steps=30, batch_size=64),
        interest=InterestTowerConfig(steps=150, batch_size=64, uniform_negatives=128, target_days=14.0),
        ranker=RankerConfig(window_weeks=2, max_trees=60, early_stopping=10, min_data_in_leaf=20),
        candidates=CandidateLimits(total=150, buy_again=40, category=30, popular=30),
    )


RECIPES: Mapping[str, Callable[[], TrainConfig]] = {"laptop": laptop, "small": small}
"""By name, for the command line."""
