"""Lines 4 and 5: what serves is what was evaluated, and it beats the baselines."""

import asyncio
from pathlib import Path

import numpy as np
import polars as pl
from aisle.v1 import recommendation_service_pb2 as messages

from features import bundle as files
from features import spec
from features.adapters import load
from features.bundle import Bundle, open_bundle, serving_path
from features.encode import Floats, history_ages_days
from features.materialise import user_rows
from features.schema import Dataset
from features.store import UserReader, close_store, open_store, read_items
from services.client import RecommendationClient
from services.common.towers import TowerModels
from services.ranking.ordering import recommend
from services.ranking.scorer import TritonScorer
from services.stack import Stack, StackConfig, running_stack
from tests.acceptance.rows import Row, at_least, at_most
from training.checkpoint import load_interest_tower
from training.config import InterestTowerConfig
from training.evaluate import Examined, evaluate, examine
from training.export import torch_interest_run
from training.queries import interests_of

DATA = "complete-journey"
CACHE = Path("build/data")
BUNDLES = Path("bundles")
_FEATURE_SHOPPERS = 200
_LIST_SHOPPERS = 500
_LENGTH = 20


def parity() -> list[Row]:
    """Line 4: interest scores, features and lists, served against computed."""
    data, bundle = load(DATA, CACHE), open_bundle(serving_path(BUNDLES))
    examined = examine(data, bundle)
    # A clock that stands still: a list is compared with the one evaluated for the same instant.
    with running_stack(StackConfig(data=DATA, ranking_port=0, clock="as-of")) as stack:
        return [
            at_most(
                "interest_score_triton_minus_torch", asyncio.run(_interest_difference(stack, bundle, examined)), 1e-3
            ),
            at_most("user_feature_values_that_differ", asyncio.run(_user_differences(stack, data, bundle)), 0),
            at_most("item_feature_values_that_differ", _item_differences(stack, bundle), 0),
            *_list_rows(stack, examined),
        ]


def time_split() -> list[Row]:
    """Line 5: Recall@20 of the served list on the four weeks after the cutoff."""
    tasks = evaluate(load(DATA, CACHE), open_bundle(serving_path(BUNDLES)), seed=0)

    def recall(task: str, system: str) -> float:
        return round(float(str(tasks[task][system]["recall@20"])), 4)

    return [
        at_least("all_items_over_popularity", recall("all", "aisle"), recall("all", "popularity")),
        at_least("all_items_over_recency_frequency", recall("all", "aisle"), recall("all", "recency_frequency")),
        at_least("new_items_over_popularity", recall("new", "aisle"), recall("new", "popularity")),
    ]


async def _interest_difference(stack: Stack, bundle: Bundle, examined: Examined) -> float:
    """Largest difference of any item's interest score between Triton and the torch tower, over random shoppers."""
    shoppers = [query.shopper for query in _some(examined, _FEATURE_SHOPPERS) if query.shopper.history_rows.size]
    config = InterestTowerConfig(**bundle.manifest["config"]["interest"])
    tower = load_interest_tower(Path("build/checkpoints") / bundle.version, config)
    vectors, now_us = examined.model.vectors, examined.window.now_us
    expected = interests_of(torch_interest_run(tower), vectors, shoppers, now_us)
    scorer = TritonScorer(stack.addresses["triton"], TowerModels.of_version(bundle.version))
    largest = 0.0
    for shopper, interest in zip(shoppers, expected, strict=True):
        ages = history_ages_days(shopper, now_us)
        found = await scorer.interest_vectors(vectors[shopper.history_rows], shopper.history_event_types, ages, 5.0)
        largest = max(largest, float(np.abs((found - interest.vectors) @ vectors.T).max()))
    await scorer.close()
    return largest


async def _user_differences(stack: Stack, data: Dataset, bundle: Bundle) -> int:
    """Feature values of random shoppers that are not the same online and offline, to the last bit."""
    store = open_store(Path("build/feast"), Path("build/offline"), stack.addresses["valkey"])
    reader = UserReader(store, timeout_s=5.0)
    different = 0
    for row in user_rows(data, bundle).sample(_FEATURE_SHOPPERS, seed=0).iter_rows(named=True):
        online = await reader.read(row["user_id"])
        for feature in spec.USER_FEATURES:
            different += online is None or not _equal(online[feature.name], row[feature.name], feature.dtype)
    await close_store(store)
    return different


def _item_differences(stack: Stack, bundle: Bundle) -> int:
    """Feature values of all items that are not the same online and in the bundle."""
    offline = pl.read_parquet(bundle.path(files.ITEM_COLUMNS))
    store = open_store(Path("build/feast"), Path("build/offline"), stack.addresses["valkey"])
    online = offline.select("item_id").join(
        read_items(store, offline["item_id"].to_list()), on="item_id", how="left", maintain_order="left"
    )
    return sum(
        int((~online[feature.name].cast(pl.Float32).eq_missing(offline[feature.name])).sum())
        for feature in spec.ITEM_FEATURES
    )


def _list_rows(stack: Stack, examined: Examined) -> list[Row]:
    """Served lists against the evaluated ones."""
    chosen = {query.user_id for query in _some(examined, _LIST_SHOPPERS)}
    pairs = zip(examined.window.queries, examined.interests, strict=True)
    equal, worst = 0, 0.0
    with RecommendationClient(stack.addresses["ranking"], timeout_seconds=5.0) as client:
        for query, interest in pairs:
            if query.user_id not in chosen:
                continue
            expected = recommend(
                examined.model, examined.ranker, query.shopper, interest, examined.limits, examined.window.now_us
            ).head(_LENGTH)
            reply = client.recommend(
                messages.RecommendRequest(
                    placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU, user_id=query.user_id, page_size=_LENGTH
                )
            )
            if [result.item_id for result in reply.results] == examined.model.items.vocabulary.names(expected.rows):
                equal += 1
            else:
                worst = max(worst, _score_gap(np.array([result.score for result in reply.results]), expected.scores))
    return [
        at_least("served_lists_equal_to_evaluated_share", equal / len(chosen), 0.995),
        at_most("largest_score_gap_where_lists_differ", worst, 1e-4),
    ]


def _score_gap(served: np.ndarray, evaluated: Floats) -> float:
    return float(np.abs(served - evaluated).max()) if served.size == evaluated.size else float("inf")


def _some(examined: Examined, count: int) -> list:  # type: ignore[type-arg]
    queries = examined.window.queries
    order = np.random.default_rng(0).permutation(len(queries))[:count]
    return [queries[position] for position in order]


def _equal(online: object, offline: object, dtype: str) -> bool:
    if dtype.startswith("list["):
        kind = {"list[int64]": np.int64, "list[float32]": np.float32, "list[string]": np.str_}[dtype]
        return np.array_equal(np.asarray(online, dtype=kind), np.asarray(offline, dtype=kind))
    return bool(np.float32(online) == np.float32(offline)) if dtype == "float32" else online == offline
