"""Line 1: the tests whose right answer is known by construction, and what must hold of every list of the default
bundle: each level of diversity makes lists less alike, nothing is shown twice, promotions have their share, and
explanations add up."""

import asyncio
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
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
from tests.acceptance.ranking_stack import FOR_YOU, pinned_stack, shoppers
from tests.acceptance.rows import Row, at_least, at_most, holds, told
from training.metrics import paired_bootstrap

TESTS = (
    *(f"tests/integration/test_known_{name}.py" for name in ("answers", "filters", "levels", "promotions")),
    "tests/integration/test_ranking_pages.py",
    *(f"tests/unit/test_{name}.py" for name in ("facets", "selecting", "diversity", "price", "promotions")),
    *(f"tests/unit/test_{name}.py" for name in ("exploration", "explain", "lists", "pages")),
)
SHOPPERS = 200
PLACES = 20
LEVELS = ("NONE", "LOW", "MEDIUM", "HIGH")
PROMOTED_PAGES = 5
PERCENT, PINNED_PERCENT, PINNED_POSITION = 20, 10, 3
REPORT = Path("build/known-answers.xml")
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
    largest_error: float = 0.0
    """Of baseline and contributions against the score, relative to it."""
    degraded: int = 0


def answers() -> list[Row]:
    """Line 1."""
    rows = _tests()
    with pinned_stack() as stack:
        found = asyncio.run(_over_the_stack(stack.addresses["ranking"], _open_shop(Path("bundles"))))
    return [*rows, *_diversity(found), *_lists(found)]


def _tests() -> list[Row]:
    """The tests by themselves, in a process of their own."""
    REPORT.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={REPORT}", *TESTS]
    subprocess.run(command, check=False)
    [suite] = ET.parse(REPORT).getroot().iter("testsuite")  # noqa: S314 - written by the line above
    counts = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    return [
        told("known_answers_tests", counts["tests"]),
        at_most("known_answers_tests_not_passed", counts["tests"] and sum(counts.values()) - counts["tests"], 0),
        holds("known_answers_tests_ran", value=counts["tests"] > 0),
    ]


def _open_shop(bundles: Path) -> Shop:
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


async def _over_the_stack(address: str, shop: Shop) -> Found:
    found = Found()
    rng = np.random.default_rng(0)
    chosen: list[str] = rng.choice(sorted(shoppers()), SHOPPERS, replace=False).tolist()
    placements = sorted(SERVED_PLACEMENTS)
    async with AsyncRecommendationClient(address, timeout_seconds=_TIMEOUT_SECONDS) as client:
        for turn, user_id in enumerate(chosen):
            await _levels(client, user_id, shop, found)
            first = await client.recommend(_request(user_id, explain=True))
            _check_explanations(first, found)
            found.degraded += bool(first.degradations)
            context = [item.item_id for item in first.results[:1]]
            around: dict[str, Any] = {
                "context_item_ids": context,
                "filter": {"include_categories": shop.promoted[:1]},
            }
            for request in (
                _request(user_id),
                _request(user_id, placement=placements[turn % len(placements)], **around),
            ):
                await _check_pages(client, request, found)
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
    async for reply in _pages(client, request):
        names = [item.promotion_name for item in reply.results]
        if found.promoted_pages % PROMOTED_PAGES == 0:
            found.wrongly_promoted += names[PINNED_POSITION - 1] != "pinned"
        found.wrong_shares += any(names.count(name) * 100 != PLACES * percent for name, percent in wanted.items())
        for row, name in zip(shop.vocabulary.rows([item.item_id for item in reply.results]), names, strict=True):
            found.wrongly_promoted += bool(name) and category[name] not in shop.categories[row]
        found.promoted_pages += 1
        if found.promoted_pages % PROMOTED_PAGES == 0:
            return


def _check_explanations(reply: messages.RecommendResponse, found: Found) -> None:
    for item in reply.results:
        total = item.explanation.baseline_score + sum(part.contribution for part in item.explanation.contributions)
        found.largest_error = max(found.largest_error, abs(total - item.score) / abs(item.score))
        found.explained += item.HasField("explanation")


def _diversity(found: Found) -> list[Row]:
    columns = dict(zip(LEVELS, np.array(found.similarity).T, strict=True))
    rows = [told(f"similarity_of_twenty_{level}", round(float(values.mean()), 4)) for level, values in columns.items()]
    for less, more in pairwise(LEVELS):
        paired = paired_bootstrap(columns[less], columns[more], np.random.default_rng(0))
        low = paired.difference_interval[0]
        rows.append(Row(f"similarity_{less}_minus_{more}_lower_bound", round(low, 5), "> 0", low > 0))
    return rows


def _lists(found: Found) -> list[Row]:
    return [
        told("pages_walked", found.pages),
        at_most("items_repeated_on_pages", found.repeated_on_pages, 0),
        at_most("items_repeated_in_batches_of_every_placement", found.repeated_in_batches, 0),
        told("pages_with_promotions", found.promoted_pages),
        at_most("pages_where_a_promotion_has_not_exactly_its_share", found.wrong_shares, 0),
        at_most("items_promoted_that_should_not_be", found.wrongly_promoted, 0),
        at_least("explained_items", found.explained, SHOPPERS * PLACES),
        at_most("explanations_largest_relative_error", float(f"{found.largest_error:.2g}"), 1e-4),
        told("degraded_replies", found.degraded),
    ]
