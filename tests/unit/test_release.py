"""A bundle in a ranking process: what was written is what is served, and what does not fit is refused by name."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import polars as pl
import pytest

from features import bundle as files
from features import spec
from features.bundle import BundleError, promote, write_bundle
from features.vectors import every_vector
from services.common.towers import TowerModels
from services.ranking.release import open_release
from services.retrieval.index import build_index
from tests.tiny_shop import AS_OF, LIMITS, TinyShop, ranker_text, tiny_shop, write_shop_bundle


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    write_shop_bundle(folder, seed=1)
    return folder


def rewritten(bundles: Path, folder: Path, change: Callable[[Path], None], **facts: object) -> Path:
    """The same bundle, valid by its manifest but with a change to its files or to the manifest's facts."""
    old = bundles / "tiny.1"
    known = json.loads((old / files.MANIFEST).read_text())
    with write_bundle(folder, "changed", known | facts) as root:
        shutil.copytree(old, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns(files.MANIFEST))
        change(root)
    promote(folder, "changed", "a test", AS_OF)
    return folder


def test_a_release_is_what_the_bundle_holds(bundles: Path, shop: TinyShop) -> None:
    release, model = open_release(bundles), shop.model()
    assert (release.version, release.as_of, release.limits) == ("tiny.1", AS_OF, LIMITS)
    assert release.towers == TowerModels.of_version("tiny.1")
    assert release.model.items.vocabulary.ids == model.items.vocabulary.ids
    assert isinstance(release.model.vectors, np.ndarray)
    assert release.model.vectors.dtype == np.float32
    np.testing.assert_array_equal(release.model.vectors, every_vector(model.vectors))
    np.testing.assert_array_equal(release.model.items.matrix, model.items.matrix)
    np.testing.assert_array_equal(release.model.popular_rows, model.popular_rows)
    for name in ("rows", "neighbours", "weights"):
        found, expected = (getattr(one.item_to_item, name) for one in (release.model, model))
        np.testing.assert_array_equal(found, expected, err_msg=name)
        assert found.dtype == expected.dtype
    assert [leaf.tolist() for leaf in release.model.popular_in_leaf] == [
        leaf.tolist() for leaf in model.popular_in_leaf
    ]
    matrix = np.random.default_rng(0).standard_normal((9, len(spec.MATRIX_COLUMNS))).astype(np.float32)
    for name in ("all_items", "new_items"):
        found, expected = (getattr(rankers, name).score(matrix) for rankers in (release.rankers, shop.rankers()))
        np.testing.assert_array_equal(found, expected, err_msg=name)
    assert not np.array_equal(release.rankers.all_items.score(matrix), release.rankers.new_items.score(matrix))


def swap_items(root: Path) -> None:
    pl.read_parquet(root / files.ITEM_COLUMNS).reverse().write_parquet(root / files.ITEM_COLUMNS)


def shorten_vectors(root: Path) -> None:
    np.save(root / files.ITEM_VECTORS, np.load(root / files.ITEM_VECTORS)[:-1])


def shorten_popularity(root: Path) -> None:
    np.save(root / files.POPULARITY, np.load(root / files.POPULARITY)[:-1])


def shorten_index(root: Path) -> None:
    build_index(tiny_shop(seed=1).vectors[:-1]).save(root / files.INDEX)


def replace_index(root: Path) -> None:
    faiss.write_index(faiss.IndexFlatL2(128), str(root / files.INDEX))


def forget_weights(root: Path) -> None:
    company = tiny_shop(seed=1).item_to_item
    np.savez(root / files.ITEM_TO_ITEM, rows=company.rows, neighbours=company.neighbours)


def shorten_neighbours(root: Path) -> None:
    company = tiny_shop(seed=1).item_to_item
    np.savez(
        root / files.ITEM_TO_ITEM, rows=company.rows, neighbours=company.neighbours[:, :-1], weights=company.weights
    )


def add_items_with_neighbours(root: Path) -> None:
    company = tiny_shop(seed=1).item_to_item
    replace(company, rows=company.rows + 30).save(root / files.ITEM_TO_ITEM)


def break_new_ranker(root: Path) -> None:
    (root / files.NEW_RANKER).write_text("not a model")


def replace_ranker(root: Path) -> None:
    columns = ("price", *spec.MATRIX_COLUMNS[1:])
    (root / files.RANKER).write_text(ranker_text(np.random.default_rng(1), columns))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (swap_items, "changed: items and item features do not hold the same item ids"),
        (shorten_vectors, r"item_vectors\.npy: 39 items, items\.parquet has 40"),
        (shorten_popularity, r"popularity\.npy: 39 items, items\.parquet has 40"),
        (shorten_index, r"index\.faiss: 39 items, items\.parquet has 40"),
        (replace_index, "index: IndexFlatL2 is not an inner-product index"),
        (forget_weights, r"item_to_item\.npz: array 'weights' is missing"),
        (shorten_neighbours, r"item-to-item neighbours has shape \(3, 29, 5\), expected \(3, 30, k\)"),
        (add_items_with_neighbours, r"item_to_item\.npz: row 69, items\.parquet has 40"),
        (break_new_ranker, r"ranker_new\.txt: ranker: "),
        (replace_ranker, r"ranker\.txt: ranker column 0 is 'price', the matrix has 'item_log_count'"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_files_that_do_not_fit_are_refused_by_name(
    bundles: Path, tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    with pytest.raises(BundleError, match=words):
        open_release(rewritten(bundles, tmp_path, change))


@pytest.mark.parametrize("config", [{}, {"candidates": {"totals": 3}}, {"candidates": {"total": 0}}, {"candidates": 7}])
def test_a_manifest_without_sound_candidate_limits_is_refused_by_name(
    bundles: Path, tmp_path: Path, config: dict[str, object]
) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json: config\.candidates: "):
        open_release(rewritten(bundles, tmp_path, lambda _: None, config=config))
