"""Runs worth naming: a recipe is a function that returns a TrainConfig. Derive one by calling another and changing
fields."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from services.ranking.ordering import CandidateLimits
from training.config import (
    CatalogueConfig,
    CompanyConfig,
    InterestTowerConfig,
    ItemToItemConfig,
    RankerConfig,
    TableConfig,
    TextTowerConfig,
    TrainConfig,
)


def laptop() -> TrainConfig:
    """The default: a year of a grocer's purchases on two cores in eight minutes."""
    return TrainConfig()


def small() -> TrainConfig:
    """A shop of some hundred items, for tests and the synthetic shop: half a minute on two cores, with the fp32 text
    tower alone."""
    return replace(
        laptop(),
        catalogue=CatalogueConfig(min_shoppers=0),
        text=TextTowerConfig(
            steps=30,
            batch_size=64,
            company=CompanyConfig(steps=100, batch_size=64, uniform_negatives=256),
            compress=False,
        ),
        interest=InterestTowerConfig(
            steps=150, refresh_steps=30, batch_size=32, uniform_negatives=128, target_days=14.0
        ),
        item_to_item=ItemToItemConfig(max_items=1000),
        ranker=RankerConfig(
            window_weeks=2, windows=2, chance_trees=40, order_trees=40, early_stopping=10, min_data_in_leaf=20
        ),
        candidates=CandidateLimits(total=150, buy_again=40, category=30, popular=30),
    )


def sequence() -> TrainConfig:
    """Shoppers with few, ordered events that are hardly ever repeated, as in reviews: the next item counts."""
    return replace(
        laptop(),
        catalogue=CatalogueConfig(min_shoppers=0),
        text=TextTowerConfig(company=CompanyConfig(batch_size=512, targets=1, cut="event")),
        interest=InterestTowerConfig(
            start="text",
            targets="all",
            target_events=1,
            target_days=100_000.0,
            same_session=True,
            heads=2,
            dropout=0.2,
            batch_size=128,
            steps=1500,
            refresh_steps=300,
            uniform_negatives=2048,
            learning_rate=1e-3,
            residual_learning_rate=2e-3,
            residual_dropout=0.1,
        ),
        item_to_item=ItemToItemConfig(
            max_items=15_000, lasting=TableConfig(ridge=100.0), current=TableConfig(kind="sequence")
        ),
        ranker=RankerConfig(windows=2, tasks=("new",), negatives=60),
        candidates=CandidateLimits(buy_again=0, bought_together=60, category=0, popular=40),
    )


RECIPES: Mapping[str, Callable[[], TrainConfig]] = {"laptop": laptop, "small": small, "sequence": sequence}
"""By name, for the command line."""
