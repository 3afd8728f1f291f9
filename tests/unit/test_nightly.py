"""What the nightly run asks of the other commands. They are tested where they live."""

import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from features.bundle import MANIFEST
from features.synthetic import SyntheticConfig, generate
from training import nightly, train

DATA = "synthetic:user_count=20,item_count=40,weeks=2"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The words of each command, in order; none is run."""
    commands: list[list[str]] = []
    monkeypatch.setattr(train, "main", lambda words: commands.append(["training.train", *words]))
    monkeypatch.setattr(nightly, "_run", lambda *words: commands.append([*words]))
    return commands


def run(folder: Path, data: str, *words: str) -> None:
    places = ["--bundles", str(folder / "bundles"), "--cache", str(folder / "data")]
    nightly.main(["--data", data, *places, "--checkpoints", str(folder / "checkpoints"), *words])


def test_everything_up_to_the_last_event_is_trained_on_judged_and_then_materialised(
    tmp_path: Path, asked: list[list[str]]
) -> None:
    told = ["--judge-weeks", "2", "--judge-all-events", "--gate-report", "gate.json"]
    run(tmp_path, DATA, *told, "--redis", "127.0.0.1:1")
    fit, fill = asked
    last = generate(SyntheticConfig(user_count=20, item_count=40, weeks=2)).dataset.events["event_time"].max()
    assert fit[0] == "training.train"
    assert isinstance(last, datetime)
    assert datetime.fromisoformat(fit[fit.index("--cutoff") + 1]) == last + timedelta(microseconds=1)
    assert fit[fit.index("--promote") + 1] == "gate"
    assert fit[fit.index("--judge-weeks") + 1] == "2"
    assert "--judge-all-events" in fit
    assert fit[fit.index("--gate-report") + 1] == "gate.json"
    assert "--warm-start" not in fit  # nothing serves yet
    assert fill[0] == "features.materialise"
    assert fill[fill.index("--redis") + 1] == "127.0.0.1:1"


def test_a_refusal_leaves_the_online_store_as_it_was(
    tmp_path: Path, asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_words: list[str]) -> None:
        raise SystemExit("refused; not promoted")

    monkeypatch.setattr(train, "main", refuse)
    with pytest.raises(SystemExit, match="refused"):
        run(tmp_path, DATA)
    assert asked == []


def test_old_bundles_make_room_with_their_weights_before_anything_is_fitted(
    tmp_path: Path, asked: list[list[str]]
) -> None:
    for age, version in enumerate(("new", "middle", "old")):
        for folder in ("bundles", "checkpoints"):
            (tmp_path / folder / version).mkdir(parents=True)
        manifest = tmp_path / "bundles" / version / MANIFEST
        manifest.write_text("{}")
        os.utime(manifest, (1e9 - age, 1e9 - age))
    run(tmp_path, DATA, "--keep", "2")
    assert len(asked) == 2
    for folder in ("bundles", "checkpoints"):
        assert {path.name for path in (tmp_path / folder).iterdir()} == {"new", "middle"}


def test_a_bundle_for_a_canary_is_neither_promoted_nor_materialised(tmp_path: Path, asked: list[list[str]]) -> None:
    run(tmp_path, DATA, "--promote", "never")
    [fit] = asked
    assert fit[fit.index("--promote") + 1] == "never"
