"""The nightly command: train on all but the newest week, be judged on it, serve or not."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from features import bundle as files
from features.adapters import load
from features.bundle import open_bundle, serving_path
from services.triton.repository import LEAST_COSINE
from tests.damaged_bundles import with_rankers_upside_down
from tests.tiny_encoder import write_tiny_encoder
from training import gate, package, recipes, train
from training.config import CompanyConfig, TrainConfig
from training.dataset import item_texts
from training.package import write_files
from training.verdict import GateLimits

DATA = "synthetic:user_count=60,item_count=60,taste_count=4,weeks=9,seed=3,new_item_count=2"


def tiny(encoder: str) -> TrainConfig:
    """The small recipe with a few steps a stage and a tiny encoder, compressed."""
    recipe = recipes.small()
    return replace(
        recipe,
        text=replace(
            recipe.text,
            encoder=encoder,
            trained_layers=1,
            steps=2,
            batch_size=16,
            company=CompanyConfig(steps=2, batch_size=16),
            compress=True,
        ),
        interest=replace(recipe.interest, steps=4, refresh_steps=2, layers=1),
        ranker=replace(recipe.ranker, window_weeks=1, chance_trees=10, order_trees=10),
    )


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where everything is written; `small` is tiny in there."""
    folder = tmp_path_factory.mktemp("nightly")
    words = " ".join(item_texts(load(DATA, folder).items).distinct).lower().replace(".", " ").replace(",", " ").split()
    config = tiny(write_tiny_encoder(folder / "encoder", words, layers=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setitem(recipes.RECIPES, "small", lambda: config)
        patch.setattr(gate, "GateLimits", lambda: GateLimits(resamples=2_000))
        yield folder


def nightly(bundles: Path, version: str, *more: str) -> None:
    """The command line."""
    told = ["--data", DATA, "--recipe", "small", "--tracker", "none", "--promote", "gate", "--version", version]
    folders = ["--bundles", str(bundles), "--checkpoints", str(bundles / ".checkpoints")]
    train.main([*told, *folders, *more])


def last_reason(bundles: Path) -> str:
    return str(json.loads((bundles / "serving.log").read_text().splitlines()[-1])["reason"])


@pytest.fixture(scope="module")
def first(folder: Path) -> Path:
    """Bundles after the first night."""
    nightly(folder / "first", "one")
    return folder / "first"


@pytest.fixture
def bundles(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to go on from; the nights that do need no smaller text towers."""
    config = recipes.RECIPES["small"]()
    monkeypatch.setitem(recipes.RECIPES, "small", lambda: replace(config, text=replace(config.text, compress=False)))
    shutil.copytree(first, tmp_path / "bundles")
    return tmp_path / "bundles"


def test_the_first_bundle_serves_and_has_not_seen_the_newest_week(first: Path) -> None:
    assert last_reason(first) == "gate: the first bundle; nothing to judge it against"
    calendar = load(DATA, first).calendar
    assert open_bundle(serving_path(first)).as_of == calendar.week_end(8)


def test_its_smaller_text_towers_are_sealed_with_what_they_cost(first: Path) -> None:
    bundle = open_bundle(serving_path(first))
    losses = bundle.manifest[files.COMPRESSION]
    assert set(losses) == {files.TEXT_TOWER_FP16, files.TEXT_TOWER_INT8}
    assert all(bundle.path(name).stat().st_size for name in losses)
    int8, fp16 = (losses[name]["cosine_p1"] for name in (files.TEXT_TOWER_INT8, files.TEXT_TOWER_FP16))
    assert 0.5 < int8 < fp16  # on so small a shop int8 is not served: the adapter is nearly singular
    assert fp16 > LEAST_COSINE


def test_an_equal_bundle_passes_and_serves(bundles: Path) -> None:
    nightly(bundles, "two")
    assert serving_path(bundles).name == "two"
    assert last_reason(bundles).startswith("gate: passed")


def test_a_worse_bundle_is_written_but_does_not_serve(bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_damaged(root: Path, *learned: Any) -> None:
        write_files(root, *learned)
        with_rankers_upside_down(root)

    def hand_out(*arguments: Any) -> None:
        """The first night's graph of the same tower, in place of an export."""
        place = arguments[-1]
        place.parent.mkdir(exist_ok=True)
        shutil.copy(bundles / "one" / place.parent.name / place.name, place)

    for name in ("export_text_tower", "export_interest_tower"):
        monkeypatch.setattr(package, name, hand_out)
    monkeypatch.setattr(train, "write_files", write_damaged)
    with pytest.raises(SystemExit, match="refused; not promoted"):
        nightly(bundles, "worse")
    assert open_bundle(bundles / "worse").version == "worse"
    assert serving_path(bundles).name == "one"


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--judge-weeks", "2"], "one knows events up to .*; the weeks to judge on begin at "),
        (["--protocol", "leave-one-out"], "--promote gate judges on weeks; --protocol leave-one-out holds none back"),
    ],
)
def test_what_the_gate_could_not_judge_is_not_trained(bundles: Path, more: list[str], complaint: str) -> None:
    with pytest.raises(SystemExit, match=complaint):
        nightly(bundles, "two", *more)
    assert not (bundles / "two").exists()


def test_a_bundle_of_another_shop_is_no_rival(bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "load", lambda data, cache: replace(load(data, cache), name="greengrocer"))
    with pytest.raises(SystemExit, match="one serves synthetic, not greengrocer: nothing to compare"):
        nightly(bundles, "two")
