"""Both towers fitted on what was known at one instant."""

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from features.encode import Floats
from training.config import TrainConfig
from training.dataset import Sequences, Texts
from training.interest_tower import InterestTower, ItemVectors
from training.stage_a import fit_text_tower
from training.stage_b import all_item_vectors, fit_interest_tower
from training.text_tower import FrozenActivations, TextTower, Tokens, open_text_tower, start_projection, text_vectors

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Foundation:
    """What every fit of one run starts from: the pre-trained encoder and its frozen layers' activations."""

    tower: TextTower
    tokens: Tokens
    texts: Texts
    activations: FrozenActivations


@dataclass(frozen=True, slots=True)
class FittedText:
    """A fitted text tower and what it makes of the catalogue."""

    tower: TextTower
    row_vectors: Floats
    """float32 [N, D], the text vector of every item row."""


@dataclass(frozen=True, slots=True)
class Towers:
    """A fitted pair and the item vectors it gives."""

    text: FittedText
    interest: InterestTower
    vectors: Floats
    """float32 [N, D], text vector plus residual, rounded to fp16."""


def lay_foundation(texts: Texts, config: TrainConfig) -> Foundation:
    """Load the encoder and run every distinct text through its frozen layers once."""
    tower, tokens = open_text_tower(config.text)
    activations = FrozenActivations(tower, tokens, texts.distinct)
    start_projection(tower, activations)
    return Foundation(tower, tokens, texts, activations)


def fit_text(foundation: Foundation, sequences: Sequences, config: TrainConfig, seed: int) -> FittedText:
    """Stage A from the foundation's pre-trained weights."""
    tower = copy.deepcopy(foundation.tower)
    with _repeatable(seed) as rng:
        losses = fit_text_tower(tower, foundation.activations, foundation.texts, sequences, config.text, rng)
    log.info("stage A: loss %s", ends(losses))
    return FittedText(tower, text_vectors(tower, foundation.activations)[foundation.texts.of_row])


def fit_interest(text: FittedText, sequences: Sequences, config: TrainConfig, seed: int) -> Towers:
    """Stage B on top of a fitted text tower."""
    with _repeatable(seed) as rng:
        items = ItemVectors(torch.from_numpy(text.row_vectors), config.interest.residual_dropout)
        interest = InterestTower(config.interest)
        losses = fit_interest_tower(interest, items, sequences, config.interest, rng)
    log.info("stage B: loss %s", ends(losses))
    return Towers(text, interest, all_item_vectors(items))


@contextmanager
def _repeatable(seed: int) -> Iterator[np.random.Generator]:
    """Same seed, same numbers: torch otherwise adds up gradients of gathered rows as its threads happen to arrive."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    try:
        yield np.random.default_rng(seed)
    finally:
        torch.use_deterministic_algorithms(before)


def ends(losses: Sequence[float]) -> str:
    """Mean of the first and of the last tenth of a loss curve, for the log."""
    if not losses:
        return "unchanged (no steps)"
    tenth = max(len(losses) // 10, 1)
    return f"{np.mean(losses[:tenth]):.3f} → {np.mean(losses[-tenth:]):.3f}"
