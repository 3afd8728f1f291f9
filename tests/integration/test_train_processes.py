"""A run in several processes, as torchrun starts them, leaves one bundle, promoted once."""

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from features.bundle import open_bundle, serving_path
from training import train

DATA = "synthetic:seed=3,user_count=120,item_count=80,weeks=12"


def places(folder: Path) -> list[str]:
    return [f"--{name}={folder / name}" for name in ("bundles", "checkpoints", "cache", "runs")]


def test_two_processes_write_one_bundle(tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    told = ["--data", DATA, "--recipe", "small", "--version", "together", *places(tmp_path)]
    done = subprocess.run(
        [*launcher, "-m", "tests.integration.tiny_training", *told],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert open_bundle(serving_path(tmp_path / "bundles")).version == "together"
    assert len((tmp_path / "bundles/serving.log").read_text().splitlines()) == 1


@pytest.mark.parametrize("options", [[], ["--version", "later", "--warm-start", "bundles/any"]])
def test_what_several_processes_cannot_do_is_refused(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "Processes", lambda cpu: Mock(count=2, is_first=cpu))
    with pytest.raises(SystemExit, match="several processes need a --version"):
        train.main(["--data", DATA, *places(tmp_path), *options])


def test_a_gpu_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"--device gpu: torch .* finds no GPU on this machine"):
        train.main(["--data", DATA, *places(tmp_path), "--device", "gpu"])


def test_a_bundle_that_is_not_to_be_promoted_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted, promoted = Mock(), Mock()
    monkeypatch.setattr(train, "train", fitted)
    monkeypatch.setattr(train, "promote", promoted)
    train.main(["--data", DATA, "--recipe", "small", *places(tmp_path), "--promote", "never"])
    fitted.assert_called_once()
    promoted.assert_not_called()
