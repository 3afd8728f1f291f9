"""How far what serves is from what was trained and evaluated; used on the synthetic shop by tests and at full size by
acceptance."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from aisle.v1 import recommendation_service_pb2 as messages

from features import bundle as files
from features import spec
from features.bundle import Bundle
from features.encode import Floats, history_ages_days
from features.materialise import user_rows
from features.schema import Dataset
from features.store import UserReader, close_store, open_store, read_items
from features.vectors import every_vector
from services.client import RecommendationClient
from services.common.scorer import TritonScorer
from services.common.towers import TowerModels
from services.ranking.ordering import recommend
from services.stack import Stack
from training.checkpoint import load_interest_tower
from training.config import InterestTowerConfig
from training.evaluate import Examined
from training.export import torch_interest_run
from training.queries import Query, interests_of

LENGTH = 20
_PATIENT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Served:
    """A running stack on a clock that stands still, and the same bundle opened for evaluation."""

    stack: Stack
    build: Path
    data: Dataset
    bundle: Bundle
    examined: Examined

    def sample(self, count: int) -> list[Query]:
        """Some of the evaluated shoppers, the same ones every time."""
        queries = self.examined.window.queries
        order = np.random.default_rng(0).permutation(len(queries))[:count]
        return [queries[position] for position in sorted(order)]


async def interest_difference(served: Served, count: int) -> float:
    """Largest difference of any item's interest score between Triton and the torch tower, over some shoppers."""
    shoppers = [query.shopper for query in served.sample(count) if query.shopper.history_rows.size]
    config = InterestTowerConfig(**served.bundle.manifest["config"]["interest"])
    tower = load_interest_tower(served.build / "checkpoints" / served.bundle.version, config)
    vectors, now_us = every_vector(served.examined.model.vectors), served.examined.window.now_us
    expected = interests_of(torch_interest_run(tower), vectors, shoppers, now_us)
    scorer = TritonScorer(served.stack.addresses["triton"], TowerModels.of_version(served.bundle.version))
    largest = 0.0
    for shopper, interest in zip(shoppers, expected, strict=True):
        history = vectors[shopper.history_rows]
        ages = history_ages_days(shopper, now_us)
        found = await scorer.interest_vectors(history, shopper.history_event_types, ages, _PATIENT_SECONDS)
        largest = max(largest, float(np.abs((found - interest.vectors) @ vectors.T).max()))
    await scorer.close()
    return largest


async def user_differences(served: Served, count: int) -> int:
    """Feature values of some shoppers that are not the same online and offline, to the last bit."""
    store = open_store(served.build / "feast", served.build / "offline", served.stack.addresses["valkey"])
    reader = UserReader(store, timeout_s=_PATIENT_SECONDS)
    different = 0
    for row in user_rows(served.data, served.bundle).sample(count, seed=0).iter_rows(named=True):
        online = await reader.read(row["user_id"])
        for feature in spec.USER_FEATURES:
            different += online is None or not _equal(online[feature.name], row[feature.name], feature.dtype)
    await close_store(store)
    return different


def item_differences(served: Served) -> int:
    """Feature values of all items that are not the same online and in the bundle, to the last bit."""
    offline = pl.read_parquet(served.bundle.path(files.ITEM_COLUMNS))
    store = open_store(served.build / "feast", served.build / "offline", served.stack.addresses["valkey"])
    online = read_items(store, offline["item_id"].to_list())
    both = offline.join(online, on="item_id", how="left", suffix="_online", maintain_order="left")
    return sum(
        int((~both[f"{feature.name}_online"].cast(pl.Float32).eq_missing(both[feature.name])).sum())
        for feature in spec.ITEM_FEATURES
    )


def list_differences(served: Served, count: int) -> tuple[float, float]:
    """Share of some shoppers whose served list is the evaluated one, and the largest score gap where it is not."""
    chosen = {query.user_id for query in served.sample(count)}
    examined = served.examined
    equal, gap = 0, 0.0
    with RecommendationClient(served.stack.addresses["ranking"], timeout_seconds=_PATIENT_SECONDS) as client:
        for query, interest in zip(examined.window.queries, examined.interests, strict=True):
            if query.user_id not in chosen:
                continue
            now_us, limits = examined.window.now_us, examined.limits
            expected = recommend(
                examined.model, examined.rankers.all_items, query.shopper, interest, limits, now_us
            ).head(LENGTH)
            request = messages.RecommendRequest(
                placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU,
                user_id=query.user_id,
                page_size=LENGTH,
                filter=messages.Filter(allow_sensitive=True),  # evaluation leaves nothing out
            )
            found = client.recommend(request).results
            if [result.item_id for result in found] == examined.model.items.vocabulary.names(expected.rows):
                equal += 1
            else:
                gap = max(gap, _score_gap([result.score for result in found], expected.scores))
    return equal / len(chosen), gap


def _score_gap(served: list[float], evaluated: Floats) -> float:
    return float(np.abs(np.array(served) - evaluated).max()) if len(served) == evaluated.size else float("inf")


def _equal(online: Any, offline: Any, dtype: str) -> bool:
    kinds: dict[str, Any] = {"list[int64]": np.int64, "list[float32]": np.float32, "list[string]": np.str_}
    if dtype in kinds:
        return np.array_equal(np.asarray(online, dtype=kinds[dtype]), np.asarray(offline, dtype=kinds[dtype]))
    return bool(np.float32(online) == np.float32(offline)) if dtype == "float32" else bool(online == offline)
