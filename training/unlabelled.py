"""The stage before stage A for a shop with little data: the catalogue's texts alone, no events.

A text is read twice under different dropout; the two vectors attract, the batch's other texts repel (unsupervised
SimCSE: Gao et al. 2021, EMNLP). It spreads the shop's texts apart where the encoder holds them all alike.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from training.activations import FrozenActivations, encoded_texts
from training.config import TextTowerConfig
from training.losses import in_batch_softmax
from training.processes import Processes
from training.text_tower import TextTower

_TEMPERATURE = 0.05
"""The paper's."""


def unlabelled_loss(
    tower: TextTower,
    activations: FrozenActivations,
    config: TextTowerConfig,
    rng: np.random.Generator,
    processes: Processes,
) -> Callable[[int], Tensor]:
    """The loss of a step: step number → scalar. The tower's dropout must be above 0, or both readings are the same."""
    size = min(config.batch_size, len(activations) // processes.count * processes.count)
    share = processes.share(size)

    def loss(_: int) -> Tensor:
        which = torch.from_numpy(rng.choice(len(activations), size, replace=False)[share])
        with processes.autocast(config.precision):
            readings = [encoded_texts(tower, activations, which) for _ in range(2)]
        first, second = (processes.gathered(reading) for reading in readings)
        return in_batch_softmax(first, second, _TEMPERATURE)

    return loss
