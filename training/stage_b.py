"""Stage B: the interest tower and the items' residuals learn what shoppers engage with later.

Shapes: B stretches of T events, P positions of them that have a target, C candidates, K interests, D = VECTOR_SIZE.

Choices:
- Softmax over a shared sample: the batch's targets and uniform draws, with logQ correction (Yi et al. 2019, RecSys);
  over the whole catalogue where that is no larger.
- Where only first engagements are targets, they are told from items not had before: else an item would be pushed down
  for every shopper who has it, and rank low for those who do not.
- Same seed, same numbers: every random draw comes from one NumPy generator and torch's seeded global one, on the CPU's
  deterministic kernels.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from features.encode import Floats
from training.config import InterestTowerConfig
from training.dataset import Sequences
from training.histories import HistoryBatch, HistorySampler
from training.interest_tower import InterestTower, ItemVectors
from training.loop import Surroundings, make_optimizer, run_steps


def fit_interest_tower(
    tower: InterestTower,
    items: ItemVectors,
    sequences: Sequences,
    config: InterestTowerConfig,
    rng: np.random.Generator,
    around: Surroundings | None = None,
) -> list[float]:
    """Fit both in place.

    Returns:
        The loss of every step.
    """
    sampler = HistorySampler(sequences, config)
    optimizer, schedule = make_optimizer(
        [
            {"params": list(tower.parameters()), "lr": config.learning_rate},
            {"params": list(items.adapter.parameters()), "lr": config.learning_rate},
            {"params": [items.residual.weight], "lr": config.residual_learning_rate, "weight_decay": 0.0},
        ],
        config.weight_decay,
        config.steps,
        config.warmup_share,
    )
    candidates = _Candidates(config.batch_size * sampler.mean_targets * sampler.target_share, config, rng)

    def loss_of_step(_step: int) -> Tensor:
        batch = sampler.sample(config.batch_size, rng)
        rows, log_q = candidates.draw(batch.targets)
        had = sampler.had(batch, rows.numpy()) if config.targets == "first" else None
        return _interest_loss(tower, items, batch, rows, log_q, had)

    module = nn.ModuleList([tower, items])
    return run_steps(loss_of_step, module, optimizer, schedule, config.steps, "stage B", rng, around or Surroundings())


class _Candidates:
    """What a step's targets are told from."""

    def __init__(self, expected: np.ndarray, config: InterestTowerConfig, rng: np.random.Generator) -> None:
        self._item_count = expected.size
        self._uniform = config.uniform_negatives
        self._whole = config.uniform_negatives >= expected.size
        self._log_q = _log_inclusion(expected + self._uniform / self._item_count)
        self._rng = rng

    def draw(self, targets: np.ndarray) -> tuple[Tensor, Tensor]:
        """Candidate rows int64 [C], every target among them, and ln of the chance that each is drawn, float32 [C]."""
        if self._whole:
            return torch.arange(self._item_count), torch.zeros(self._item_count)
        uniform = self._rng.integers(0, self._item_count, size=self._uniform)
        rows = torch.from_numpy(np.union1d(targets[targets >= 0], uniform))
        return rows, self._log_q[rows]


def _interest_loss(
    tower: InterestTower,
    items: ItemVectors,
    batch: HistoryBatch,
    candidates: Tensor,
    log_q: Tensor,
    had: npt.NDArray[np.bool_] | None = None,
) -> Tensor:
    has_target = torch.from_numpy(batch.targets >= 0)
    history = items(torch.from_numpy(batch.rows))
    interests = tower.interests_along(history, torch.from_numpy(batch.event_types), torch.from_numpy(batch.ages_days))[
        has_target
    ]
    scores = torch.einsum("pkd,cd->pkc", interests, items(candidates)).amax(dim=1) - log_q
    if had is not None:
        scores = scores.masked_fill(torch.from_numpy(had)[has_target], -1e9)
    targets = torch.searchsorted(candidates, torch.from_numpy(batch.targets)[has_target])
    weights = torch.from_numpy(batch.weights)[has_target]
    losses = functional.cross_entropy(scores, targets, reduction="none")
    return (losses * weights).sum() / weights.sum()


def _log_inclusion(expected: np.ndarray) -> Tensor:
    """ln of the chance that something expected `expected` times is drawn at least once (Poisson)."""
    return torch.from_numpy(np.log(-np.expm1(-np.maximum(expected, 1e-12)))).float()


def all_item_vectors(items: ItemVectors) -> Floats:
    """Every item's vector, float32 [N, D], rounded to the fp16 that the bundle stores, so that training sees what
    serving has."""
    with torch.inference_mode():
        return items.all().half().float().numpy()
