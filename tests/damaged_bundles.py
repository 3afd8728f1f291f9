"""Bundles that are valid by every hash and yet must not serve: made from a good one by changing some of its files."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from features import bundle as files
from features import spec
from features.bundle import MANIFEST, Bundle, open_bundle, write_bundle
from services.retrieval.index import build_index

_SEALED = ("format", "version", "feature_fingerprint", "sha256", "manifest_sha256")
_RANKERS = (files.RANKER, files.NEW_RANKER)
_MARK = "item_coupon_reach"
"""A column that is zero for every item of the synthetic shop, which knows no coupons."""


def resealed(bundle: Bundle, bundles: Path, version: str, change: Callable[[Path], None]) -> Bundle:
    """A copy with some files changed, sealed anew as a bundle of its own."""
    facts = {key: value for key, value in bundle.manifest.items() if key not in _SEALED}
    with write_bundle(bundles, version, facts) as root:
        shutil.copytree(bundle.root, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))
        change(root)
    return open_bundle(bundles / version)


def as_it_is(root: Path) -> None:
    """No change at all."""
    assert (root / files.RANKER).is_file()


def with_rankers_upside_down(root: Path) -> None:
    """Every leaf's value negated: the last becomes the first."""
    for name in _RANKERS:
        (root / name).write_text("".join(map(_negated, _without_sizes((root / name).read_text()))))


def _without_sizes(text: str) -> list[str]:
    """The lines of a model but the one that holds its trees' sizes in bytes: where they are wrong LightGBM aborts."""
    return [line for line in text.splitlines(keepends=True) if not line.startswith("tree_sizes=")]


def _negated(line: str) -> str:
    name, sign, values = line.partition("=")
    if name != "leaf_value":
        return line
    return f"{name}{sign}{' '.join(str(-float(value)) for value in values.split())}\n"


def with_shuffled_vectors(root: Path) -> None:
    """Every item has another item's vector."""
    vectors = np.load(root / files.ITEM_VECTORS)
    vectors = vectors[np.random.default_rng(0).permutation(len(vectors))]
    np.save(root / files.ITEM_VECTORS, vectors)
    build_index(vectors.astype(np.float32)).save(root / files.INDEX)


def pushing(item_ids: Sequence[str], bonus: float) -> Callable[[Path], None]:
    """Rankers that add `bonus` to the score of these items, by a tree of its own over a column that marks them."""

    def change(root: Path) -> None:
        columns = pl.read_parquet(root / files.ITEM_COLUMNS)
        marked = pl.col("item_id").is_in(list(item_ids)).cast(columns.schema[_MARK]).alias(_MARK)
        columns.with_columns(marked).write_parquet(root / files.ITEM_COLUMNS)
        for name in _RANKERS:
            text = (root / name).read_text()
            head, end, tail = text.partition("end of trees")
            (root / name).write_text(
                "".join(map(_with_a_range, _without_sizes(head))) + _bonus_tree(text.count("Tree="), bonus) + end + tail
            )

    return change


def _with_a_range(line: str) -> str:
    """The marking column's range, which training has found to be none."""
    name, sign, infos = line.partition("=")
    if name != "feature_infos":
        return line
    columns = infos.split()
    columns[spec.MATRIX_COLUMNS.index(_MARK)] = "[0:1]"
    return f"{name}{sign}{' '.join(columns)}\n"


def _bonus_tree(number: int, bonus: float) -> str:
    """One split of the marking column, in LightGBM's text format."""
    values = {
        "Tree": number,
        "num_leaves": 2,
        "num_cat": 0,
        "split_feature": spec.MATRIX_COLUMNS.index(_MARK),
        "split_gain": 1,
        "threshold": 0.5,
        "decision_type": 2,
        "left_child": -1,
        "right_child": -2,
        "leaf_value": f"0 {bonus}",
        "leaf_weight": "1 1",
        "leaf_count": "1 1",
        "internal_value": 0,
        "internal_weight": 0,
        "internal_count": 2,
        "is_linear": 0,
        "shrinkage": 1,
    }
    return "".join(f"{name}={value}\n" for name, value in values.items()) + "\n\n"
