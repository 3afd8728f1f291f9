"""`python -m loadtest` in small: a good build passes, a planted fault does not, a knee is found, errors are told."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.__main__ import main
from loadtest.recording import read_run
from loadtest.visit import METHODS
from services.stack import Stack, running_stack
from tests.acceptance.load_runs import plant
from tests.integration.load_shop import write_load_shop
from tests.known_server import known_server

SECONDS = 6
VISITS_PER_SECOND = 4
LEVELS = """
confidence = 0.95
beyond = 10
error_share = 0.01
throughput_share = 0.8
recovery_s = 60.0
latency = {}
degraded = {}
regression = {}
generator = { cpu_share = 1.0, late_p99_ms = 10000, waiting_share = 1.0 }
"""
"""No waiting time is judged: the machine that tests run on is anybody's guess."""

NO_BUNDLE = ("--bundles", "/nowhere", "--data", "none", "--journeys", "home")
"""A run that needs nothing but a target: whether this checkout has a bundle of its own makes no difference to it."""


def load_test(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadtest", *map(str, words)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("load")


@pytest.fixture(scope="module")
def own_stack(folder: Path, triton_venv: Path) -> Iterator[Stack]:
    """Of this module alone, since it is written to."""
    with running_stack(write_load_shop(folder, triton_venv)) as stack:
        yield stack


def visit(folder: Path, name: str, *words: object) -> subprocess.CompletedProcess[str]:
    """A run against what the folder's stack.json lists."""
    levels = folder / "levels.toml"
    levels.write_text(LEVELS)
    where = ["--build", folder, "--bundles", folder / "bundles", "--data", f"parquet:{folder / 'shop'}"]
    rate = ["--rate-seconds", VISITS_PER_SECOND, SECONDS, "--timeout", 10]
    return load_test(*where, *rate, "--levels", levels, "--out", folder / name, *words)


def test_the_gate_lets_a_good_build_pass_and_stops_one_that_fails_calls(own_stack: Stack, folder: Path) -> None:
    good = visit(folder, "good", "--fault", "stall:triton@3+2", "--accept")
    assert good.returncode == 0, good.stdout
    assert "accepted: " in good.stdout
    calls, facts, marks = read_run(folder / "good")
    assert set(calls["code"]) == {"OK"}
    assert facts.target == own_stack.addresses["ranking"]
    assert [mark.what for mark in marks] == ["stall triton"]
    assert marks[0].until_s - marks[0].at_s == pytest.approx(2.0, abs=1.0)
    assert "stall triton" in (folder / "good" / "report.html").read_text()

    plant(own_stack, "errors", 0.2)
    bad = visit(folder, "bad")
    assert bad.returncode == 1, bad.stdout
    causes = json.loads((folder / "bad" / "verdict.json").read_text())["causes"]
    assert [(cause["check"], cause["method"] in METHODS) for cause in causes] == [("errors", True)]
    assert "INTERNAL" in causes[0]["text"]
    assert f"cause: {causes[0]['text']}" in bad.stdout


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
