"""Going on from an earlier bundle, on the synthetic shop."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features import bundle as files
from features.bundle import Bundle
from tests.trained_shop import TrainedShop
from training.train import Folders, train_on
from training.warm_start import WarmStartError, config_of


@pytest.fixture(scope="module")
def warm(trained_shop: TrainedShop, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One more week on top of the shop's bundle."""
    folders = Folders(tmp_path_factory.mktemp("warm"), trained_shop.build / "checkpoints")
    as_of = trained_shop.bundle.as_of + timedelta(weeks=1)
    return train_on(trained_shop.bundle, trained_shop.shop.dataset, as_of, 0, folders, "shop-1-warm")


def test_a_warm_start_names_its_parent_and_knows_the_week_since(trained_shop: TrainedShop, warm: Bundle) -> None:
    assert warm.manifest["parent"] == trained_shop.bundle.version
    assert warm.as_of == trained_shop.bundle.as_of + timedelta(weeks=1)
    counts = [
        float(pl.read_parquet(bundle.path(files.ITEM_COLUMNS))["item_log_count"].exp().sum())
        for bundle in (trained_shop.bundle, warm)
    ]
    assert counts[1] > counts[0]


def test_a_warm_start_takes_the_rankers_over_and_moves_the_items_a_little(
    trained_shop: TrainedShop, warm: Bundle
) -> None:
    for name in (files.RANKER, files.NEW_RANKER):
        assert warm.path(name).read_bytes() == trained_shop.bundle.path(name).read_bytes()
    before, after = (
        np.load(bundle.path(files.ITEM_VECTORS)).astype(np.float32) for bundle in (trained_shop.bundle, warm)
    )
    cosine = (before * after).sum(axis=1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
    assert not np.array_equal(before, after)
    assert np.median(cosine) > 0.8


def test_the_settings_in_a_manifest_are_those_it_was_trained_with(trained_shop: TrainedShop, warm: Bundle) -> None:
    assert config_of(warm) == config_of(trained_shop.bundle)
    assert config_of(warm).ranker.windows == trained_shop.bundle.manifest["config"]["ranker"]["windows"]


def test_an_instant_the_parent_knows_and_lost_weights_are_refused(trained_shop: TrainedShop, tmp_path: Path) -> None:
    parent, data = trained_shop.bundle, trained_shop.shop.dataset
    with pytest.raises(WarmStartError, match="knows everything before"):
        train_on(parent, data, parent.as_of, 0, Folders(tmp_path, trained_shop.build / "checkpoints"), "early")
    with pytest.raises(WarmStartError, match="no torch weights of shop-1"):
        train_on(parent, data, parent.as_of + timedelta(weeks=1), 0, Folders(tmp_path, tmp_path / "none"), "lost")
