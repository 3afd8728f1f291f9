"""`python -m tests.integration.tiny_training …`: training.train whose recipe `small` has a few steps only."""

from dataclasses import replace
from unittest.mock import patch

from training import recipes, train
from training.config import CompanyConfig, InterestTowerConfig, TrainConfig


def tiny() -> TrainConfig:
    """The recipe `small` with next to no steps."""
    small = recipes.small()
    company = CompanyConfig(steps=2, batch_size=16, uniform_negatives=32)
    text = replace(small.text, steps=2, batch_size=16, company=company)
    interest = InterestTowerConfig(steps=2, refresh_steps=2, batch_size=16, uniform_negatives=32, target_days=14.0)
    return replace(small, text=text, interest=interest)


if __name__ == "__main__":
    with patch.dict(recipes.RECIPES, small=tiny):
        train.main()
