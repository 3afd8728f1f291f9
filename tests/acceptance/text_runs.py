"""One small fit of stage A in a process of its own, for line 9: alone, in several processes, killed and resumed.

`python -m torch.distributed.run --nproc-per-node 2 -m tests.acceptance.text_runs …` is the run in two processes.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from features.adapters import load
from training import loop
from training.config import CompanyConfig, TextTowerConfig, TrainConfig
from training.dataset import item_texts, sequences
from training.loop import Surroundings
from training.processes import Processes
from training.resume import StepCheckpoints
from training.towers import fit_text, lay_foundation

DATA = "synthetic:seed=3,user_count=60,item_count=80"
_EVERY = 5


class Runs:
    """Runs whose losses and vectors are kept in one folder."""

    def __init__(self, folder: Path, steps: int, encoder: str) -> None:
        """Settings that all of them share."""
        self._folder, self._steps, self._encoder = folder, steps, encoder
        folder.mkdir(parents=True, exist_ok=True)

    def run(
        self,
        name: str,
        *,
        processes: int = 1,
        seed: int = 0,
        kill_at: int | None = None,
        objective: str = "pairs",
    ) -> np.ndarray:
        """Fit in a new process, or several; the losses of every step, of a killed run none.

        Raises:
            RuntimeError: if it ends otherwise than it should; the message ends with its last words.
        """
        out = self._folder / f"{name}.npz"
        out.unlink(missing_ok=True)
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [sys.executable, *(launcher if processes > 1 else []), "-m", "tests.acceptance.text_runs", str(out)]
        command += [
            "--steps",
            str(self._steps),
            "--seed",
            str(seed),
            "--encoder",
            self._encoder,
            "--objective",
            objective,
        ]
        command += [] if kill_at is None else ["--kill-at", str(kill_at)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != (0 if kill_at is None else -signal.SIGKILL):
            raise RuntimeError(f"{name}: exit status {done.returncode}: {done.stderr[-2000:]}")
        return np.zeros(0) if kill_at is not None else self.losses(name)

    def killed_and_resumed(self, kill_at: int) -> np.ndarray:
        """The losses of a run that was killed with signal 9 at a step and started again."""
        self.run("resumed", kill_at=kill_at)
        return self.run("resumed")

    def losses(self, name: str) -> np.ndarray:
        """The losses of every step of a run that was made before."""
        return self._read(name)["losses"]

    def apart(self, one: np.ndarray, other: np.ndarray) -> float:
        """Largest difference of two loss curves; infinite where their lengths differ."""
        return float(np.abs(one - other).max()) if one.shape == other.shape else float("inf")

    def vectors_apart(self, one: str, other: str) -> float:
        """Largest difference of two runs' vectors."""
        return float(np.abs(self._read(one)["vectors"] - self._read(other)["vectors"]).max())

    def _read(self, name: str) -> dict[str, np.ndarray]:
        with np.load(self._folder / f"{name}.npz", allow_pickle=False) as kept:
            return dict(kept)


def _config(steps: int, encoder: str, objective: Literal["company", "pairs"]) -> TextTowerConfig:
    """Pairs take their negatives from all processes; dropout is 0."""
    return TextTowerConfig(
        encoder=encoder,
        trained_layers=1,
        objective=objective,
        company=CompanyConfig(steps=steps, batch_size=16, uniform_negatives=32),
        precision="fp32",
        steps=steps,
        batch_size=16,
        hard_negatives=1,
    )


def _deadly(at: int) -> Callable[..., float]:
    """A step that ends its process by signal 9 once `at` have been taken."""
    taken, step = [0], loop.step

    def deadly(*arguments: object) -> float:
        if taken[0] == at:
            os.kill(os.getpid(), signal.SIGKILL)
        taken[0] += 1
        return step(*arguments)  # type: ignore[arg-type]

    return deadly


def main() -> None:
    """One fit; the first process writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--objective", choices=("company", "pairs"), required=True)
    parser.add_argument("--kill-at", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load(DATA, Path("build/data"))
    config = TrainConfig(text=_config(options.steps, options.encoder, options.objective))
    week = data.calendar.week_of(data.events["event_time"].max())  # type: ignore[arg-type]
    known = sequences(data, data.items, data.calendar.week_end(week))
    foundation = lay_foundation(item_texts(data.items), config)
    if options.kill_at is not None:
        loop.step = _deadly(options.kill_at)
    checkpoints = StepCheckpoints(options.out.with_suffix(""), _EVERY, f"seed {options.seed}")
    around = Surroundings(Processes(), checkpoints=checkpoints)
    fit = fit_text(foundation, known, config, options.seed, around)
    if around.processes.is_first:
        checkpoints.clear()
        np.savez(options.out, losses=np.array(fit.losses), vectors=fit.row_vectors)


if __name__ == "__main__":
    main()
