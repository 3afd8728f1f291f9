"""The fitting loop that all objectives share: optimiser with schedule, one step, and many of them with a progress bar,
scalars, checkpoints and resume.

Knows nothing of what is fitted: a loss is a function of the step's number.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from training.processes import Processes
from training.progress import track
from training.resume import RunState, StepCheckpoints
from training.tracking import NoTracker, Tracker


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a fit runs among: processes, where scalars go, where checkpoints lie."""

    processes: Processes = field(default_factory=Processes)
    tracker: Tracker = field(default_factory=NoTracker)
    checkpoints: StepCheckpoints | None = None
    """None: nothing is kept, and a killed run starts afresh."""

    def close(self) -> None:
        """The run is over: nothing is left to track or to go on from."""
        self.tracker.close()
        if self.checkpoints:
            self.checkpoints.clear()

    def part(self, name: str) -> "Surroundings":
        """The same for one part of a run, with checkpoints of its own."""
        kept = self.checkpoints.part(name) if self.checkpoints else None
        return Surroundings(self.processes, self.tracker, kept)


def make_optimizer(
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


def step(
    loss: torch.Tensor,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    processes: Processes | None = None,
) -> float:
    """One update from a scalar loss, gradients averaged over processes and clipped to length 1.

    Raises:
        FloatingPointError: if the loss is not finite.
    """
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the loss became {loss.item()}; lower the learning rate")
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    if processes is not None:
        processes.average_gradients(module.parameters())
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    return float(loss.item())


def run_steps(
    loss_of_step: Callable[[int], torch.Tensor],
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    steps: int,
    what: str,
    rng: np.random.Generator,
    around: Surroundings,
    after_step: Callable[[int], None] | None = None,
) -> list[float]:
    """Take `steps` steps, or those that an interrupted run left.

    Args:
        loss_of_step: Step number from 0 → scalar loss; every random draw in it comes from `rng` or torch's global one.
        module: What learns; put into training mode meanwhile.
        optimizer: Over the module's parameters.
        schedule: Of the optimiser.
        steps: In all, those taken before included.
        what: For the progress bar and the scalars' names.
        rng: Its state is kept with a checkpoint.
        around: Processes, tracker and checkpoints.
        after_step: Called with the step's number after each update.

    Returns:
        The loss of every step, those before an interruption included.
    """
    state = RunState(module, optimizer, schedule, rng)
    losses = around.checkpoints.restore(state) if around.checkpoints else []
    module.train()
    for number in track(range(len(losses), steps), what):
        losses.append(step(loss_of_step(number), module, optimizer, schedule, around.processes))
        if after_step is not None:
            after_step(number)
        if around.processes.is_first:
            around.tracker.scalars(
                number, {f"{what}/loss": losses[-1], f"{what}/rate": float(schedule.get_last_lr()[0])}
            )
            if around.checkpoints and around.checkpoints.is_due(number + 1, steps):
                around.checkpoints.save(state, losses)
    module.eval()
    return losses
