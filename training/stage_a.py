"""Stage A: the text tower learns which items keep company in this shop.

Two objectives. `company`: give each text the vector that training.company fitted for it. `pairs`: items of one session
attract through the encoder, the batch's other texts repel; for data sets where texts are read often enough.

Same seed, same numbers: every random draw comes from one NumPy generator and torch's seeded global one, on the CPU's
deterministic kernels. In several processes each encodes its share of every batch (training.processes).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from training.activations import FrozenActivations, pooled_catalogue, principal_projection, set_projection
from training.company import fit_company
from training.config import TextTowerConfig
from training.dataset import Sequences, Texts
from training.loop import Surroundings, make_optimizer, run_steps
from training.objectives import pairs_loss, ridge_projection, taught_loss, text_weights
from training.pairs import Impressions
from training.peft_tower import add_adapters, merge_adapters
from training.text_tower import TextTower, set_dropout
from training.unlabelled import unlabelled_loss


def fit_text_tower(
    tower: TextTower,
    activations: FrozenActivations,
    texts: Texts,
    sequences: Sequences,
    config: TextTowerConfig,
    rng: np.random.Generator,
    around: Surroundings | None = None,
    impressions: Impressions | None = None,
    pooled: Tensor | None = None,
    held_out: npt.NDArray[np.bool_] | None = None,
) -> list[float]:
    """Adapt `tower` in place; adapters are merged into it at the end.

    Args:
        tower: The zero-shot encoder with its starting projection.
        activations: Of the distinct texts.
        texts: Distinct texts and which items have them.
        sequences: What shoppers did.
        config: What to do.
        rng: Every draw comes from it.
        around: Processes, tracker and checkpoints; None: one process, nothing kept.
        impressions: What was shown and let be, as hard negatives.
        pooled: float32 [texts, H], what the tower makes of the texts before any step, where that is known already.
        held_out: bool [texts], which texts are not taught (`company` only).

    Returns:
        The loss of every step that went through the encoder.
    """
    around = around or Surroundings()
    tower.to(around.processes.device)
    losses: list[float] = []
    if config.unlabelled_steps:
        set_dropout(tower.learning, max(config.dropout, 0.1))
        draw = unlabelled_loss(tower, activations, config, rng, around.processes)
        losses += _fit(tower, draw, config, config.unlabelled_steps, "unlabelled", rng, around)
        pooled = pooled_catalogue(tower, activations)
        set_projection(tower, *principal_projection(pooled))
    set_dropout(tower.learning, config.dropout)
    if config.steps:
        if config.objective == "company":
            pooled = pooled_catalogue(tower, activations) if pooled is None else pooled
            taught = fit_company(pooled, texts, sequences, config.company, rng, around.part("company"), impressions)
            weights = text_weights(texts, sequences.counts, config.popularity, held_out)
            set_projection(tower, *ridge_projection(pooled, taught, weights))
            loss = taught_loss(tower, activations, taught, weights, config, rng, around.processes)
        else:
            loss = pairs_loss(tower, activations, texts, sequences, config, rng, around.processes)
        losses += _fit(tower, loss, config, config.steps, "text", rng, around)
    tower.cpu()
    return losses


def _fit(
    tower: TextTower,
    loss_of_step: Callable[[int], Tensor],
    config: TextTowerConfig,
    steps: int,
    name: str,
    rng: np.random.Generator,
    around: Surroundings,
) -> list[float]:
    """Run `steps` steps with the tuning that `config` asks for, and leave a plain tower."""
    budget = None if config.tuning == "full" else add_adapters(tower, config, steps)
    module = nn.ModuleList([tower] if budget is None else [tower, budget])
    speed = 1.0 if config.tuning == "full" else config.adapter_speed
    inside = [value for value in tower.learning.parameters() if value.requires_grad]
    optimizer, schedule = make_optimizer(
        [
            {"params": inside, "lr": config.learning_rate * speed},
            {"params": list(tower.projection.parameters()), "lr": config.learning_rate},
        ],
        config.weight_decay,
        steps,
        config.warmup_share,
    )

    def loss(step: int) -> Tensor:
        return loss_of_step(step) if budget is None else loss_of_step(step) + budget.penalty()

    after = None if budget is None else budget.update
    what = f"stage A: {name}"
    losses = run_steps(loss, module, optimizer, schedule, steps, what, rng, around.part(name), after)
    merge_adapters(tower)
    tower.learning.requires_grad_(True)
    return losses
