"""`python -m loadtest` in small: a knee is found, errors are told. (What it says of builds: test_load_journeys.)"""

import json
import signal
from pathlib import Path

import pytest

from loadtest.__main__ import main
from tests.integration.load_shop import load_test
from tests.known_server import known_server

NO_BUNDLE = ("--bundles", "/nowhere", "--data", "none", "--journeys", "home")
"""A run that needs nothing but a target: whether this checkout has a bundle of its own makes no difference to it."""


def test_the_knee_of_a_server_of_known_capacity_is_found(tmp_path: Path) -> None:
    with known_server(1, 0.01, tmp_path / "log") as address:
        words = ["--first-rate", 60, "--step-seconds", 4, "--resolution", 1.5, *NO_BUNDLE]
        found = load_test("--target", address, "--profile", "capacity", *words, "--out", tmp_path / "knee")
    assert found.returncode == 0, found.stdout
    knee = json.loads((tmp_path / "knee" / "capacity.json").read_text())
    assert 100 / 1.6 < knee["rate"] < 100 * 1.1
    assert knee["unhealthy_rate"] > knee["rate"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "127.0.0.1:1", "--fault", "murder:triton@3"], "'murder' is none of kill, stall, swap"),
        (["--target", "127.0.0.1:1", "--fault", "kill:triton@3"], "nothing is known of the target's processes"),
        (["--target", "127.0.0.1:1", "--environment", "moon"], "no service levels for environment 'moon'"),
        (["--build", "/nowhere"], "no --target, no --start-stack and no /nowhere/stack.json"),
        (["--target", "a:1", "--start-stack"], "not allowed with argument --target"),
        (["--target", "a:1", "--profile", "sprint"], "invalid choice: 'sprint'"),
    ],
)
def test_wrong_usage_is_told(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process is pytest's
    with pytest.raises(SystemExit) as ended:
        main([*words, *NO_BUNDLE, "--out", str(tmp_path / "run")])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_target_that_does_not_answer_says_nothing_about_a_build(tmp_path: Path) -> None:
    found = load_test("--target", "127.0.0.1:1", *NO_BUNDLE, "--rate-seconds", 1, 1, "--out", tmp_path / "run")
    assert found.returncode == 3, found.stdout
    assert "127.0.0.1:1: UNAVAILABLE" in found.stdout
