"""What the lists of the default bundle are like: how alike, whether anything is shown twice, how much of a page is
promoted, and whether explanations add up. Shopper after shopper over the API, in the order that a seed gives them."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from aisle.v1 import recommendation_service_pb2 as messages

from features import bundle as files
from features.bundle import open_bundle, serving_path
from features.encode import Floats
from features.vocab import Vocabulary
from services.client import AsyncRecommendationClient
from services.ranking.placements import SERVED_PLACEMENTS
from tests.acceptance.ranking_stack import FOR_YOU, shoppers

PLACES = 20
LEVELS = ("NONE", "LOW", "MEDIUM", "HIGH")
PROMOTED_PAGES = 5
"""How many pages of each shopper are looked at: further on, promoted items may run out."""
PERCENT, PINNED_PERCENT, PINNED_POSITION = 20, 10, 3
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Shop:
    """What of the default bundle the answers are held against."""

    vocabulary: Vocabulary
    units: Floats
    """float32 [N, D], item vectors of length one."""
    categories: list[set[str]]
    """Names of each item's category path."""
    promoted: list[str]
    """The two top categories with the most items: what is promoted."""


@dataclass(slots=True)
class Found:
    """What the lists of all shoppers were like."""

    similarity: list[list[float]] = field(default_factory=list)
    """Of each shopper, at each of LEVELS."""
    pages: int = 0
    repeated_on_pages: int = 0
    repeated_in_batches: int = 0
    promoted_pages: int = 0
    wrong_shares: int = 0
    wrongly_promoted: int = 0
    explained: int = 0
    unexplained: int = 0
    largest_error: float = 0.0
    """Of baseline and contributions against the score, relative to it."""
    degraded: int = 0


def open_shop(bundles: Path) -> Shop:
    """Read the bundle that serves."""
    bundle = open_bundle(serving_path(bundles))
    items = pl.read_parquet(bundle.path(files.ITEMS), columns=["item_id", "category"])
    vectors = np.load(bundle.path(files.ITEM_VECTORS), allow_pickle=False).astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    tops = items["category"].list.first().drop_nulls().value_counts(sort=True)
    return Shop(
        vocabulary=Vocabulary(items["item_id"]),
        units=vectors / np.where(lengths > 0, lengths, 1.0),
        categories=[set(path) for path in items["category"].to_list()],
        promoted=tops.to_series(0).head(2).to_list(),
    )


async def ask_for_lists(address: str, shop: Shop, count: int) -> Found:
    """The lists of so many shoppers from the service at an address."""
    found = Found()
    rng = np.random.default_rng(0)
    chosen: list[str] = rng.choice(sorted(shoppers()), count, replace=False).tolist()
    placements = sorted(SERVED_PLACEMENTS)
    async with AsyncRecommendationClient(address, timeout_seconds=_TIMEOUT_SECONDS) as client:
        for turn, user_id in enumerate(chosen):
            await _levels(client, user_id, shop, found)
            first = await client.recommend(_request(user_id, explain=True))
            _check_explanations(first, found)
            found.degraded += bool(first.degradations)
            context = [item.item_id for item in first.results[:1]]
            around: dict[str, Any] = {"context_item_ids": context, "filter": {"include_categories": shop.promoted[:1]}}
            await _check_pages(client, _request(user_id), found)
            in_turn = placements[turn % len(placements)]
            await _check_pages(client, _request(user_id, placement=in_turn, **around), found)
            await _check_batch(client, user_id, [_request("", placement=one, **around) for one in placements], found)
            await _check_promotions(client, user_id, shop, found)
    return found


def _request(user_id: str, **fields: Any) -> messages.RecommendRequest:
    known: dict[str, Any] = {"placement": FOR_YOU, "page_size": PLACES}
    return messages.RecommendRequest(user_id=user_id, **known | fields)


async def _levels(client: AsyncRecommendationClient, user_id: str, shop: Shop, found: Found) -> None:
    replies = [
        await client.recommend(_request(user_id, diversity_level=f"DIVERSITY_LEVEL_{level}")) for level in LEVELS
    ]
    found.degraded += sum(bool(reply.degradations) for reply in replies)
    found.similarity.append([_similarity(shop, [item.item_id for item in reply.results]) for reply in replies])


def _similarity(shop: Shop, names: Sequence[str]) -> float:
    """Mean cosine over all pairs of the list."""
    units = shop.units[shop.vocabulary.rows(names)]
    return float((units @ units.T)[np.triu_indices(len(units), 1)].mean())


async def _pages(
    client: AsyncRecommendationClient, request: messages.RecommendRequest
) -> AsyncIterator[messages.RecommendResponse]:
    """A list to its end."""
    while True:
        reply = await client.recommend(request)
        yield reply
        request.page_token = reply.next_page_token
        if not request.page_token:
            return


async def _check_pages(client: AsyncRecommendationClient, request: messages.RecommendRequest, found: Found) -> None:
    shown: list[str] = []
    async for reply in _pages(client, request):
        shown += [item.item_id for item in reply.results]
        found.pages += 1
    found.repeated_on_pages += len(shown) - len(set(shown))


async def _check_batch(
    client: AsyncRecommendationClient, user_id: str, requests: list[messages.RecommendRequest], found: Found
) -> None:
    batch = await client.batch_recommend(messages.BatchRecommendRequest(user_id=user_id, requests=requests))
    shown = [item.item_id for reply in batch.responses for item in reply.results]
    found.repeated_in_batches += len(shown) - len(set(shown))


async def _check_promotions(client: AsyncRecommendationClient, user_id: str, shop: Shop, found: Found) -> None:
    """Two promotions on the first pages, one of them pinned on the first."""
    spread, pinned = shop.promoted
    request = _request(
        user_id,
        promotions=[
            {"name": "spread", "promoted_percent": PERCENT, "filter": {"include_categories": [spread]}},
            {
                "name": "pinned",
                "promoted_percent": PINNED_PERCENT,
                "pinned_position": PINNED_POSITION,
                "filter": {"include_categories": [pinned], "exclude_categories": [spread]},
            },
        ],
    )
    wanted, category = {"spread": PERCENT, "pinned": PINNED_PERCENT}, {"spread": spread, "pinned": pinned}
    page = 0
    async for reply in _pages(client, request):
        names = [item.promotion_name for item in reply.results]
        if page == 0:
            found.wrongly_promoted += names[PINNED_POSITION - 1] != "pinned"
        found.wrong_shares += any(names.count(name) * 100 != PLACES * percent for name, percent in wanted.items())
        for row, name in zip(shop.vocabulary.rows([item.item_id for item in reply.results]), names, strict=True):
            found.wrongly_promoted += bool(name) and category[name] not in shop.categories[row]
        found.promoted_pages += 1
        page += 1
        if page == PROMOTED_PAGES:
            return


def _check_explanations(reply: messages.RecommendResponse, found: Found) -> None:
    """Of what the ranker has placed: the popular list of a shopper nothing is known of has nothing to explain."""
    for item in reply.results:
        found.unexplained += item.HasField("interest_score") and not item.HasField("explanation")
        if not item.HasField("explanation"):
            continue
        total = item.explanation.baseline_score + sum(part.contribution for part in item.explanation.contributions)
        found.largest_error = max(found.largest_error, abs(total - item.score) / abs(item.score))
        found.explained += 1
