"""A shop of a few dozen items: everything that a bundle holds, made from a seed in less than a second.

Items of one category have similar vectors, so that the nearest items of a shopper's interests are of the categories in
their history. The ranker is a real LightGBM model whose score rises with the interest score and with how heavily the
shopper had the item, falls where the interest is the fallback, and depends on little else. Shoppers' rows hold items of
the shop and one that it has no more. Three in four items keep company with some others, drawn at random.
"""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl

from features import bundle as files
from features import spec
from features.bundle import Bundle, open_bundle, promote, write_bundle
from features.clock import to_us
from features.encode import Floats, Shopper, item_columns
from features.offline import polars_type
from features.schema import ITEMS
from features.transforms import category_name
from features.vocab import Rows
from services.common.towers import VECTOR_WIDTH, TowerModels
from services.ranking.ordering import (
    CandidateLimits,
    Candidates,
    Facets,
    ItemToItem,
    ItemToItemScores,
    Mask,
    OrderingModel,
    Ranker,
    Rankers,
    gather,
    popular_rows,
    propose,
)
from services.ranking.release import Release
from services.retrieval.index import build_index
from tests.tiny_bundle import write_tiny_towers

AS_OF = datetime(2017, 12, 30, 5, tzinfo=UTC)
LIMITS = CandidateLimits(total=28, buy_again=8, bought_together=1, category=6, per_category=2, popular=6)
"""Fewer than the shop has items, so that every source is cut off somewhere."""
CATEGORIES = [[room, kind] for room in ("bakery", "cellar", "dairy") for kind in ("plain", "fine")]

_DAY_US = 86_400_000_000
_NEIGHBOURS = 5
_RANKER_ROWS = 400
_RANKER_PARAMETERS = {
    "objective": "regression",
    "num_leaves": 15,
    "min_data_in_leaf": 5,
    "deterministic": True,
    "num_threads": 1,
    "verbosity": -1,
}


@dataclass(frozen=True, slots=True)
class TinyShop:
    """What training would hand over, in memory."""

    items: pl.DataFrame
    """The ITEMS table; ids "item-0" …"""
    features: pl.DataFrame
    """`item_id` and the ITEM_FEATURES."""
    vectors: Floats
    """float32 [N, 128] of length one, each number exact in float16."""
    ranker_text: str = field(repr=False)
    new_ranker_text: str = field(repr=False)
    """Of the ranker of lists without what the shopper had before."""
    item_to_item: ItemToItem

    def model(self) -> OrderingModel:
        """What `open_model` makes of the shop's bundle."""
        columns = item_columns(self.items, self.features, AS_OF)
        index = build_index(self.vectors)
        popular = popular_rows(columns)
        return OrderingModel.assemble(columns, self.vectors, index, self.item_to_item, popular, Facets.of(self.items))

    def release(self) -> Release:
        """What `open_release` makes of the shop's bundle."""
        return Release("tiny", AS_OF, self.model(), self.rankers(), LIMITS, TowerModels.of_version("tiny"))

    def rankers(self) -> Rankers:
        """Both; the one of new items minds the interest score alone."""
        return Rankers(all_items=Ranker(self.ranker_text), new_items=Ranker(self.new_ranker_text))


def tiny_shop(seed: int, item_count: int = 40) -> TinyShop:
    """A shop; same seed, same shop."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, len(CATEGORIES), item_count)
    items = pl.DataFrame([_item(row, CATEGORIES[kind]) for row, kind in enumerate(kinds)], schema=ITEMS, orient="row")
    numbers = {feature.name: rng.gamma(2.0, 1.0, item_count).astype(np.float32) for feature in spec.ITEM_FEATURES}
    centres = rng.standard_normal((len(CATEGORIES), VECTOR_WIDTH))
    vectors = centres[kinds] + 0.7 * rng.standard_normal((item_count, VECTOR_WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rounded = vectors.astype(np.float16).astype(np.float32)
    features = pl.DataFrame({"item_id": items["item_id"], **numbers})
    texts = ranker_text(rng), ranker_text(rng, weight_of_pair=0.0)
    return TinyShop(items, features, rounded, *texts, random_item_to_item(item_count, rng))


def random_item_to_item(item_count: int, rng: np.random.Generator) -> ItemToItem:
    """Three in four items with neighbours and weights of either sign, each exact in float16; no item is its own."""
    rows = np.sort(rng.permutation(item_count)[: 3 * item_count // 4]).astype(np.int32)
    if rows.size <= _NEIGHBOURS:
        return ItemToItem.empty()
    steps = [[rng.permutation(rows.size - 1)[:_NEIGHBOURS] + 1 for _ in rows] for _ in spec.I2I_TABLES]
    neighbours = (np.arange(rows.size)[:, None] + np.array(steps)) % rows.size
    weights = rng.normal(0.3, 0.5, neighbours.shape).astype(np.float16).astype(np.float32)
    return ItemToItem(rows, neighbours.astype(np.int32), weights)


def _item(row: int, category: list[str]) -> dict[str, Any]:
    return {
        "item_id": f"item-{row}",
        "title": f"{category[1]} {category[0]} {row}",
        "description": "",
        "category": category,
        "brand": f"brand-{row % 3}",
        "price": 1.0 + row % 7,
        "attributes": [{"key": "size", "value": "small" if row % 2 else "large"}],
        "in_stock": row % 5 != 0,
        "sensitive": False,
    }


def ranker_text(
    rng: np.random.Generator, columns: tuple[str, ...] = spec.MATRIX_COLUMNS, weight_of_pair: float = 1.0
) -> str:
    """A model over `columns` that has learned: three times the interest score, plus `weight_of_pair` times the pair's
    weight, minus one where the interest is the fallback."""
    matrix = rng.standard_normal((_RANKER_ROWS, len(spec.MATRIX_COLUMNS))).astype(np.float32)
    names = ("interest_score", "pair_weight", "interest_fallback")
    interest, weight, fallback = (matrix[:, spec.MATRIX_COLUMNS.index(name)] for name in names)
    interest[:] = rng.uniform(-1.0, 1.0, _RANKER_ROWS)
    weight[:] = rng.uniform(0.0, 3.0, _RANKER_ROWS) * rng.integers(0, 2, _RANKER_ROWS)
    fallback[:] = rng.integers(0, 2, _RANKER_ROWS)
    label = 3.0 * interest + weight_of_pair * weight - fallback
    data = lightgbm.Dataset(
        matrix[:, : len(columns)], label=label, feature_name=list(columns), params=_RANKER_PARAMETERS
    )
    text: str = lightgbm.train(_RANKER_PARAMETERS, data, num_boost_round=30).model_to_string()
    return text


def write_shop_bundle(bundles: Path, seed: int, item_count: int = 40) -> Bundle:
    """Write the bundle `tiny.<seed>` with the tiny towers, complete and valid, and promote it."""
    shop, version = tiny_shop(seed, item_count), f"tiny.{seed}"
    facts = {"as_of": AS_OF.isoformat(), "config": {"candidates": asdict(LIMITS)}, "seed": seed}
    with write_bundle(bundles, version, facts) as root:
        write_tiny_towers(root, seed)
        shop.items.write_parquet(root / files.ITEMS)
        shop.features.write_parquet(root / files.ITEM_COLUMNS)
        shop.items.select("item_id", regular_price="price").write_parquet(root / files.REGULAR_PRICES)
        np.save(root / files.ITEM_VECTORS, shop.vectors.astype(np.float16))
        np.save(root / files.POPULARITY, popular_rows(item_columns(shop.items, shop.features, AS_OF)))
        build_index(shop.vectors).save(root / files.INDEX)
        shop.item_to_item.save(root / files.ITEM_TO_ITEM)
        (root / files.RANKER).write_text(shop.ranker_text)
        (root / files.NEW_RANKER).write_text(shop.new_ranker_text)
    promote(bundles, version, "a test", AS_OF)
    return open_bundle(bundles / version)


def shoppers(items: pl.DataFrame, count: int, rng: np.random.Generator) -> pl.DataFrame:
    """`user_id` ("user-0" …) and the USER_FEATURES of shoppers of a shop.

    Shopper 0 is known by the time of their last event alone; shopper 1 has had every item.
    """
    leaves = items.select(category_name()).to_series().unique(maintain_order=True).to_list()
    rows = [_shopper(number, items["item_id"].to_list(), leaves, rng) for number in range(count)]
    schema = {"user_id": pl.String()} | {feature.name: polars_type(feature.dtype) for feature in spec.USER_FEATURES}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _shopper(number: int, item_ids: list[str], leaves: list[str], rng: np.random.Generator) -> dict[str, Any]:
    size = {0: 0, 1: len(item_ids)}.get(number, int(rng.integers(1, len(item_ids), endpoint=True)))
    had = [*rng.permutation(item_ids)[:size].tolist(), *(["no longer sold"] if size else [])]
    events = min(3 * size, spec.HISTORY_LENGTH)
    preferred = rng.permutation(leaves)[: min(size, len(leaves))].tolist()
    as_of_us = to_us(AS_OF)
    last = (as_of_us - rng.integers(1, 200 * _DAY_US, len(had))).tolist()
    return {
        "user_id": f"user-{number}",
        "last_event_us": as_of_us - int(rng.integers(1, 20 * _DAY_US)),
        "event_count": 3 * size,
        "session_count": size,
        "distinct_item_count": size,
        "session_gap_days": float(rng.uniform(0, 30)),
        "mean_log_price": float(rng.uniform(0, 3)),
        "discount_share": float(rng.uniform()),
        "history_item_ids": rng.choice(had, events).tolist() if had else [],
        "history_event_types": rng.integers(1, len(spec.EVENT_TYPES), events, endpoint=True).tolist(),
        "history_times_us": (as_of_us - np.sort(rng.integers(1, 200 * _DAY_US, events))[::-1]).tolist(),
        "repeat_item_ids": had,
        "repeat_counts": rng.integers(1, 9, len(had)).astype(float).tolist(),
        "repeat_weights": np.sort(rng.gamma(1.0, 1.0, len(had)))[::-1].tolist(),
        "repeat_last_us": last,
        "repeat_purchase_us": [when * (place % 3 > 0) for place, when in enumerate(last)],
        "repeat_gap_days": rng.uniform(-1.0, 30.0, len(had)).tolist(),
        "leaf_names": preferred,
        "leaf_weights": np.sort(rng.dirichlet(np.ones(len(preferred))))[::-1].tolist() if preferred else [],
        "category_names": preferred,
        "category_weights": [1.0 / len(preferred)] * len(preferred) if preferred else [],
    }


def gathered(
    model: OrderingModel,
    shopper: Shopper,
    item_to_item: ItemToItemScores,
    near_rows: Rows,
    limits: CandidateLimits,
    allowed: Mask | None = None,
) -> Candidates:
    """The candidates of all sources."""
    return gather(propose(model, shopper, item_to_item, limits, allowed), near_rows, limits)
