"""What the ranking service refuses, and how it names the field at fault."""

from typing import Any

import grpc
import grpc.aio
import pytest
from aisle.v1 import recommendation_service_pb2 as messages

from services.client import field_violations
from services.ranking.app import SERVED_PLACEMENTS
from tests.integration.tiny_service import RunningService

INVALID = grpc.StatusCode.INVALID_ARGUMENT
UNSERVED = grpc.StatusCode.UNIMPLEMENTED
VALUES: dict[str, Any] = {
    "page_token": "next",
    "context_item_ids": ["item-1"],
    "filter": messages.Filter(in_stock_only=True),
    "diversity_level": messages.DIVERSITY_LEVEL_LOW,
    "price_rerank_level": messages.PRICE_RERANK_LEVEL_LOW,
    "promotions": [messages.Promotion(name="spring", filter=messages.Filter())],
    "exploration_weight": 0.1,
    "experiment_overrides": {"ranker": "b"},
    "explain": True,
}
"""A valid value of every field that some request does not serve."""

SHOPPER = {"tenant", "placement", "user_id", "visitor_id", "session_id", "validate_only"}
SERVED_RECOMMEND = SHOPPER | {"context_item_ids", "page_size"}
SERVED_RANK = SHOPPER | {"item_ids"}
UNSERVED_RECOMMEND = sorted(set(messages.RecommendRequest.DESCRIPTOR.fields_by_name) - SERVED_RECOMMEND)
UNSERVED_RANK = sorted(set(messages.RankRequest.DESCRIPTOR.fields_by_name) - SERVED_RANK)

FOR_YOU = {"placement": messages.PLACEMENT_RECOMMENDED_FOR_YOU}
SIMILAR = {"placement": messages.PLACEMENT_SIMILAR_ITEMS}
BAD_RECOMMENDS: list[tuple[dict[str, Any], grpc.StatusCode, str]] = [
    ({}, INVALID, "placement"),
    ({"placement": 99}, INVALID, "placement"),
    (FOR_YOU | {"page_size": 101}, INVALID, "page_size"),
    (FOR_YOU | {"page_size": -1}, INVALID, "page_size"),
    (FOR_YOU | {"user_id": "x" * 129}, INVALID, "user_id"),
    (FOR_YOU | {"tenant": "another-shop"}, UNSERVED, "tenant"),
    (SIMILAR, INVALID, "context_item_ids"),
    *((FOR_YOU | {field: VALUES[field]}, UNSERVED, field) for field in UNSERVED_RECOMMEND),
    *(
        ({"placement": placement}, UNSERVED, "placement")
        for placement in messages.Placement.values()
        if placement and placement not in SERVED_PLACEMENTS
    ),
]
BAD_RANKS: list[tuple[dict[str, Any], grpc.StatusCode, str]] = [
    ({}, INVALID, "item_ids"),
    ({"item_ids": ["item-1"] * 501}, INVALID, "item_ids"),
    ({"item_ids": ["item-1"], "tenant": "another-shop"}, UNSERVED, "tenant"),
    *(({"item_ids": ["item-1"], field: VALUES[field]}, UNSERVED, field) for field in UNSERVED_RANK),
]


@pytest.mark.parametrize("validate_only", [False, True])
@pytest.mark.parametrize(("fields", "code", "field"), BAD_RECOMMENDS)
async def test_a_bad_recommend_names_its_field(
    ranking: RunningService, fields: dict[str, Any], code: grpc.StatusCode, field: str, validate_only: bool
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ranking.client.recommend(messages.RecommendRequest(**fields, validate_only=validate_only))
    assert (caught.value.code(), list(field_violations(caught.value))) == (code, [field])


@pytest.mark.parametrize("validate_only", [False, True])
@pytest.mark.parametrize(("fields", "code", "field"), BAD_RANKS)
async def test_a_bad_rank_names_its_field(
    ranking: RunningService, fields: dict[str, Any], code: grpc.StatusCode, field: str, validate_only: bool
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ranking.client.rank(messages.RankRequest(**fields, validate_only=validate_only))
    assert (caught.value.code(), list(field_violations(caught.value))) == (code, [field])


async def test_batches_are_checked_but_not_served(ranking: RunningService) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ranking.client.batch_recommend(messages.BatchRecommendRequest())
    assert (caught.value.code(), list(field_violations(caught.value))) == (INVALID, ["requests"])
    with pytest.raises(grpc.aio.AioRpcError, match="BatchRecommend") as caught:
        await ranking.client.batch_recommend(messages.BatchRecommendRequest(requests=[FOR_YOU]))
    assert caught.value.code() == UNSERVED


async def test_a_request_that_is_only_checked_has_no_list(ranking: RunningService) -> None:
    recommended = await ranking.recommended_for("user-1", validate_only=True)
    ranked = await ranking.client.rank(messages.RankRequest(item_ids=["item-1"], validate_only=True))
    assert recommended == messages.RecommendResponse(bundle_version="tiny.1")
    assert ranked == messages.RankResponse(bundle_version="tiny.1")
