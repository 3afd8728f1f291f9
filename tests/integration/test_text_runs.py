"""A fit in processes of its own: two give one's loss curve, and a killed one goes on to the same numbers."""

import numpy as np
import pytest

from features.adapters import load
from tests.acceptance.text_runs import DATA, Runs
from tests.tiny_encoder import write_tiny_encoder

STEPS = 12


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    words = " ".join(load(DATA, folder).items["title"]).lower().split()
    made = Runs(folder, STEPS, write_tiny_encoder(folder / "encoder", words))
    made.run("alone")
    return made


def test_two_processes_give_the_loss_curve_of_one_with_the_same_batch(runs: Runs) -> None:
    together = runs.run("together", processes=2)
    assert together.shape == (STEPS,)
    assert runs.apart(runs.losses("alone"), together) < 1e-3


def test_a_run_killed_by_signal_9_goes_on_to_the_same_numbers(runs: Runs) -> None:
    losses = runs.killed_and_resumed(kill_at=8)
    np.testing.assert_array_equal(losses, runs.losses("alone"))
    assert runs.vectors_apart("alone", "resumed") == 0.0
