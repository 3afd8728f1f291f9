"""The two fitting loops: stage A adapts the text tower to the shop, stage B trains the interest tower and the item
residuals.

Same seed, same numbers: every random draw comes from one NumPy generator and torch's seeded global one, on the CPU's
deterministic kernels.
"""

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from features.encode import Floats
from training.config import InterestTowerConfig, TextTowerConfig
from training.dataset import HistoryBatch, Sequences, Texts, sample_histories, sample_pairs
from training.interest_tower import InterestTower, ItemVectors
from training.losses import sampled_softmax
from training.progress import track
from training.text_tower import FrozenActivations, TextTower


def fit_text_tower(
    tower: TextTower,
    activations: FrozenActivations,
    texts: Texts,
    sequences: Sequences,
    config: TextTowerConfig,
    rng: np.random.Generator,
) -> list[float]:
    """Stage A. Items of one session attract, the batch's other texts repel (symmetric).

    Without logQ correction on purpose: a text has no way to say how popular its items are, and uncorrected in-batch
    negatives ask for company beyond popularity (pointwise mutual information; Levy & Goldberg 2014).

    Returns:
        The loss of every step.
    """
    optimizer, schedule = _optimizer(
        [{"params": [p for p in tower.parameters() if p.requires_grad], "lr": config.learning_rate}],
        config.weight_decay,
        config.steps,
        config.warmup_share,
    )
    losses = []
    tower.train()
    for _ in track(range(config.steps), "stage A: text tower"):
        left, right = sample_pairs(sequences, config.batch_size, rng)
        distinct, inverse = np.unique(texts.of_row[np.concatenate([left, right])], return_inverse=True)
        vectors = tower.head(*activations(torch.from_numpy(distinct)))
        anchor, other = torch.from_numpy(inverse).chunk(2)
        ids = torch.from_numpy(distinct)
        uncorrected = torch.zeros(len(ids))
        loss = torch.stack(
            [
                sampled_softmax(
                    vectors[a][:, None],
                    torch.arange(len(a)),
                    vectors[b],
                    ids[b],
                    vectors,
                    ids,
                    uncorrected,
                    config.temperature,
                    query_ids=ids[a],
                )
                for a, b in ((anchor, other), (other, anchor))
            ]
        ).mean()
        losses.append(_step(loss, tower, optimizer, schedule))
    tower.eval()
    return losses


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
    optimizer, schedule = _optimizer(
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
        losses.append(_step(_interest_loss(tower, items, batch, uniform, presence), module, optimizer, schedule))
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


def _optimizer(
    groups: Iterable[dict[str, object]], weight_decay: float, steps: int, warmup_share: float
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW with linear warm-up and cosine decay."""
    optimizer = torch.optim.AdamW(groups, weight_decay=weight_decay)
    warmup = max(round(steps * warmup_share), 1)

    def scale(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, scale)


def _step(
    loss: torch.Tensor,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> float:
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the loss became {loss.item()}; lower the learning rate")
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    return float(loss.item())


def all_item_vectors(items: ItemVectors) -> Floats:
    """Every item's vector, float32 [N, D], rounded to the fp16 that the bundle stores, so that training sees what
    serving has."""
    with torch.inference_mode():
        return items.all().half().float().numpy()
