"""An interrupted run ends with the very numbers of one that was not; another run's state is not read."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from training.loop import Surroundings, make_optimizer, run_steps
from training.processes import Processes
from training.resume import StepCheckpoints

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 12


class _KilledError(Exception):
    """Stands for the kill."""


class Scalars:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.kept: list[tuple[int, dict[str, float]]] = []

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self.kept.append((step, dict(values)))

    def close(self) -> None:
        pass


def fit(checkpoints: StepCheckpoints | None, killed_at: int | None = None) -> tuple[list[float], dict[str, Tensor]]:
    """Fit a small network with dropout to random numbers; losses and weights."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    optimizer, schedule = make_optimizer([{"params": list(module.parameters()), "lr": 0.05}], 0.01, STEPS, 0.1)

    def loss(step: int) -> Tensor:
        if step == killed_at:
            raise _KilledError
        sample = torch.from_numpy(rng.standard_normal((16, 4))).float()
        error: Tensor = module(sample).squeeze() - sample.sum(dim=1)
        return error.square().mean()

    around = Surroundings(checkpoints=checkpoints)
    return run_steps(loss, module, optimizer, schedule, STEPS, "test", rng, around), module.state_dict()


@pytest.mark.parametrize("killed_at", [0, 3, 7, STEPS - 1])
def test_a_run_that_was_killed_and_goes_on_gives_the_numbers_of_one_that_was_not(
    tmp_path: Path, killed_at: int
) -> None:
    expected, weights = fit(None)
    with pytest.raises(_KilledError):
        fit(StepCheckpoints(tmp_path, every=3, key="run"), killed_at)
    losses, found = fit(StepCheckpoints(tmp_path, every=3, key="run"))
    assert losses == expected
    for name, value in weights.items():
        assert torch.equal(found[name], value), name


def test_a_finished_run_is_read_back_without_a_step(tmp_path: Path) -> None:
    losses, weights = fit(StepCheckpoints(tmp_path, every=5, key="run"))
    again, found = fit(StepCheckpoints(tmp_path, every=5, key="run"), killed_at=0)
    assert again == losses
    assert all(torch.equal(found[name], value) for name, value in weights.items())


def test_the_checkpoint_of_another_run_is_not_read(tmp_path: Path) -> None:
    fit(StepCheckpoints(tmp_path, every=5, key="run"))
    with pytest.raises(_KilledError):
        fit(StepCheckpoints(tmp_path, every=5, key="another seed"), killed_at=0)


def test_a_checkpoint_that_was_being_written_is_passed_over_and_only_the_newest_stays(tmp_path: Path) -> None:
    expected, _ = fit(None)
    with pytest.raises(_KilledError):
        fit(StepCheckpoints(tmp_path, every=2, key="run"), killed_at=7)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000006"]
    (tmp_path / "step-00000008.part").mkdir()
    assert fit(StepCheckpoints(tmp_path, every=2, key="run"))[0] == expected
    assert not any(path.suffix in {".pickle", ".pt"} for path in tmp_path.rglob("*"))
    StepCheckpoints(tmp_path, every=2, key="run").clear()
    assert not tmp_path.exists()


def test_every_step_s_loss_and_rate_are_tracked() -> None:
    tracker = Scalars()
    module = nn.Linear(1, 1)
    optimizer, schedule = make_optimizer([{"params": list(module.parameters()), "lr": 0.1}], 0.0, 4, 0.5)
    around = Surroundings(Processes(), tracker)
    losses = run_steps(
        lambda _: module(torch.ones(1, 1)).square().mean(),
        module,
        optimizer,
        schedule,
        4,
        "stage",
        np.random.default_rng(0),
        around,
    )
    assert [step for step, _ in tracker.kept] == [0, 1, 2, 3]
    assert [values["stage/loss"] for _, values in tracker.kept] == losses
    assert all(0.0 <= values["stage/rate"] <= 0.1 for _, values in tracker.kept)


def test_a_batch_that_does_not_divide_among_processes_is_refused() -> None:
    processes = Processes()
    assert (processes.count, processes.is_first, processes.share(6)) == (1, True, slice(0, 6))
    processes.count, processes.rank = 4, 3
    assert processes.share(8) == slice(6, 8)
    with pytest.raises(ValueError, match="a batch of 6 does not divide among 4 processes; change batch_size"):
        processes.share(6)
