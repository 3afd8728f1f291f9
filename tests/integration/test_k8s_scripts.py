"""The scripts that pods run before our programs do what the manifests say, over a real bundle."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.bundle import promote, serving_path
from services.common.towers import TowerModels
from tests.conftest import REPOSITORY_ROOT
from tests.tiny_shop import write_shop_bundle
from tests.waiting import wait_until

K8S = REPOSITORY_ROOT / "k8s"
WAIT, POINT_AT, BUILD = (K8S / path for path in (
    "base/wait_for_bundle.py", "overlays/canary/point_at.py", "components/gpu/build_models.py"
))  # fmt: skip


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    write_shop_bundle(tmp_path / "bundles", seed=1)
    return tmp_path / "bundles"


def run(script: Path, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | variables, timeout=60)


def test_a_pod_waits_for_the_first_bundle_and_then_goes_on(bundles: Path) -> None:
    version = serving_path(bundles).name
    (bundles / "serving").unlink()
    with subprocess.Popen([sys.executable, str(WAIT), str(bundles)], stdout=subprocess.PIPE, text=True) as waiting:
        try:
            assert waiting.stdout is not None
            assert waiting.stdout.readline().startswith("waiting: ")
            promote(bundles, version, "test", datetime.now(UTC))
            assert waiting.stdout.readline() == f"verified: {version}\n"
            wait_until(lambda: waiting.poll() == 0, 10.0)
        finally:
            waiting.kill()


def test_a_canary_points_at_the_bundle_that_it_is_told(bundles: Path, tmp_path: Path) -> None:
    version, canary = serving_path(bundles).name, tmp_path / "canary"
    canary.mkdir()
    assert run(POINT_AT, bundles, canary, version).returncode == 0
    assert serving_path(canary).name == version
    assert serving_path(canary).resolve() == (bundles / version).resolve()
    damaged = run(POINT_AT, bundles, canary, "no-such-bundle")
    assert damaged.returncode != 0
    assert "no-such-bundle" in damaged.stderr


def test_the_gpus_models_are_those_of_the_serving_bundle_and_of_the_canarys(bundles: Path, tmp_path: Path) -> None:
    venv = tmp_path / "triton"
    package = venv / "lib/python3.11/site-packages/tokenizers"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    canary, out = serving_path(bundles).name, tmp_path / "models/repository"
    serving = write_shop_bundle(bundles, seed=2).version
    told = {"AISLE_SHADOW_BUNDLE": canary, "AISLE_TRITON_VENV": str(venv)}
    done = run(BUILD, bundles, out, "once", tmp_path / "packages", **told)
    assert done.returncode == 0, done.stderr
    towers = [TowerModels.of_version(version) for version in (canary, serving)]
    assert {name for pair in towers for name in (pair.text, pair.interest)} <= {path.name for path in out.iterdir()}
    assert (tmp_path / "packages/tokenizers/__init__.py").exists()
