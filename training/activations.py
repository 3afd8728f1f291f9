"""Every distinct text of a catalogue through the frozen layers, once; and from there through the layers that learn.

Shapes: B texts, T tokens, H encoder width, D = VECTOR_SIZE.

Choices: texts are tokenised once; batches are of similar length, and one batch is read in length buckets, so that
little of the arithmetic is spent on padding; activations are kept as fp16. Of an encoder that is taken whole the token
ids are kept.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from features.encode import Floats
from training.config import VECTOR_SIZE
from training.progress import track
from training.text_tower import TextTower, Tokens

_BUCKET = 64
"""Texts of similar length that are read together."""


class FrozenActivations:
    """Activations of the frozen layers for every distinct text, kept as fp16 and padded to one length."""

    def __init__(self, tower: TextTower, tokens: Tokens, texts: Sequence[str], batch_size: int = 128) -> None:
        """Encode `texts` once, in batches of similar length."""
        ids, self.mask = tokens(texts) if texts else (torch.zeros(0, 1, dtype=torch.int64),) * 2
        self.lengths: Tensor = self.mask.sum(dim=1)
        """int64 [texts], tokens of each."""
        self._hidden = ids if tower.is_whole else torch.zeros(*ids.shape, tower.projection.in_features).half()
        if tower.is_whole:
            return
        order = torch.argsort(self.lengths, stable=True)
        batches = torch.split(order, batch_size)
        with torch.inference_mode():
            for chosen in track(batches, "encode texts through the frozen layers"):
                length = int(self.lengths[chosen].max())
                mask = self.mask[chosen, :length]
                self._hidden[chosen, :length] = tower.activations(ids[chosen, :length], mask).half()

    def __len__(self) -> int:
        """How many texts."""
        return len(self.lengths)

    def __call__(self, which: Tensor) -> tuple[Tensor, Tensor]:
        """Float32 [B, T, H] (or ids int64 [B, T]) and mask [B, T] of the texts at int64 [B], cut to the longest."""
        length = int(self.lengths[which].max())
        hidden = self._hidden[which, :length]
        return hidden.float() if hidden.is_floating_point() else hidden, self.mask[which, :length]


def pooled_texts(tower: TextTower, activations: FrozenActivations, which: Tensor) -> Tensor:
    """Pooled embeddings float32 [B, H] of the texts at int64 [B], with gradients, read in length buckets."""
    order = torch.argsort(activations.lengths[which], stable=True)
    parts = []
    for bucket in torch.split(order, _BUCKET):
        hidden, mask = activations(which[bucket])
        device = tower.projection.weight.device
        parts.append(tower.pooled(hidden.to(device), mask.to(device)).float())
    return torch.cat(parts)[torch.argsort(order).to(parts[0].device)]


def encoded_texts(tower: TextTower, activations: FrozenActivations, which: Tensor) -> Tensor:
    """Unit vectors float32 [B, D] of the texts at int64 [B], with gradients, read in length buckets."""
    pooled = pooled_texts(tower, activations, which)
    with torch.autocast(pooled.device.type, enabled=False):
        return functional.normalize(tower.projection(pooled), dim=-1)


def pooled_catalogue(tower: TextTower, activations: FrozenActivations, batch_size: int = 512) -> Tensor:
    """Pooled embeddings of every distinct text, float32 [texts, H], without gradients."""
    width = tower.projection.in_features
    pooled = torch.empty(len(activations), width)
    batches = torch.split(torch.argsort(activations.lengths, stable=True), batch_size)
    with torch.inference_mode():
        for which in track(batches, "encode texts through the trained layers"):
            pooled[which] = pooled_texts(tower, activations, which).cpu()
    return pooled


def principal_projection(pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Weight [D, H] and bias [D] of the projection onto the D principal components, centred: the zero-shot encoder,
    compressed, without the part that all texts of a shop share."""
    mean = pooled.mean(dim=0)
    values, vectors = torch.linalg.eigh((pooled - mean).T @ (pooled - mean))
    directions = vectors[:, values.argsort(descending=True)[:VECTOR_SIZE]].T
    return directions, -directions @ mean


def set_projection(tower: TextTower, weight: Tensor, bias: Tensor) -> None:
    """Replace the tower's projection."""
    with torch.no_grad():
        tower.projection.weight.copy_(weight)
        tower.projection.bias.copy_(bias)


def text_vectors(tower: TextTower, activations: FrozenActivations, batch_size: int = 256) -> Floats:
    """Unit vectors of every distinct text, float32 [texts, D]."""
    with torch.inference_mode():
        pooled = pooled_catalogue(tower, activations, batch_size)
        projected = tower.projection(pooled.to(tower.projection.weight.device))
        vectors: Floats = functional.normalize(projected, dim=-1).cpu().numpy().astype(np.float32)
    return vectors
