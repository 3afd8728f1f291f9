"""Two generations of towers are loaded, the rest is gone from the server and from the disk."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features import bundle as files
from features.bundle import BundleError, promote
from services.common.towers import TowerModels
from services.triton.control import ModelControl, ModelControlError
from services.triton.repository import build_repository, prune_repository
from services.triton.served import ServedTowers
from tests.tiny_bundle import write_tiny_towers

VERSIONS = ("v1", "v2", "v3", "v2.1")


class RecordingControl(ModelControl):
    """A server that does as it is told, but for models in `broken`."""

    def __init__(self) -> None:
        super().__init__("nowhere:0")
        self.loaded: set[str] = set()
        self.broken: set[str] = set()

    def load(self, model: str) -> None:
        if model in self.broken:
            raise ModelControlError(f"load {model}: no")
        self.loaded.add(model)

    def unload(self, model: str) -> None:
        self.loaded.discard(model)


def models(*versions: str) -> set[str]:
    names = [TowerModels.of_version(version) for version in versions]
    return {name for pair in names for name in (pair.text, pair.interest)}


@pytest.fixture(scope="module")
def all_bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles with the tiny towers; their other files are there, and that is all."""
    folder = tmp_path_factory.mktemp("bundles")
    for version in VERSIONS:
        with files.write_bundle(folder, version, {"as_of": "2017-12-01T00:00:00+00:00"}) as draft:
            write_tiny_towers(draft, seed=1)
            for name in files.FILES:
                if not (draft / name).exists():
                    (draft / name).write_text(name)
    promote(folder, "v1", "a test", datetime(2026, 1, 1, tzinfo=UTC))
    return folder


@pytest.fixture
def bundles(all_bundles: Path, tmp_path: Path) -> Path:
    return shutil.copytree(all_bundles, tmp_path / "bundles")


@pytest.fixture
def control() -> RecordingControl:
    return RecordingControl()


def served(bundles: Path, control: RecordingControl, shadow: str | None = None) -> ServedTowers:
    """v1 serves."""
    repository = bundles.parent / "repository"
    control.loaded.update(build_repository(bundles / "v1", "cpu", repository))
    return ServedTowers(control, repository, "v1", shadow)


def on_disk(bundles: Path) -> set[str]:
    return {path.name for path in (bundles.parent / "repository").iterdir()}


def test_the_present_and_the_previous_towers_stay_and_older_ones_go(bundles: Path, control: RecordingControl) -> None:
    towers = served(bundles, control)
    before = "v1"
    for version in ("v2", "v3", "v2", "v1"):
        towers.serve(bundles / version)
        assert towers.versions == (version, before)
        assert control.loaded == on_disk(bundles) == models(version, before)
        before = version


def test_a_bundle_that_serves_already_is_left_alone(bundles: Path, control: RecordingControl) -> None:
    towers = served(bundles, control)
    towers.serve(bundles / "v2")
    towers.serve(bundles / "v2")
    assert towers.versions == ("v2", "v1")


def test_a_damaged_bundle_changes_nothing(bundles: Path, control: RecordingControl) -> None:
    towers = served(bundles, control)
    (bundles / "v2" / files.TEXT_TOWER).write_bytes(b"torn")
    with pytest.raises(BundleError, match="sha256 differs"):
        towers.serve(bundles / "v2")
    assert towers.versions == ("v1",)
    assert control.loaded == on_disk(bundles) == models("v1")


def test_towers_that_do_not_load_leave_those_that_serve(bundles: Path, control: RecordingControl) -> None:
    towers = served(bundles, control)
    control.broken = {TowerModels.of_version("v2").interest}
    with pytest.raises(ModelControlError):
        towers.serve(bundles / "v2")
    assert towers.versions == ("v1",)
    assert models("v1") <= control.loaded


def test_a_shadows_towers_outlive_every_generation(bundles: Path, control: RecordingControl) -> None:
    towers = served(bundles, control, shadow="v2.1")
    towers.load(bundles / "v2.1")
    for version in ("v2", "v3"):
        towers.serve(bundles / version)
    assert towers.versions == ("v3", "v2")
    assert control.loaded == on_disk(bundles) == models("v3", "v2", "v2.1")


def test_what_an_earlier_run_left_is_deleted_and_what_is_not_ours_stays(
    bundles: Path, control: RecordingControl
) -> None:
    repository = bundles.parent / "repository"
    build_repository(bundles / "v3", "cpu", repository)
    (repository / "somebody_elses").mkdir()
    served(bundles, control)
    assert on_disk(bundles) == models("v1") | {"somebody_elses"}


def test_a_version_whose_name_ends_like_a_kept_one_is_not_kept(bundles: Path) -> None:
    repository = bundles.parent / "repository"
    for version in ("v2", "v2.1"):
        build_repository(bundles / version, "cpu", repository)
    gone = prune_repository(repository, ["v2"], lambda _: None)
    assert set(gone) == models("v2.1")


def test_the_gpu_targets_parts_are_pruned_alike(bundles: Path) -> None:
    repository = bundles.parent / "repository"
    for version in ("v1", "v2"):
        build_repository(bundles / version, "gpu", repository)
    assert len(prune_repository(repository, ["v2"], lambda _: None)) == 4
    assert all(name.endswith("_v2") for name in on_disk(bundles))
