"""Filters and whole pages, over a real socket with a real Valkey and a real Triton behind it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aisle.v1 import recommendation_service_pb2 as messages

from features.encode import resolve
from features.vectors import every_vector
from services.ranking.ordering import Interest, in_session, mask_without, recommend
from services.ranking.placements import SERVED_PLACEMENTS
from tests.integration.tiny_service import (
    NOW_US,
    RunningService,
    TinyShopOnDisk,
    assert_lists,
    degradations,
    running_service,
)
from tests.tiny_shop import LIMITS

CONTEXT = ["item-3", "item-9"]
PAGE: list[dict[str, Any]] = [
    {"placement": messages.PLACEMENT_BUY_IT_AGAIN, "page_size": 5},
    {"placement": messages.PLACEMENT_RECOMMENDED_FOR_YOU, "page_size": 10},
    {"placement": messages.PLACEMENT_SIMILAR_ITEMS, "page_size": 5, "context_item_ids": CONTEXT},
    {"placement": messages.PLACEMENT_BEST_SELLERS, "page_size": 10},
]


def numbers(reply: messages.RecommendResponse | messages.RankResponse) -> list[int]:
    """Item "item-7" is number 7: its brand is "brand-1" (7 % 3), its size "small" (odd), its price 1 + 7 % 7, and it is
    in stock unless it is a multiple of 5."""
    return [int(result.item_id.removeprefix("item-")) for result in reply.results]


@pytest.mark.parametrize("user_id", ["user-1", "user-3", "nobody"])
@pytest.mark.parametrize("placement", sorted(SERVED_PLACEMENTS))
async def test_every_placement_holds_to_the_filter(ranking: RunningService, placement: int, user_id: str) -> None:
    chosen: dict[str, Any] = {
        "include_categories": ["bakery", "dairy", "cellar"],
        "include_brands": ["brand-1", "brand-2"],
        "price_range": {"maximum_price": 6},
        "attribute_conditions": [{"name": "size", "include_values": ["small"]}],
        "exclude_item_ids": ["item-7"],
        "in_stock_only": True,
    }
    asked: dict[str, Any] = {"placement": placement, "context_item_ids": CONTEXT, "page_size": 10}
    strict = numbers(await ranking.recommended_for(user_id, filter=chosen | {"strict": True}, **asked))
    passing = {
        number
        for number in range(40)
        if number % 3 and number % 7 <= 5 and number % 2 and number != 7 and number % 5 and number not in (3, 9)
    }
    assert set(strict) <= passing
    filled = numbers(await ranking.recommended_for(user_id, filter=chosen, **asked))
    assert filled[: len(strict)] == strict
    assert len(filled) == len(set(filled)) == 10
    assert all(number % 5 and number not in (3, 7, 9) for number in filled)


async def test_a_category_page_is_the_shoppers_list_within_the_category(
    served_shop: TinyShopOnDisk, ranking: RunningService
) -> None:
    chosen = {"include_categories": ["bakery"], "strict": True}
    reply = await ranking.recommended_for("user-3", placement=messages.PLACEMENT_CATEGORY, filter=chosen, page_size=100)
    same = await ranking.recommended_for("user-3", filter=chosen, page_size=100)
    assert numbers(reply) == numbers(same)
    items = served_shop.release.model.items
    bakery = {
        int(name.removeprefix("item-"))
        for name, leaf in zip(items.vocabulary.ids, items.leaf, strict=True)
        if items.leaves.ids[leaf].startswith("bakery")
    }
    assert set(numbers(reply)) <= bakery
    assert len(numbers(reply)) > len(bakery) // 2


async def test_given_items_that_do_not_pass_are_left_out(ranking: RunningService) -> None:
    asked = messages.RankRequest(user_id="user-2", item_ids=["item-4", "gone", "item-5", "item-7"])
    everything = await ranking.client.rank(asked)
    assert sorted(result.item_id for result in everything.results) == ["gone", "item-4", "item-5", "item-7"]
    asked.filter.CopyFrom(messages.Filter(in_stock_only=True, exclude_brands=["brand-1"]))
    assert [result.item_id for result in (await ranking.client.rank(asked)).results] == ["gone"]


async def test_no_item_is_twice_on_a_page_and_the_earlier_list_has_it(ranking: RunningService) -> None:
    for user_id in ("user-1", "user-3", "nobody"):
        batch = messages.BatchRecommendRequest(user_id=user_id, requests=[messages.RecommendRequest(**p) for p in PAGE])
        replies = (await ranking.client.batch_recommend(batch)).responses
        shown = [number for reply in replies for number in numbers(reply)]
        assert len(shown) == len(set(shown))
        alone = await ranking.recommended_for(user_id, **PAGE[0])
        assert numbers(replies[0]) == numbers(alone)
        assert all(not degradations(reply) for reply in replies)
        assert len({reply.recommendation_id for reply in replies}) == len(PAGE)
        sellers = await ranking.recommended_for(user_id, **PAGE[3] | {"page_size": 100})
        taken = {number for reply in replies[:3] for number in numbers(reply)}
        assert numbers(replies[3]) == [number for number in numbers(sellers) if number not in taken][:10]


async def test_included_items_that_are_not_in_the_catalogue_are_named_behind_those_of_the_context(
    ranking: RunningService,
) -> None:
    reply = await ranking.recommended_for(
        "user-1", context_item_ids=["lost", "item-3"], filter={"include_item_ids": ["gone", "item-8", "lost"]}
    )
    assert reply.missing_ids == ["lost", "gone"]


@pytest.mark.parametrize("user_id", ["user-3", "nobody"])
@pytest.mark.parametrize("placement", sorted(SERVED_PLACEMENTS))
async def test_pages_are_the_list_in_pieces(ranking: RunningService, placement: int, user_id: str) -> None:
    asked: dict[str, Any] = {
        "placement": placement,
        "context_item_ids": CONTEXT,
        "filter": {"include_categories": ["bakery", "cellar", "dairy"], "exclude_brands": ["brand-0"]},
    }
    whole = await ranking.recommended_for(user_id, page_size=100, **asked)
    assert whole.next_page_token == ""
    pieces, token, ids = [], "", set()
    for page_size in (4, 1, 7, 100):
        page = await ranking.recommended_for(user_id, page_size=page_size, page_token=token, **asked)
        pieces += list(page.results)
        ids.add(page.recommendation_id)
        token = page.next_page_token
        if not token:
            break
    assert [piece.item_id for piece in pieces] == [result.item_id for result in whole.results]
    assert [piece.score for piece in pieces] == pytest.approx([result.score for result in whole.results])
    assert [piece.source for piece in pieces] == [result.source for result in whole.results]
    assert token == ""
    assert len(ids) == 1


async def test_a_later_page_needs_no_back_end(served_shop: TinyShopOnDisk, ranking: RunningService) -> None:
    first = await ranking.recommended_for("user-3", page_size=5)
    second = await ranking.recommended_for("user-3", page_size=5, page_token=first.next_page_token)
    assert set(second.stage_timings_ms) == {"total"}
    assert not set(numbers(first)) & set(numbers(second))


async def test_an_explanation_adds_up_to_the_score_and_names_items_of_the_history(
    served_shop: TinyShopOnDisk, ranking: RunningService
) -> None:
    vocabulary = served_shop.release.model.items.vocabulary
    had = set(vocabulary.names(served_shop.shopper("user-3").history_rows))
    plain = await ranking.recommended_for("user-3", page_size=8)
    reply = await ranking.recommended_for("user-3", page_size=8, explain=True)
    ranked = await ranking.client.rank(
        messages.RankRequest(user_id="user-3", item_ids=["item-1", "gone", "item-2"], explain=True)
    )
    assert [result.item_id for result in reply.results] == [result.item_id for result in plain.results]
    for result in [*reply.results, *ranked.results[:2]]:
        reasons = result.explanation
        assert len(reasons.contributions) <= 10
        added = sum(part.contribution for part in reasons.contributions)
        assert reasons.baseline_score + added == pytest.approx(result.score, abs=1e-4)
        assert result.stage_scores["ranker"] == pytest.approx(result.score, abs=1e-4)
        sizes = [abs(part.contribution) for part in reasons.contributions[:-1]]
        assert sizes == sorted(sizes, reverse=True)
        assert 0 < len(reasons.evidence_item_ids) <= 3
        assert set(reasons.evidence_item_ids) <= had - {result.item_id}
    assert not ranked.results[2].HasField("explanation")
    assert not plain.results[0].HasField("explanation")
    assert "explanation" in reply.stage_timings_ms


async def test_a_list_that_the_ranker_did_not_order_says_only_its_score(ranking: RunningService) -> None:
    reply = await ranking.recommended_for("nobody", page_size=3, explain=True)
    for result in reply.results:
        assert dict(result.stage_scores) == {"list": result.score}
        assert not result.HasField("explanation")


@pytest.mark.parametrize("user_id", ["user-3", "nobody"])
async def test_promoted_items_have_their_share_of_every_page_their_name_and_the_shops_limits(
    ranking: RunningService, user_id: str
) -> None:
    promotions = [
        {"name": "spring", "promoted_percent": 20, "pinned_position": 1, "filter": {"include_brands": ["brand-1"]}},
        {"name": "small", "promoted_percent": 10, "filter": {"price_range": {"maximum_price": 2}}},
    ]
    asked: dict[str, Any] = {
        "promotions": promotions,
        "filter": {"in_stock_only": True, "exclude_categories": ["fine"]},
        "context_item_ids": ["item-4"],
    }
    first = await ranking.recommended_for(user_id, page_size=10, **asked)
    second = await ranking.recommended_for(user_id, page_size=10, page_token=first.next_page_token, **asked)
    assert first.results[0].promotion_name == "spring"
    shown = numbers(first) + numbers(second)
    assert len(shown) == len(set(shown))
    assert all(number % 5 and number != 4 for number in shown)
    for page in (first, second):
        by_name: dict[str, list[int]] = {"": [], "spring": [], "small": []}
        for number, result in zip(numbers(page), page.results, strict=True):
            by_name[result.promotion_name].append(number)
            is_promoted = result.source == messages.CANDIDATE_SOURCE_PROMOTION
            assert is_promoted == bool(result.promotion_name)
        assert all(number % 3 == 1 for number in by_name["spring"])
        assert all(number % 7 <= 1 for number in by_name["small"])
    assert sum(result.promotion_name != "" for result in first.results) == 3


async def test_lists_are_as_varied_and_as_dear_as_is_asked_for(
    served_shop: TinyShopOnDisk, ranking: RunningService
) -> None:
    vectors = every_vector(served_shop.release.model.vectors)

    def alike(reply: messages.RecommendResponse) -> float:
        first = vectors[numbers(reply)[:8]]
        return float((first @ first.T)[np.triu_indices(len(first), 1)].mean())

    def dear(reply: messages.RecommendResponse) -> float:
        return float(np.mean([1 + number % 7 for number in numbers(reply)[:10]]))

    levels = ("NONE", "MEDIUM", "HIGH")
    varied = {
        level: [
            await ranking.recommended_for(f"user-{user}", diversity_level=f"DIVERSITY_LEVEL_{level}")
            for user in range(2, 12)
        ]
        for level in levels
    }
    similarity = [np.mean([alike(reply) for reply in varied[level]]) for level in levels]
    assert similarity[0] > similarity[1] > similarity[2]
    plain = await ranking.recommended_for("user-3")
    assert numbers(plain) == numbers(varied["NONE"][1])
    assert set(numbers(plain)) == set(numbers(varied["HIGH"][1]))
    prices = [
        dear(await ranking.recommended_for("user-3", price_rerank_level=f"PRICE_RERANK_LEVEL_{level}"))
        for level in ("NONE", "MEDIUM", "HIGH")
    ]
    assert prices[0] < prices[2]
    assert prices == sorted(prices)
    given = messages.RankRequest(user_id="user-3", item_ids=[f"item-{number}" for number in range(20)])
    before = [result.item_id for result in (await ranking.client.rank(given)).results]
    given.diversity_level = messages.DIVERSITY_LEVEL_HIGH
    after = [result.item_id for result in (await ranking.client.rank(given)).results]
    assert after != before
    assert sorted(after) == sorted(before)


async def test_a_visitor_is_recommended_like_a_shopper_where_there_is_none(ranking: RunningService) -> None:
    known = numbers(await ranking.recommended_for("user-3"))
    for user_id in ("", "nobody"):
        assert numbers(await ranking.recommended_for(user_id, visitor_id="user-3")) == known
    assert numbers(await ranking.recommended_for("user-2", visitor_id="user-3")) != known
    given = ["item-1", "item-2", "item-3"]
    ranks = [
        await ranking.client.rank(messages.RankRequest(item_ids=given, user_id=user_id, visitor_id="user-3"))
        for user_id in ("user-3", "")
    ]
    assert numbers(ranks[0]) == numbers(ranks[1])
    batch = messages.BatchRecommendRequest(visitor_id="user-3", requests=[messages.RecommendRequest(**PAGE[1])])
    [reply] = (await ranking.client.batch_recommend(batch)).responses
    assert numbers(reply) == known[:10]


@pytest.mark.parametrize("user_id", ["user-3", "nobody"])
async def test_exploration_gives_its_share_of_every_page_to_items_about_which_little_is_known(
    served_shop: TinyShopOnDisk, ranking: RunningService, user_id: str
) -> None:
    asked: dict[str, Any] = {"exploration_weight": 0.3, "filter": {"in_stock_only": True}, "page_size": 10}
    first = await ranking.recommended_for(user_id, **asked)
    second = await ranking.recommended_for(user_id, page_token=first.next_page_token, **asked)
    unknown = set(np.flatnonzero(served_shop.release.model.little_known))
    shown = numbers(first) + numbers(second)
    assert len(shown) == len(set(shown))
    assert all(number % 5 for number in shown)
    explored = [
        number
        for page in (first, second)
        for number, result in zip(numbers(page), page.results, strict=True)
        if result.source == messages.CANDIDATE_SOURCE_EXPLORATION
    ]
    assert set(explored) <= unknown
    assert sum(result.source == messages.CANDIDATE_SOURCE_EXPLORATION for result in first.results) == 3
    plain = await ranking.recommended_for(user_id, filter={"in_stock_only": True}, page_size=10)
    assert not any(result.source == messages.CANDIDATE_SOURCE_EXPLORATION for result in plain.results)


async def test_a_reply_names_its_experiments_and_is_what_the_variant_says(
    served_shop: TinyShopOnDisk, ranking: RunningService, tmp_path: Path
) -> None:
    path = tmp_path / "experiments.json"
    variants = {"control": {"share": 50}, "varied": {"share": 50, "diversity": "HIGH"}}
    path.write_text(json.dumps([{"id": "variety", "variants": variants}]))
    async with running_service(served_shop.settings(experiments=path), served_shop.release) as service:
        for variant, level in (("control", "NONE"), ("varied", "HIGH")):
            reply = await service.recommended_for("user-3", experiment_overrides={"variety": variant})
            plain = await ranking.recommended_for("user-3", diversity_level=f"DIVERSITY_LEVEL_{level}")
            assert numbers(reply) == numbers(plain)
            assert reply.experiment_ids == [f"variety:{variant}"]
        given = messages.RankRequest(user_id="user-3", item_ids=["item-1"])
        own = (await service.recommended_for("user-3")).experiment_ids
        assert (await service.client.rank(given)).experiment_ids == own
        assert (await service.recommended_for("")).experiment_ids == []


async def test_what_is_on_the_page_steers_the_list_also_without_an_account(
    served_shop: TinyShopOnDisk, ranking: RunningService
) -> None:
    model = served_shop.release.model
    for context in (["item-3", "item-9"], ["item-20"]):
        rows = model.items.vocabulary.rows(context)
        shopper = in_session(resolve(None, model.items), rows, NOW_US)
        history, kinds = model.vectors[rows], shopper.history_event_types
        vectors = await served_shop.oracle.interest_vectors(history, kinds, np.zeros(rows.size, np.float32), 1.0)
        interest, ranker = Interest(vectors, is_fallback=False), served_shop.release.rankers.all_items
        expected = recommend(
            model, ranker, shopper, interest, LIMITS, NOW_US, mask_without(None, rows, model.item_count)
        )
        for user_id in ("", "nobody"):
            reply = await ranking.recommended_for(user_id, context_item_ids=context)
            assert_lists(reply, expected, served_shop.release)
            assert degradations(reply) == []
    steered = await ranking.recommended_for("user-3", context_item_ids=["item-20"])
    plain = await ranking.recommended_for("user-3", filter={"exclude_item_ids": ["item-20"]})
    assert numbers(steered) != numbers(plain)
    given = [f"item-{number}" for number in range(1, 12)]
    ranks = [
        await ranking.client.rank(messages.RankRequest(item_ids=given, context_item_ids=context))
        for context in (["item-20", "gone"], ["item-3"])
    ]
    assert numbers(ranks[0]) != numbers(ranks[1])
    assert ranks[0].missing_ids == ["gone"]
