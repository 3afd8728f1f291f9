"""The towers' torch weights, beside the bundle that was exported from them. Plain safetensors, no pickles; serving
never reads them."""

from pathlib import Path

import safetensors.torch

from training.config import InterestTowerConfig, TextTowerConfig
from training.interest_tower import InterestTower
from training.text_tower import TextTower, open_text_tower
from training.towers import Towers

_TEXT, _INTEREST = "text_tower.safetensors", "interest_tower.safetensors"


def save_towers(towers: Towers, folder: Path) -> None:
    """Write both towers' weights."""
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_model(towers.text.tower, str(folder / _TEXT))
    safetensors.torch.save_model(towers.interest, str(folder / _INTEREST))


def load_text_tower(folder: Path, config: TextTowerConfig) -> TextTower:
    """The text tower as it was saved, ready to encode."""
    tower, _ = open_text_tower(config)
    safetensors.torch.load_model(tower, folder / _TEXT)
    return tower.eval()


def load_interest_tower(folder: Path, config: InterestTowerConfig) -> InterestTower:
    """The interest tower as it was saved, ready to answer."""
    tower = InterestTower(config)
    safetensors.torch.load_model(tower, folder / _INTEREST)
    return tower.eval()
