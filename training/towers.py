"""Both towers fitted on what was known at one instant."""

import copy
from dataclasses import dataclass

import numpy as np
import torch

from features.encode import Floats
from training.config import TrainConfig
from training.dataset import Sequences, Texts
from training.fit import all_item_vectors, fit_interest_tower, fit_text_tower
from training.interest_tower import InterestTower, ItemVectors
from training.text_tower import FrozenActivations, TextTower, Tokens, open_text_tower, start_projection, text_vectors


@dataclass(frozen=True, slots=True)
class Foundation:
    """What every fit of one run starts from: the pre-trained encoder and its frozen layers' activations."""

    tower: TextTower
    tokens: Tokens
    texts: Texts
    activations: FrozenActivations


@dataclass(frozen=True, slots=True)
class Towers:
    """A fitted pair and the item vectors it gives."""

    text: TextTower
    interest: InterestTower
    vectors: Floats
    """float32 [N, D], rounded to fp16."""
    losses: dict[str, list[float]]


def lay_foundation(texts: Texts, config: TrainConfig) -> Foundation:
    """Load the encoder and run every distinct text through its frozen layers once."""
    tower, tokens = open_text_tower(config.text)
    activations = FrozenActivations(tower, tokens, texts.distinct)
    start_projection(tower, activations)
    return Foundation(tower, tokens, texts, activations)


def fit_towers(foundation: Foundation, sequences: Sequences, config: TrainConfig, seed: int) -> Towers:
    """Stage A, then stage B, from the foundation's pre-trained weights."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    text = copy.deepcopy(foundation.tower)
    losses_a = fit_text_tower(text, foundation.activations, foundation.texts, sequences, config.text, rng)
    distinct = text_vectors(text, foundation.activations)
    items = ItemVectors(torch.from_numpy(distinct[foundation.texts.of_row]), config.interest.residual_dropout)
    interest = InterestTower(config.interest)
    losses_b = fit_interest_tower(interest, items, sequences, config.interest, rng)
    return Towers(text, interest, all_item_vectors(items), {"text": losses_a, "interest": losses_b})
