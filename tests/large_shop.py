"""A shop of any size, up to millions of items: a bundle made from a seed with array operations alone.

Items lie around cluster centres (benchmarks.clustered); a most specific category holds a few neighbouring clusters,
brands are spread over all. Shoppers had items of a few clusters. Same seed, same shop.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl

from benchmarks.clustered import CLUSTERS, clustered_vectors
from features import bundle as files
from features import spec
from features.bundle import promote, write_bundle
from features.clock import to_us
from features.encode import Floats, item_columns
from features.schema import ATTRIBUTES, TABLES
from features.vocab import Rows
from services.ranking.ordering import CandidateLimits, ItemToItem, popular_rows
from services.retrieval.index import EXACT_ROWS_MAX, build_index
from tests.tiny_bundle import write_tiny_towers

AS_OF = datetime(2017, 12, 30, 5, tzinfo=UTC)
LEAVES, DEPARTMENTS, BRANDS = 500, 20, 100
COMPANY_ITEMS, NEIGHBOURS = 8000, 50
"""At most so many items keep company with others, as in training's tables, whatever the size of the catalogue."""
TREE_COUNT = 190
"""Trees about as many and as large as training grows."""

_DAY_US = 86_400_000_000
_TREES = {"objective": "regression", "num_leaves": 31, "deterministic": True, "num_threads": 1, "verbosity": -1}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """N items without the parts that training learns."""

    items: pl.DataFrame
    """The ITEMS table."""
    features: pl.DataFrame
    """`item_id` and the ITEM_FEATURES."""
    vectors: Floats
    """float32 [N, 128] of length one, each number exact in float16."""
    clusters: Rows
    """int32 [N]."""


def catalogue(item_count: int, seed: int = 0) -> Catalogue:
    """The items."""
    rng = np.random.default_rng(seed)
    vectors, clusters = clustered_vectors(item_count, rng, seed + 1)
    items = _items(clusters, rng)
    numbers = {feature.name: rng.gamma(2.0, 1.0, item_count).astype(np.float32) for feature in spec.ITEM_FEATURES}
    return Catalogue(items, pl.DataFrame({"item_id": items["item_id"], **numbers}), vectors, clusters)


def write_large_bundle(
    bundles: Path, shop: Catalogue, exact_rows_max: int = EXACT_ROWS_MAX, tree_count: int = TREE_COUNT
) -> None:
    """Write and promote the bundle `large.<N>`."""
    rng, version = np.random.default_rng(7), f"large.{shop.items.height}"
    facts = {"as_of": AS_OF.isoformat(), "config": {"candidates": asdict(CandidateLimits())}}
    with write_bundle(bundles, version, facts) as root:
        write_tiny_towers(root, seed=0)
        shop.items.write_parquet(root / files.ITEMS)
        shop.features.write_parquet(root / files.ITEM_COLUMNS)
        shop.items.select("item_id", regular_price="price").write_parquet(root / files.REGULAR_PRICES)
        np.save(root / files.ITEM_VECTORS, shop.vectors.astype(np.float16))
        np.save(root / files.POPULARITY, popular_rows(item_columns(shop.items, shop.features, AS_OF)))
        build_index(shop.vectors, exact_rows_max=exact_rows_max).save(root / files.INDEX)
        _company(shop.items.height, rng).save(root / files.ITEM_TO_ITEM)
        for name in (files.RANKER, files.NEW_RANKER):
            (root / name).write_text(_ranker_text(rng, tree_count))
    promote(bundles, version, "a test", AS_OF)


def large_shoppers(shop: Catalogue, count: int, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Shopper's id → stored row: 50 latest events and up to 120 items, of some clusters each."""
    rng, by_cluster = np.random.default_rng(seed), np.argsort(shop.clusters, kind="stable")
    starts = np.searchsorted(shop.clusters[by_cluster], np.arange(CLUSTERS + 1))
    ids, leaves = shop.items["item_id"], shop.items["category"].list.get(-1)
    rows = {}
    for number in range(count):
        liked = rng.choice(CLUSTERS, 6, replace=False)
        near = np.concatenate([by_cluster[starts[one] : starts[one + 1]] for one in liked])
        near = near if near.size else by_cluster
        had = rng.permutation(near)[: int(rng.integers(20, 121))]
        rows[f"user-{number}"] = _shopper(ids.gather(had).to_list(), leaves.gather(had).to_list(), rng)
    return rows


def _items(clusters: Rows, rng: np.random.Generator) -> pl.DataFrame:
    count, leaf = clusters.size, clusters % LEAVES
    ids = 1_000_000 + rng.permutation(max(20 * count, 1))[:count]
    frame = pl.DataFrame(
        {
            "item_id": pl.Series(ids).cast(pl.String),
            "cluster": clusters,
            "department": pl.Series(leaf % DEPARTMENTS),
            "leaf": pl.Series(leaf),
            "price": rng.gamma(2.0, 4.0, count).round(2),
            "in_stock": rng.random(count) < 0.95,
            "sensitive": rng.random(count) < 0.03,
            "number": rng.integers(0, BRANDS, count),
        },
        schema_overrides={"cluster": pl.Int32},
    )
    size = pl.struct(key=pl.lit("size"), value=pl.format("{} g", 50 * (pl.col("number") % 20)))
    diet = pl.struct(key=pl.lit("diet"), value=pl.format("diet {}", pl.col("cluster") % 7))
    return frame.select(
        "item_id",
        title=pl.format("thing {} of kind {} by brand {}", "item_id", "cluster", "number"),
        description=pl.lit(""),
        category=pl.concat_list(pl.format("department {}", "department"), pl.format("kind {}", "leaf")),
        brand=pl.format("brand {}", "number"),
        price="price",
        attributes=pl.concat_list(size, diet).cast(ATTRIBUTES),
        in_stock="in_stock",
        sensitive="sensitive",
    ).select(list(TABLES["items"]))


def _company(item_count: int, rng: np.random.Generator) -> ItemToItem:
    size = min(COMPANY_ITEMS, item_count)
    rows = np.sort(rng.permutation(item_count)[:size]).astype(np.int32)
    shape = (len(spec.I2I_TABLES), size, NEIGHBOURS)
    weights = rng.gamma(1.0, 0.3, shape).astype(np.float16).astype(np.float32)
    return ItemToItem(rows, rng.integers(0, size, shape).astype(np.int32), weights)


def _ranker_text(rng: np.random.Generator, tree_count: int) -> str:
    matrix = rng.standard_normal((4000, len(spec.MATRIX_COLUMNS))).astype(np.float32)
    label = matrix @ rng.standard_normal(matrix.shape[1])
    data = lightgbm.Dataset(matrix, label=label, feature_name=list(spec.MATRIX_COLUMNS), params=_TREES)
    text: str = lightgbm.train(_TREES, data, num_boost_round=tree_count).model_to_string()
    return text


def _shopper(had: Sequence[str], leaves: Sequence[str], rng: np.random.Generator) -> dict[str, Any]:
    as_of_us, size = to_us(AS_OF), len(had)
    last = as_of_us - rng.integers(1, 200 * _DAY_US, size)
    events = rng.integers(0, size, spec.HISTORY_LENGTH)
    names, counts = np.unique(leaves, return_counts=True)
    heaviest = np.argsort(-counts)[: spec.LEAF_LENGTH]
    shares = (counts[heaviest] / counts.sum()).tolist()
    return {
        "last_event_us": as_of_us - _DAY_US,
        "event_count": 3 * size,
        "session_count": size,
        "distinct_item_count": size,
        "session_gap_days": 7.0,
        "mean_log_price": 2.0,
        "discount_share": 0.2,
        "history_item_ids": [had[place] for place in events],
        "history_event_types": rng.integers(1, len(spec.EVENT_TYPES), events.size, endpoint=True).tolist(),
        "history_times_us": np.sort(as_of_us - rng.integers(1, 200 * _DAY_US, events.size)).tolist(),
        "repeat_item_ids": list(had),
        "repeat_counts": rng.integers(1, 9, size).astype(float).tolist(),
        "repeat_weights": np.sort(rng.gamma(1.0, 1.0, size))[::-1].tolist(),
        "repeat_last_us": last.tolist(),
        "repeat_purchase_us": last.tolist(),
        "repeat_gap_days": rng.uniform(-1.0, 30.0, size).tolist(),
        "leaf_names": names[heaviest].tolist(),
        "leaf_weights": shares,
        "category_names": names[heaviest].tolist(),
        "category_weights": shares,
    }
