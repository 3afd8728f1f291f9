"""The command that says which bundle serves."""

import json
from pathlib import Path

import pytest

from features.bundle import serving_path
from features.promote import main
from tests.tiny_shop import write_shop_bundle


def test_a_version_is_promoted_and_gone_back_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (write_shop_bundle(tmp_path, seed=seed).version for seed in (1, 2))
    place = ["--bundles", str(tmp_path)]
    main([first, *place, "--reason", "the canary did badly"])
    assert serving_path(tmp_path).name == first
    assert json.loads((tmp_path / "serving.log").read_text().splitlines()[-1])["reason"] == "the canary did badly"
    main(["--back", *place])
    assert serving_path(tmp_path).name == second
    main(place)
    marks = {line[2:].split()[0]: line[0] for line in capsys.readouterr().out.splitlines()[-2:]}
    assert marks == {first: " ", second: "*"}


def test_what_cannot_serve_is_refused_in_words(tmp_path: Path) -> None:
    version = write_shop_bundle(tmp_path, seed=1).version
    with pytest.raises(SystemExit, match="third"):
        main(["third", "--bundles", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"serving\.log: nothing served before"):
        main(["--back", "--bundles", str(tmp_path)])
    assert serving_path(tmp_path).name == version
