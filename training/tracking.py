"""Where a run's scalars go: TensorBoard, Weights & Biases or nowhere.

The only file that knows either. Weights & Biases is an extra and imported when asked for by name.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from torch.utils.tensorboard import SummaryWriter

TrackerName = Literal["tensorboard", "wandb", "none"]


class Tracker(Protocol):
    """Takes scalars as they come."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write named values of one step."""

    def close(self) -> None:
        """Write out what is still held back."""


class NoTracker:
    """Keeps nothing."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Forget them."""

    def close(self) -> None:
        """Nothing is held back."""


class TensorBoardTracker:
    """Event files that `tensorboard --logdir` reads."""

    def __init__(self, folder: Path) -> None:
        """Open a writer in `folder`, which is made if it is not there."""
        self._writer = SummaryWriter(str(folder))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point per curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()


class WandbTracker:
    """A run at Weights & Biases, or an offline one under the folder (WANDB_MODE=offline)."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Start a run named as the folder.

        Raises:
            ModuleNotFoundError: if the wandb extra is not installed.
        """
        wandb = importlib.import_module("wandb")
        self._run: Any = wandb.init(project="aisle", name=folder.name, dir=str(folder), config=dict(config))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point per curve; every curve counts its own steps."""
        self._run.log({**values, **{f"{name}/step": step for name in values}})

    def close(self) -> None:
        """End the run."""
        self._run.finish()


def open_tracker(name: TrackerName, folder: Path, config: Mapping[str, Any]) -> Tracker:
    """The tracker of that name.

    Args:
        name: Which one.
        folder: Where it keeps its files, `build/runs/<version>`.
        config: What the run was told, for the page that shows it.

    Raises:
        ValueError: for a name that is none of the three.
        ModuleNotFoundError: if it is not installed.
    """
    if name == "none":
        return NoTracker()
    folder.mkdir(parents=True, exist_ok=True)
    if name == "tensorboard":
        return TensorBoardTracker(folder)
    if name == "wandb":
        return WandbTracker(folder, config)
    raise ValueError(f"tracker must be tensorboard, wandb or none, got {name}")
