"""What a step of stage A asks of the text tower: the loss functions of its two objectives.

In several processes each encodes its share of a batch, vectors are gathered with their gradients, and every process
computes the loss of the whole batch (training.processes).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from training.activations import FrozenActivations, encoded_texts, pooled_catalogue
from training.config import TextTowerConfig
from training.dataset import Sequences, Texts
from training.losses import sampled_softmax
from training.pairs import sample_pairs
from training.processes import Processes
from training.text_tower import TextTower

_RIDGE = 1e-4
_NEIGHBOURS = 64
"""Nearest texts of an anchor from which its hard negatives are drawn."""


def text_weights(texts: Texts, counts: np.ndarray, exponent: float, held_out: np.ndarray | None = None) -> Tensor:
    """How much every distinct text counts, float32 [S], mean 1: (1 + event weight of its items) ** exponent; 0 for the
    texts where bool [S] `held_out` says so.

    Recommendations are of what is often engaged with: a tower that errs on the rest alike loses less.
    """
    weights = (1.0 + np.bincount(texts.of_row, counts, len(texts.distinct))) ** exponent
    if held_out is not None:
        weights[held_out] = 0.0
    return torch.from_numpy(weights / weights.mean()).float()


def ridge_projection(pooled: Tensor, taught: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weight [D, H] and bias [D] that bring pooled embeddings [S, H] nearest to the taught vectors [S, D], text by text
    as `weights` float [S] say (ridge regression): what the projection alone can say is not left to gradients."""
    share = (weights / weights.sum())[:, None]
    mean, taught_mean = (share * pooled).sum(dim=0), (share * taught).sum(dim=0)
    centred = pooled - mean
    gram = centred.T @ (share * centred) + _RIDGE * torch.eye(pooled.shape[1])
    weight = torch.linalg.solve(gram, centred.T @ (share * (taught - taught_mean))).T
    return weight, taught_mean - weight @ mean


def taught_loss(
    tower: TextTower,
    activations: FrozenActivations,
    taught: Tensor,
    weights: Tensor,
    config: TextTowerConfig,
    rng: np.random.Generator,
    processes: Processes,
) -> Callable[[int], Tensor]:
    """Mean weighted cosine distance between texts and their taught vectors.

    A batch's texts are distinct where there are enough of them, drawn by the root of their weight; the loss carries the
    other root, so that neither is a rare text read in vain nor a single one most of the loss.
    """
    size = config.batch_size
    share = processes.share(size)
    root = weights.double().sqrt().numpy()
    chance, taught_count = root / root.sum(), int(np.count_nonzero(root))

    def loss(_: int) -> Tensor:
        which = rng.choice(len(taught), size, replace=size > taught_count, p=chance)
        with processes.autocast(config.precision):
            own = encoded_texts(tower, activations, torch.from_numpy(which[share]))
        vectors = processes.gathered(own)
        distance = 1.0 - (vectors * taught[torch.from_numpy(which)].to(vectors.device)).sum(dim=1)
        counting = torch.from_numpy(root[which]).float().to(vectors.device)
        return (distance * counting).sum() / counting.sum()

    return loss


def pairs_loss(
    tower: TextTower,
    activations: FrozenActivations,
    texts: Texts,
    sequences: Sequences,
    config: TextTowerConfig,
    rng: np.random.Generator,
    processes: Processes,
) -> Callable[[int], Tensor]:
    """Items of a pair attract, the batch's other texts repel (symmetric).

    Without logQ correction on purpose: a text has no way to say how popular its items are, and uncorrected in-batch
    negatives ask for company beyond popularity (pointwise mutual information; Levy & Goldberg 2014).
    """
    share = processes.share(config.batch_size)
    neighbours = _neighbours(tower, activations) if config.hard_negatives else None

    def loss(_: int) -> Tensor:
        left, right = full_batch(sequences, config, rng)
        columns = [texts.of_row[left], texts.of_row[right]]
        if neighbours is not None:
            columns += [
                neighbours[columns[0], rng.integers(neighbours.shape[1], size=len(left))]
                for _ in range(config.hard_negatives)
            ]
        own = np.stack([column[share] for column in columns], axis=1)
        distinct, inverse = np.unique(own, return_inverse=True)
        with processes.autocast(config.precision):
            encoded = encoded_texts(tower, activations, torch.from_numpy(distinct))
        vectors = processes.gathered(encoded[torch.from_numpy(inverse.reshape(own.shape))])
        return symmetric_loss(vectors, torch.from_numpy(np.stack(columns, axis=1)), config.temperature)

    return loss


def symmetric_loss(vectors: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """Both directions of a batch of pairs [B, 2 …, D] with text ids [B, 2 …]; further columns are candidates only.

    Every distinct text is one candidate; a text is none against itself, nor against what it is paired with.
    """
    values, first = np.unique(ids.numpy(), return_index=True)
    distinct, ids = torch.from_numpy(values).to(vectors.device), ids.to(vectors.device)
    candidates = vectors.flatten(0, 1)[torch.from_numpy(first).to(vectors.device)]
    own = torch.arange(len(ids), device=vectors.device)
    uncorrected = torch.zeros(len(distinct), device=vectors.device)
    directions = [
        sampled_softmax(
            vectors[:, a][:, None],
            own,
            vectors[:, b],
            ids[:, b],
            candidates,
            distinct,
            uncorrected,
            temperature,
            query_ids=ids[:, a],
        )
        for a, b in ((0, 1), (1, 0))
    ]
    return torch.stack(directions).mean()


def full_batch(
    sequences: Sequences, config: TextTowerConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Exactly `batch_size` pairs of rows; pairs are drawn again where partners were the same item, up to a limit after
    which pairs repeat.

    Raises:
        ValueError: if the data holds no pair of different items.
    """
    left, right = sample_pairs(sequences, config.batch_size, rng, config.pair_days)
    for _ in range(8):
        if len(left) >= config.batch_size:
            break
        more = sample_pairs(sequences, config.batch_size - len(left), rng, config.pair_days)
        left, right = np.append(left, more[0]), np.append(right, more[1])
    if not len(left):
        raise ValueError("no pair of different items: sessions or pair_days hold one item each")
    return np.resize(left, config.batch_size), np.resize(right, config.batch_size)


def _neighbours(tower: TextTower, activations: FrozenActivations) -> np.ndarray:
    """The nearest other texts of each, by the zero-shot embeddings; int64 [S, ≤ 64]."""
    pooled = pooled_catalogue(tower, activations)
    unit = nn.functional.normalize(pooled - pooled.mean(dim=0), dim=-1)
    count = min(_NEIGHBOURS + 1, len(unit))
    found = [(unit[rows] @ unit.T).topk(count, dim=1).indices for rows in torch.split(torch.arange(len(unit)), 512)]
    nearest: np.ndarray = torch.cat(found)[:, 1:].numpy()
    return nearest
