"""The hourly update over a real bundle: a child that names its parent, judged on what it has not seen, or nothing."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features import bundle as files
from features.bundle import Bundle, promote, serving_path
from tests.damaged_bundles import as_it_is, resealed
from tests.trained_shop import TrainedShop
from training import online
from training.deltas import UpdateConfig
from training.online import UpdateRefused, update
from training.verdict import GateLimits

CONFIG = UpdateConfig(steps=5, held_out_share=0.5)
LIMITS = GateLimits(resamples=1_000)


def updated(shop: TrainedShop, bundles: Path, days: float = 10.0, config: UpdateConfig = CONFIG) -> Bundle:
    """The trained bundle after some more days."""
    since, parent = shop.bundle.as_of, shop.bundle
    return update(
        shop.shop.dataset, parent, since, since + timedelta(days=days), "child", bundles, config, LIMITS, seed=0
    )


@pytest.fixture(scope="module")
def child(trained_shop: TrainedShop, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return updated(trained_shop, tmp_path_factory.mktemp("bundles"))


def test_the_child_names_its_parent_and_stands_at_now(trained_shop: TrainedShop, child: Bundle) -> None:
    assert child.manifest["parent"] == trained_shop.bundle.version
    assert child.as_of == trained_shop.bundle.as_of + timedelta(days=10)
    assert child.manifest["gate"]["passed"] is True
    assert child.manifest["config"] == trained_shop.bundle.manifest["config"]


def test_towers_and_ranker_are_the_parents_and_counts_are_of_now(trained_shop: TrainedShop, child: Bundle) -> None:
    parent = trained_shop.bundle
    same = {name for name, digest in parent.manifest["sha256"].items() if child.manifest["sha256"][name] == digest}
    assert {files.TEXT_TOWER, files.INTEREST_TOWER, files.RANKER, files.ITEMS} <= same
    assert same.isdisjoint({files.ITEM_VECTORS, files.ITEM_COLUMNS, files.INDEX})
    counts = [pl.read_parquet(bundle.path(files.ITEM_COLUMNS))["item_log_count"].sum() for bundle in (parent, child)]
    assert counts[1] > counts[0]


def test_only_items_with_new_events_moved(trained_shop: TrainedShop, child: Bundle) -> None:
    old, new = (np.load(bundle.path(files.ITEM_VECTORS)) for bundle in (trained_shop.bundle, child))
    moved = np.flatnonzero((old != new).any(axis=1))
    assert 0 < moved.size <= child.manifest["update"]["moved"] < len(old)
    assert np.linalg.norm((new - old).astype(np.float32), axis=1).max() < 1.0


def test_an_update_that_the_gate_refuses_is_not_written(trained_shop: TrainedShop, tmp_path: Path) -> None:
    wild = replace(CONFIG, steps=200, learning_rate=0.5, decay=0.0)
    with pytest.raises(UpdateRefused, match="accuracy: "):
        updated(trained_shop, tmp_path, config=wild)
    assert list(tmp_path.iterdir()) == []


def test_hours_without_an_event_update_nothing(trained_shop: TrainedShop, tmp_path: Path) -> None:
    with pytest.raises(UpdateRefused, match="no known shopper did anything"):
        updated(trained_shop, tmp_path, days=1e-6)


def test_events_from_before_the_cutoff_are_refused(trained_shop: TrainedShop, tmp_path: Path) -> None:
    early = trained_shop.bundle.as_of - timedelta(days=1)
    with pytest.raises(ValueError, match=r"since: .* does not lie between the bundle's cutoff"):
        update(
            trained_shop.shop.dataset,
            trained_shop.bundle,
            early,
            early + timedelta(days=9),
            "child",
            tmp_path,
            CONFIG,
            LIMITS,
            seed=0,
        )


def test_the_command_line_promotes_the_child(
    trained_shop: TrainedShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resealed(trained_shop.bundle, tmp_path, "old", as_it_is)
    promote(tmp_path, "old", "test", trained_shop.bundle.as_of)
    monkeypatch.setattr(online, "load", lambda _name, _cache: trained_shop.shop.dataset)
    monkeypatch.setattr(online, "UpdateConfig", lambda: CONFIG)
    monkeypatch.setattr(online, "GateLimits", lambda: LIMITS)
    until = (trained_shop.bundle.as_of + timedelta(days=10)).isoformat()
    online.main(["--bundles", str(tmp_path), "--until", until, "--version", "new"])
    assert serving_path(tmp_path).name == "new"
    move = json.loads((tmp_path / "serving.log").read_text().splitlines()[-1])
    assert move["reason"].startswith("hourly update of old: ")
