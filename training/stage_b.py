"""Stage B: the interest tower and the item residuals learn what a shopper engages with next.

Same seed, same numbers: every random draw comes from one NumPy generator and torch's seeded global one, on the CPU's
deterministic kernels.
"""

import numpy as np
import torch
from torch import nn

from features.encode import Floats
from training.config import InterestTowerConfig
from training.dataset import HistoryBatch, Sequences, sample_histories
from training.interest_tower import InterestTower, ItemVectors
from training.loop import make_optimizer, step
from training.losses import sampled_softmax
from training.progress import track


def fit_interest_tower(
    tower: InterestTower,
    items: ItemVectors,
    sequences: Sequences,
    config: InterestTowerConfig,
    rng: np.random.Generator,
) -> list[float]:
    """Stage B. The history's interest vectors point at the items of the next weeks (sampled softmax over batch and
    uniform items).

    Returns:
        The loss of every step.
    """
    share = sequences.counts / max(sequences.counts.sum(), 1.0)
    expected = config.batch_size * config.targets * share + config.uniform_negatives / sequences.item_count
    presence = _log_inclusion(expected)
    optimizer, schedule = make_optimizer(
        [
            {"params": list(tower.parameters()), "lr": config.learning_rate},
            {"params": [items.residual.weight], "lr": config.residual_learning_rate, "weight_decay": 0.0},
        ],
        config.weight_decay,
        config.steps,
        config.warmup_share,
    )
    losses = []
    module = nn.ModuleList([tower, items]).train()
    for _ in track(range(config.steps), "stage B: interest tower"):
        batch = sample_histories(sequences, config.batch_size, config.targets, config.target_days, rng)
        uniform = rng.integers(0, sequences.item_count, size=config.uniform_negatives)
        losses.append(step(_interest_loss(tower, items, batch, uniform, presence), module, optimizer, schedule))
    module.eval()
    return losses


def _interest_loss(
    tower: InterestTower, items: ItemVectors, batch: HistoryBatch, uniform: np.ndarray, presence: torch.Tensor
) -> torch.Tensor:
    history = items(torch.from_numpy(batch.rows).long())
    interests = tower(history, torch.from_numpy(batch.event_types), torch.from_numpy(batch.ages_days))
    targets = torch.from_numpy(batch.target_rows)
    candidates = torch.from_numpy(np.union1d(batch.target_rows, uniform))
    return sampled_softmax(
        queries=interests,
        query_of=torch.from_numpy(batch.target_of),
        positives=items(targets),
        positive_ids=targets,
        candidates=items(candidates),
        candidate_ids=candidates,
        candidate_log_q=presence[candidates],
    )


def _log_inclusion(expected: np.ndarray) -> torch.Tensor:
    """ln of the chance that something expected `expected` times is drawn at least once (Poisson)."""
    return torch.from_numpy(np.log(-np.expm1(-np.maximum(expected, 1e-12)))).float()


def all_item_vectors(items: ItemVectors) -> Floats:
    """Every item's vector, float32 [N, D], rounded to the fp16 that the bundle stores, so that training sees what
    serving has."""
    with torch.inference_mode():
        return items.all().half().float().numpy()
