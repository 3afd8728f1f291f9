"""Scalars go where they were sent."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from training.tracking import open_tracker


def test_tensorboard_has_every_point(tmp_path: Path) -> None:
    tracker = open_tracker("tensorboard", tmp_path / "runs" / "shop-w49", {})
    for step in range(3):
        tracker.scalars(step, {"stage A: text/loss": 1.0 / (step + 1)})
    tracker.close()
    read = EventAccumulator(str(tmp_path / "runs" / "shop-w49"))
    read.Reload()
    points = read.Scalars("stage A: text/loss")
    assert [(point.step, round(point.value, 4)) for point in points] == [(0, 1.0), (1, 0.5), (2, 0.3333)]


def test_wandb_is_started_with_the_run_s_name_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[dict[str, float]] = []
    started: dict[str, Any] = {}
    run = SimpleNamespace(log=logged.append, finish=lambda: started.update(finished=True))

    def init(**settings: Any) -> SimpleNamespace:
        started.update(settings)
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    tracker = open_tracker("wandb", tmp_path / "shop-w49", {"seed": 0})
    tracker.scalars(2, {"loss": 0.5})
    tracker.close()
    assert (started["name"], started["config"], started["finished"]) == ("shop-w49", {"seed": 0}, True)
    assert logged == [{"loss": 0.5, "loss/step": 2}]


def test_none_keeps_nothing_and_other_names_are_refused(tmp_path: Path) -> None:
    tracker = open_tracker("none", tmp_path / "run", {})
    tracker.scalars(0, {"loss": 1.0})
    tracker.close()
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="tracker must be tensorboard, wandb or none, got mlflow"):
        open_tracker("mlflow", tmp_path / "run", {})  # type: ignore[arg-type]
