"""The towers' torch weights, beside the bundle that was exported from them. Plain safetensors, no pickles; serving
never reads them."""

from pathlib import Path

import safetensors.torch

from training.config import InterestTowerConfig, TextTowerConfig
from training.interest_tower import InterestTower, ItemVectors
from training.text_tower import TextTower, open_text_tower
from training.towers import Towers

_TEXT, _INTEREST, _ITEMS = "text_tower.safetensors", "interest_tower.safetensors", "item_vectors.safetensors"


def save_towers(towers: Towers, folder: Path) -> None:
    """Write both towers' weights, and the item vectors in their parts."""
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_model(towers.text.tower, str(folder / _TEXT))
    safetensors.torch.save_model(towers.interest, str(folder / _INTEREST))
    safetensors.torch.save_model(towers.items, str(folder / _ITEMS))


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


def load_item_vectors(folder: Path, residual_dropout: float) -> ItemVectors:
    """Text vectors, adapter and residuals as they were saved, in the order of the bundle's items."""
    path = folder / _ITEMS
    items = ItemVectors(safetensors.torch.load_file(path)["text_vectors"], residual_dropout)
    safetensors.torch.load_model(items, path)
    return items.eval()
