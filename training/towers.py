"""Both towers fitted on what was known at one instant."""

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from features.encode import Floats
from features.vocab import Rows
from training.activations import (
    FrozenActivations,
    pooled_catalogue,
    principal_projection,
    set_projection,
    text_vectors,
)
from training.config import TrainConfig
from training.dataset import Sequences, Texts
from training.factors import item_factors, text_map
from training.interest_tower import InterestTower, ItemVectors
from training.loop import Surroundings
from training.pairs import Impressions
from training.stage_a import fit_text_tower
from training.stage_b import all_item_vectors, fit_interest_tower
from training.text_tower import TextTower, Tokens, open_text_tower

log = logging.getLogger(__name__)

_SHARPNESS = 4.0
"""Length of the first interest vectors, in means of unit vectors: the power of two with the lowest loss."""


@dataclass(frozen=True, slots=True)
class Foundation:
    """What every fit of one run starts from: the pre-trained encoder and its frozen layers' activations."""

    tower: TextTower
    tokens: Tokens
    texts: Texts
    activations: FrozenActivations
    pooled: Tensor
    """float32 [texts, H], the zero-shot embedding of every distinct text."""


@dataclass(frozen=True, slots=True)
class FittedText:
    """A fitted text tower and what it makes of the catalogue."""

    tower: TextTower
    row_vectors: Floats
    """float32 [N, D], the text vector of every item row."""
    losses: Sequence[float] = ()
    """Of every step of stage A that went through the encoder."""
    held_out: Rows = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    """int32 [n], item rows whose texts were not taught."""


@dataclass(frozen=True, slots=True)
class Towers:
    """A fitted pair and the item vectors it gives."""

    text: FittedText
    interest: InterestTower
    items: ItemVectors
    vectors: Floats
    """float32 [N, D], text vector plus residual, rounded to fp16."""


def lay_foundation(texts: Texts, config: TrainConfig) -> Foundation:
    """Load the encoder and run every distinct text through its frozen layers once."""
    tower, tokens = open_text_tower(config.text)
    activations = FrozenActivations(tower, tokens, texts.distinct)
    pooled = pooled_catalogue(tower, activations)
    set_projection(tower, *principal_projection(pooled))
    return Foundation(tower, tokens, texts, activations, pooled)


def fit_text(
    foundation: Foundation,
    sequences: Sequences,
    config: TrainConfig,
    seed: int,
    around: Surroundings | None = None,
    impressions: Impressions | None = None,
) -> FittedText:
    """Stage A from the foundation's pre-trained weights.

    Args:
        foundation: Where it starts; left as it is.
        sequences: What shoppers did.
        config: Its `text` part is read.
        seed: Of every draw.
        around: Processes, tracker and checkpoints; None: one process, nothing kept.
        impressions: What was shown and let be, as hard negatives.
    """
    tower, texts = copy.deepcopy(foundation.tower), foundation.texts
    held_out = np.zeros(len(texts.distinct), dtype=bool)
    if config.text.objective == "company":
        count = int(config.text.held_out * held_out.size)
        held_out[np.random.default_rng(seed).permutation(held_out.size)[:count]] = True
    with _repeatable(seed) as rng:
        losses = fit_text_tower(
            tower,
            foundation.activations,
            texts,
            sequences,
            config.text,
            rng,
            around,
            impressions,
            foundation.pooled,
            held_out,
        )
    log.info("stage A: loss %s", ends(losses))
    vectors = text_vectors(tower, foundation.activations)[texts.of_row]
    return FittedText(tower, vectors, losses, np.flatnonzero(held_out[texts.of_row]).astype(np.int32))


def fit_interest(
    text: FittedText,
    sequences: Sequences,
    config: TrainConfig,
    seed: int,
    start: Towers | None = None,
    around: Surroundings | None = None,
) -> Towers:
    """Stage B on top of a fitted text tower.

    Args:
        text: Its vectors are what items start from.
        sequences: What shoppers did.
        config: Its `interest` part is read.
        seed: Of every draw.
        start: Towers fitted on the same catalogue at an earlier instant, to go on from with `refresh_steps`.
        around: Processes, tracker and checkpoints; None: one process, nothing kept.
    """
    settings = config.interest
    with _repeatable(seed) as rng:
        items = ItemVectors(torch.from_numpy(text.row_vectors), settings.residual_dropout)
        interest = InterestTower(settings)
        if start is None and settings.start == "factors":
            _begin_at_factors(interest, items, text, sequences, settings.shrinkage)
        if start is not None:
            settings = replace(settings, steps=settings.refresh_steps)
            interest.load_state_dict(start.interest.state_dict())
            items.adapter.load_state_dict(start.items.adapter.state_dict())
            items.residual.load_state_dict(start.items.residual.state_dict())
        losses = fit_interest_tower(interest, items, sequences, settings, rng, around)
    log.info("stage B: loss %s", ends(losses))
    return Towers(text, interest, items, all_item_vectors(items))


def _begin_at_factors(
    interest: InterestTower, items: ItemVectors, text: FittedText, sequences: Sequences, shrinkage: float
) -> None:
    factors, weights = item_factors(sequences, shrinkage), 1.0 + sequences.counts
    weights[text.held_out] = 0.0
    items.begin_at(torch.from_numpy(factors), torch.from_numpy(text_map(text.row_vectors, factors, weights)))
    interest.begin_at_mean(_SHARPNESS)


@contextmanager
def _repeatable(seed: int) -> Iterator[np.random.Generator]:
    """Same seed, same numbers: torch otherwise adds up gradients of gathered rows as its threads happen to arrive."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # a tenth of a step
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
