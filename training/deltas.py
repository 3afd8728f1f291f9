"""What new events say about items that the catalogue has: a small step of their vectors, the interest tower unchanged.

Choices:
- Interests are the frozen tower's answers to what shoppers had done before the new events, so no gradient goes through
  it and its ONNX file is all that is read.
- Only items with new events move: vector = old + delta, learned in a few steps of sampled softmax. The deltas decay
  towards zero, so an hour in which little happened moves little.

N items, D vector width.
"""

from dataclasses import dataclass

import numpy as np
import torch

from features.encode import Floats
from training.losses import sampled_softmax
from training.queries import InterestRun, Window, interests_of


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateConfig:
    """How far an update may go."""

    steps: int = 20
    batch_size: int = 128
    """Shoppers per step."""
    targets: int = 16
    """New items drawn per shopper."""
    uniform_negatives: int = 512
    learning_rate: float = 2e-3
    decay: float = 0.05
    """Share of a delta that a step takes away."""
    held_out_share: float = 0.25
    """Latest part of the time since the parent's cutoff that judges the update and does not train it."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0 < self.held_out_share < 1:
            raise ValueError(f"held_out_share must lie between 0 and 1, got {self.held_out_share}")
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay must lie in [0, 1), got {self.decay}")


@dataclass(frozen=True, slots=True)
class Moved:
    """Vectors after an update."""

    vectors: Floats
    """float32 [N, D], rounded to fp16."""
    item_count: int
    """Items that moved."""


def fit_deltas(window: Window, old: Floats, run: InterestRun, config: UpdateConfig, seed: int) -> Moved:
    """Learn deltas from one window.

    Args:
        window: Shoppers at its instant, and what they engaged with since; those without a history teach nothing.
        old: float32 [N, D].
        run: The frozen interest tower.
        config: How far it may go.
        seed: Of every draw.
    """
    queries = [query for query in window.queries if query.shopper.history_rows.size]
    if not queries:
        return Moved(old, 0)
    rng = np.random.default_rng(seed)
    shoppers = [query.shopper for query in queries]
    interests = np.stack([interest.vectors for interest in interests_of(run, old, shoppers, window.now_us)])
    truths = [query.truth for query in queries]
    touched = torch.zeros(len(old), 1)
    touched[torch.from_numpy(np.unique(np.concatenate(truths))).long()] = 1.0
    vectors, delta = torch.from_numpy(old), torch.zeros(old.shape, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=config.learning_rate)
    for _ in range(config.steps):
        chosen = rng.choice(len(queries), size=min(config.batch_size, len(queries)), replace=False)
        wanted = [rng.permutation(truths[place])[: config.targets] for place in chosen]
        uniform = rng.choice(len(old), size=min(config.uniform_negatives, len(old)), replace=False)
        loss = _loss(vectors + delta * touched, interests[chosen], wanted, uniform)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        with torch.no_grad():
            delta *= 1.0 - config.decay
    updated: Floats = (vectors + delta.detach() * touched).half().float().numpy()
    return Moved(updated, int(touched.sum()))


def _loss(vectors: torch.Tensor, interests: Floats, wanted: list[np.ndarray], uniform: np.ndarray) -> torch.Tensor:
    """Every wanted item against the uniform sample, for interests [Q, K, D]."""
    targets, candidates = torch.from_numpy(np.concatenate(wanted)).long(), torch.from_numpy(uniform)
    return sampled_softmax(
        queries=torch.from_numpy(interests),
        query_of=torch.from_numpy(np.repeat(np.arange(len(wanted)), [rows.size for rows in wanted])),
        positives=vectors[targets],
        positive_ids=targets,
        candidates=vectors[candidates],
        candidate_ids=candidates,
        candidate_log_q=torch.full((len(candidates),), float(np.log(len(candidates) / len(vectors)))),
    )
