"""Every placement over the API, its pages and batches, on the shop whose right answers can be worked out on paper.

`PLACEMENTS` must name every placement that there is, so that a new one fails until it has an answer.
"""

from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from aisle.v1 import recommendation_service_pb2 as messages

from services.ranking.ordering import CandidateLimits
from services.ranking.placements import SERVED_PLACEMENTS
from tests.integration.known_service import PINNED, SPRING, SUMMER, explored, names_of, pages_of, serving
from tests.integration.known_shop import (
    BASKET,
    CART,
    COMPANY,
    DUE_AGAIN,
    NAMES,
    SHELVES,
    SHOWN,
    by_appeal,
    by_demand,
    release,
)
from tests.integration.tiny_service import RunningService

DAIRY = [name for name in NAMES if name.startswith("dairy")]


@dataclass(frozen=True)
class Answer:
    """How a placement's list for the shopper "regular" begins, and what proposed its first item."""

    names: list[str]
    source: str
    asked: dict[str, Any] = field(default_factory=dict)
    is_whole: bool = True


BEHIND_THE_CART = [name for name in DAIRY if name != CART]
PLACEMENTS = {
    "RECOMMENDED_FOR_YOU": Answer(by_appeal(SHOWN, DUE_AGAIN), "BUY_AGAIN"),
    "SIMILAR_ITEMS": Answer(BEHIND_THE_CART, "SIMILAR", {"context_item_ids": [CART]}, is_whole=False),
    "OTHERS_YOU_MAY_LIKE": Answer(
        COMPANY + BEHIND_THE_CART, "BOUGHT_TOGETHER", {"context_item_ids": [CART]}, is_whole=False
    ),
    "FREQUENTLY_BOUGHT_TOGETHER": Answer(
        BASKET + BEHIND_THE_CART, "BOUGHT_TOGETHER", {"context_item_ids": [CART]}, is_whole=False
    ),
    "BUY_IT_AGAIN": Answer(["bakery-3", "cellar-1", "dairy-2", "cellar-2"], "BUY_AGAIN"),
    "RECENTLY_VIEWED": Answer(["pantry-2", "dairy-1"], "RECENTLY_VIEWED"),
    "TRENDING": Answer([f"cellar-{place}" for place in (4, 3, 2, 1, 0)], "TRENDING"),
    "BEST_SELLERS": Answer(by_demand(SHOWN), "POPULAR"),
    "CATEGORY": Answer(
        by_appeal([f"bakery-{place}" for place in range(6)], DUE_AGAIN),
        "BUY_AGAIN",
        {"filter": {"include_categories": ["bakery"], "strict": True}},
    ),
}


def test_every_placement_that_recommend_serves_has_an_answer() -> None:
    served = set(messages.Placement.values()) - {messages.PLACEMENT_UNSPECIFIED, messages.PLACEMENT_SEARCH_RERANK}
    assert {messages.Placement.Value(f"PLACEMENT_{name}") for name in PLACEMENTS} == served == SERVED_PLACEMENTS


@pytest.mark.parametrize("name", PLACEMENTS)
async def test_a_placement_is_made_of_what_it_promises(known: RunningService, name: str) -> None:
    answer = PLACEMENTS[name]
    reply = await known.recommended_for("regular", placement=f"PLACEMENT_{name}", **answer.asked)
    found = names_of(reply)
    assert (found if answer.is_whole else found[: len(answer.names)]) == answer.names
    assert reply.results[0].source == messages.CandidateSource.Value(f"CANDIDATE_SOURCE_{answer.source}")
    scores = [result.score for result in reply.results]
    assert scores == sorted(scores, reverse=True)


async def test_search_results_are_ordered_by_rank_and_not_by_recommend(known: RunningService) -> None:
    given = ["pantry-3", "gone", "cellar-1", "dairy-5", "bakery-3"]
    asked = messages.RankRequest(user_id="regular", item_ids=given, placement="PLACEMENT_SEARCH_RERANK")
    assert names_of(await known.client.rank(asked)) == ["bakery-3", "cellar-1", "dairy-5", "pantry-3", "gone"]
    for placement, code in (("SEARCH_RERANK", "UNIMPLEMENTED"), ("UNSPECIFIED", "INVALID_ARGUMENT")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await known.recommended_for("regular", placement=f"PLACEMENT_{placement}")
        assert refused.value.code().name == code


@pytest.mark.parametrize(("user_id", "shelf"), [("fan", "dairy"), ("broad", "pantry")])
async def test_a_list_too_short_for_the_shop_is_what_is_nearest_to_the_shoppers_interest(
    user_id: str, shelf: str
) -> None:
    limits = CandidateLimits(total=6, buy_again=0, bought_together=0, category=0, popular=0)
    async with serving(release(limits)) as service:
        reply = await service.recommended_for(user_id)
    assert names_of(reply) == [f"{shelf}-{place}" for place in range(6)]
    assert {result.source for result in reply.results} == {messages.CANDIDATE_SOURCE_INTEREST}


CROWDED: dict[str, Any] = {
    "context_item_ids": [CART],
    "filter": {"include_categories": ["food"], "exclude_brands": ["brand-2"]},
    "promotions": [PINNED, SUMMER],
    "exploration_weight": 0.2,
    "diversity_level": "DIVERSITY_LEVEL_HIGH",
}
MAY_BE_SHOWN = {
    name for name in SHOWN if name not in {CART, *(f"{shelf}-{place}" for shelf in SHELVES for place in (2, 5))}
}


@pytest.mark.parametrize("page_size", [1, 3, 10])
@pytest.mark.parametrize("name", PLACEMENTS)
async def test_pages_to_the_end_show_everything_once(known: RunningService, name: str, page_size: int) -> None:
    pages = await pages_of(known, "regular", page_size, placement=f"PLACEMENT_{name}", **CROWDED)
    shown = [item.split("@")[0] for page in pages for item in page]
    assert len(shown) == len(set(shown))
    assert set(shown) == MAY_BE_SHOWN
    assert all(len(page) == page_size for page in pages[:-1])


async def test_a_batch_of_every_placement_shows_no_item_twice(known: RunningService) -> None:
    requests = [
        messages.RecommendRequest(placement=f"PLACEMENT_{name}", page_size=3, **CROWDED | {"promotions": [SPRING]})
        for name in PLACEMENTS
    ]
    batch = messages.BatchRecommendRequest(user_id="regular", requests=requests)
    replies = (await known.client.batch_recommend(batch)).responses
    shown = [name for reply in replies for name in names_of(reply)]
    assert len(shown) == len(set(shown))
    assert set(shown) == MAY_BE_SHOWN
    assert [len(reply.results) for reply in replies][:4] == [3, 3, 3, 3]


# The same list again


def without_timings(reply: messages.RecommendResponse) -> messages.RecommendResponse:
    """The reply but for what no two have in common."""
    reply.ClearField("stage_timings_ms")
    return reply


@pytest.mark.parametrize("name", PLACEMENTS)
async def test_the_same_recommendation_is_the_same_list_and_another_one_tries_other_items(name: str) -> None:
    asked = PLACEMENTS[name].asked | {
        "placement": f"PLACEMENT_{name}",
        "exploration_weight": 0.3,
        "promotions": [SUMMER],
        "diversity_level": "DIVERSITY_LEVEL_AUTO",
        "price_rerank_level": "PRICE_RERANK_LEVEL_LOW",
        "page_size": 10,
        "explain": True,
    }
    if name == "CATEGORY":
        asked["filter"] = {"include_categories": ["bakery"]}  # strict, it would have little to try
    ids = ["one", "one", *(f"other-{number}" for number in range(5))]
    async with serving(release(), ids=ids) as service:
        first, again, *others = [without_timings(await service.recommended_for("regular", **asked)) for _ in ids]
    assert first == again
    assert first.recommendation_id == "one"
    assert len(explored(first)) == 3
    assert len({frozenset(explored(reply)) for reply in [first, *others]}) > 1


async def test_what_is_tried_differs_between_pages_of_a_batch_but_not_between_two_of_the_same_ids() -> None:
    home = messages.RecommendRequest(
        placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU, exploration_weight=0.5, page_size=6
    )
    batch, ids = messages.BatchRecommendRequest(user_id="fan", requests=[home, home]), ["one", "two"]
    async with serving(release(), ids=ids * 2) as service:
        replies = [(await service.client.batch_recommend(batch)).responses for _ in range(2)]
    for first, again in zip(*replies, strict=True):
        assert without_timings(first) == without_timings(again)
    shown = [name for reply in replies[0] for name in names_of(reply)]
    assert len(shown) == len(set(shown)) == 12
