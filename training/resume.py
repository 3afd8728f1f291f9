"""Checkpoints of a fit under way, so that a killed run goes on where it was and ends with the same numbers.

Choices:
- Everything that moves is kept: parameters and buffers that the fit changes, the optimiser's moments, its schedule, the
  states of NumPy's and torch's generators, and the losses so far.
- Tensors go to safetensors, the rest to JSON: no pickles. A checkpoint is a folder that is renamed into place when it
  is complete, so that a kill at any moment leaves the one before it.
- A checkpoint belongs to one run, told by its key (settings, seed, data); one of another key is not read.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

_TENSORS, _FACTS = "state.safetensors", "state.json"


@dataclass(frozen=True, slots=True)
class RunState:
    """Everything of a fit that moves from step to step."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    rng: np.random.Generator

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name; what the fit cannot change is left out."""
        found = {f"module/{name}": value for name, value in _moving(self.module).items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            found |= {f"optimizer/{number}/{name}": torch.as_tensor(value) for name, value in moments.items()}
        return found | {f"rng/{name}": value for name, value in _torch_generators().items()}

    def facts(self) -> dict[str, Any]:
        """What is no tensor, as JSON can hold it."""
        return {
            "groups": self.optimizer.state_dict()["param_groups"],
            "schedule": {k: v for k, v in self.schedule.state_dict().items() if k != "lr_lambdas"},
            "rng": self.rng.bit_generator.state,
        }

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Become what `tensors` and `facts` say.

        Raises:
            KeyError: if a tensor of the module is not among them.
        """
        with torch.no_grad():
            for name, value in _moving(self.module).items():
                value.copy_(tensors[f"module/{name}"])
        moments: dict[int, dict[str, Tensor]] = {}
        for key in (key for key in tensors if key.startswith("optimizer/")):
            _, number, name = key.split("/")
            moments.setdefault(int(number), {})[name] = tensors[key]
        self.optimizer.load_state_dict({"state": moments, "param_groups": facts["groups"]})
        self.schedule.load_state_dict({**self.schedule.state_dict(), **facts["schedule"]})
        self.rng.bit_generator.state = facts["rng"]
        torch.set_rng_state(tensors["rng/cpu"])
        if "rng/cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["rng/cuda"])


class StepCheckpoints:
    """A folder of checkpoints of one run, the newest kept."""

    def __init__(self, folder: Path, every: int, key: str) -> None:
        """Keep checkpoints in `folder`.

        Args:
            folder: Made when the first is written.
            every: Steps between two checkpoints.
            key: Says which run this is.
        """
        self._folder, self._every, self._key = folder, every, key

    def part(self, name: str) -> "StepCheckpoints":
        """A folder within for one part of the run."""
        return StepCheckpoints(self._folder / name, self._every, self._key)

    def is_due(self, done: int, steps: int) -> bool:
        """Whether a checkpoint belongs after `done` of `steps` steps; the last step always has one."""
        return done % self._every == 0 or done == steps

    def save(self, state: RunState, losses: list[float]) -> None:
        """Write a checkpoint, then drop older ones."""
        target = self._folder / f"step-{len(losses):08d}"
        growing = target.with_name(f"{target.name}.part")
        shutil.rmtree(growing, ignore_errors=True)
        growing.mkdir(parents=True)
        tensors = {name: value.detach().contiguous().clone() for name, value in state.tensors().items()}
        safetensors.torch.save_file(tensors, growing / _TENSORS)
        (growing / _FACTS).write_text(json.dumps({"key": self._key, "losses": losses, **state.facts()}))
        shutil.rmtree(target, ignore_errors=True)
        growing.rename(target)
        for old in self._complete()[:-1]:
            shutil.rmtree(old)

    def restore(self, state: RunState) -> list[float]:
        """Bring `state` to the newest checkpoint of this run; the losses up to it, none if there is no checkpoint."""
        for folder in reversed(self._complete()):
            facts = json.loads((folder / _FACTS).read_text())
            if facts["key"] != self._key:
                log.warning("%s is of another run and is not read", folder)
                return []
            state.load(safetensors.torch.load_file(folder / _TENSORS), facts)
            log.info("going on from %s", folder)
            losses: list[float] = facts["losses"]
            return losses
        return []

    def clear(self) -> None:
        """Remove all of them: the run is over."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _complete(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("step-*") if path.suffix != ".part")


def _moving(module: nn.Module) -> dict[str, Tensor]:
    """Parameters that learn, and buffers."""
    learning = {name: value for name, value in module.named_parameters() if value.requires_grad}
    return learning | dict(module.named_buffers())


def _torch_generators() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})
