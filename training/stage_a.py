"""Stage A: the text tower learns which items keep company in this shop.

Same seed, same numbers: every random draw comes from one NumPy generator and torch's seeded global one, on the CPU's
deterministic kernels.
"""

import numpy as np
import torch

from training.config import TextTowerConfig
from training.dataset import Sequences, Texts, sample_pairs
from training.loop import make_optimizer, step
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
    optimizer, schedule = make_optimizer(
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
        losses.append(step(loss, tower, optimizer, schedule))
    tower.eval()
    return losses
