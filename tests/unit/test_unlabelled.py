"""The stage on catalogue text alone spreads texts apart, and leaves a tower that still reads."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_encoder import write_tiny_encoder
from training.activations import FrozenActivations, text_vectors
from training.config import TextTowerConfig
from training.dataset import Sequences, Texts
from training.stage_a import fit_text_tower
from training.text_tower import open_text_tower

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = ["black tea", "cow milk", "green tea", "oat milk", "rye bread", "white bread"]
NOTHING = np.zeros(0, np.int64)
NO_EVENTS = Sequences(
    [],
    np.zeros(1, np.int64),
    NOTHING.astype(np.int32),
    NOTHING.astype(float),
    NOTHING,
    NOTHING,
    NOTHING,
    np.zeros(6),
    6,
)


def vectors_after(steps: int, folder: Path) -> np.ndarray:
    """The texts' vectors after so many unlabelled steps and no event."""
    encoder = write_tiny_encoder(folder, " ".join(TEXTS).split())
    config = TextTowerConfig(encoder=encoder, trained_layers=1, steps=0, batch_size=6, learning_rate=2e-3)
    tower, tokens = open_text_tower(config)
    stored = FrozenActivations(tower, tokens, TEXTS)
    torch.manual_seed(0)
    config = replace(config, unlabelled_steps=steps)
    losses = fit_text_tower(tower, stored, Texts(TEXTS, np.arange(6)), NO_EVENTS, config, np.random.default_rng(0))
    assert len(losses) == steps
    assert all(np.isfinite(losses))
    return text_vectors(tower, stored)


def test_it_changes_vectors_without_an_event_and_keeps_them_finite_and_of_length_one(tmp_path: Path) -> None:
    before, after = vectors_after(0, tmp_path / "a"), vectors_after(12, tmp_path / "b")
    assert np.abs(after - before).max() > 0.05
    assert np.isfinite(after).all()
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), 1.0, atol=1e-5)
