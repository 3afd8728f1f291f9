"""Text towers fitted for the quality lines, kept under build/accept/quality/ so that lines share them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.text_shop import Shop
from features.encode import Floats
from training.config import CompanyConfig, TextTowerConfig, TrainConfig
from training.export import export_text_tower
from training.peft_tower import add_adapters, trained_share
from training.text_tower import open_text_tower
from training.towers import Foundation, fit_text, lay_foundation

STORE = Path("build/accept/quality")

CONFIGS: dict[str, TextTowerConfig] = {
    "complete_journey": TextTowerConfig(held_out=0.0, steps=300, company=CompanyConfig(steps=400)),
    "amazon_beauty": TextTowerConfig(
        held_out=0.0, steps=380, company=CompanyConfig(steps=300, batch_size=512, targets=1, cut="event")
    ),
}
"""Shop → settings, found on validation (weeks 46-49; the next to last review)."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted tower, as far as the lines need it."""

    vectors: Floats
    """float32 [texts, D]."""
    seconds: float
    trained_share: float
    """Parameters that learned, as a share of the tower's."""


class Workbench:
    """Fits of one shop: the foundation is laid once, and only if something is not kept already."""

    def __init__(self, shop: Shop, store: Path = STORE) -> None:
        """Work on `shop`, keeping what is made under `store`."""
        self.shop, self._store = shop, store
        self._foundation: Foundation | None = None
        store.mkdir(parents=True, exist_ok=True)

    def zero_shot(self, config: TextTowerConfig) -> tuple[Floats, Floats]:
        """Mean-pooled unit vectors, float32 [texts, H], and their projection to D principal components."""

        def make() -> dict[str, np.ndarray]:
            foundation = self._laid(config)
            pooled = foundation.pooled
            with torch.inference_mode():
                projected = functional.normalize(foundation.tower.projection(pooled), dim=-1)
            return {"whole": functional.normalize(pooled, dim=-1).numpy(), "projected": projected.numpy()}

        kept = self._kept("zero-shot", make)
        return kept["whole"], kept["projected"]

    def fitted(self, name: str, config: TextTowerConfig, onnx: Path | None = None) -> Fit:
        """The fit called `name`, exported to `onnx` where it is made here and asked for."""

        def make() -> dict[str, np.ndarray]:
            foundation = self._laid(config)
            share = share_of(config)
            started = time.monotonic()
            fit = fit_text(foundation, self.shop.sequences, TrainConfig(text=config), seed=0)
            seconds = time.monotonic() - started
            first = np.unique(self.shop.texts.of_row, return_index=True)[1]
            if onnx is not None:
                export_text_tower(fit.tower, nn.Identity(), foundation.tokens, onnx)
            return {"vectors": fit.row_vectors[first], "facts": np.array([seconds, share])}

        kept = self._kept(name, make)
        return Fit(kept["vectors"], float(kept["facts"][0]), float(kept["facts"][1]))

    def _laid(self, config: TextTowerConfig) -> Foundation:
        if self._foundation is None:
            self._foundation = lay_foundation(self.shop.texts, TrainConfig(text=config))
        return self._foundation

    def _kept(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        path = self._store / f"{self.shop.name}-{name}.npz"
        if not path.exists():
            growing = path.with_suffix(".part.npz")
            np.savez(growing, **make())  # type: ignore[arg-type]
            growing.rename(path)
        with np.load(path, allow_pickle=False) as kept:
            return dict(kept)


def share_of(config: TextTowerConfig) -> float:
    """Parameters that would learn, as a share of the tower's."""
    tower, _ = open_text_tower(config)
    if config.tuning != "full":
        add_adapters(tower, config, config.steps)
    return round(trained_share(tower), 4)
