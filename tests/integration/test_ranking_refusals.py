"""What the ranking service refuses, and how it names the field at fault."""

from typing import Any

import grpc
import grpc.aio
import pytest
from aisle.v1 import recommendation_service_pb2 as messages

from services.client import field_violations
from services.ranking.placements import SERVED_PLACEMENTS
from tests.integration.tiny_service import RunningService

INVALID = grpc.StatusCode.INVALID_ARGUMENT
UNSERVED = grpc.StatusCode.UNIMPLEMENTED
TURNED = messages.Filter(price_range=messages.PriceRange(minimum_price=5, maximum_price=4))
NAMELESS = messages.Filter(attribute_conditions=[messages.AttributeCondition(include_values=["small"])])
SPRING: dict[str, Any] = {"name": "spring", "filter": messages.Filter()}
TURNED_PROMOTION = "promotions[1].filter.price_range.maximum_price"
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
    (FOR_YOU | {"experiment_overrides": {"variety": "loud"}}, INVALID, "experiment_overrides"),
    (FOR_YOU | {"exploration_weight": 1.5}, INVALID, "exploration_weight"),
    (FOR_YOU | {"exploration_weight": float("nan")}, INVALID, "exploration_weight"),
    (FOR_YOU | {"page_token": "next"}, INVALID, "page_token"),
    (FOR_YOU | {"promotions": [SPRING | {"promoted_percent": 60}] * 2}, INVALID, "promotions"),
    (FOR_YOU | {"promotions": [SPRING, SPRING | {"filter": TURNED}]}, INVALID, TURNED_PROMOTION),
    (FOR_YOU | {"promotions": [SPRING | {"promoted_percent": 101}]}, INVALID, "promotions[0].promoted_percent"),
    (FOR_YOU | {"promotions": [{"name": "spring"}]}, INVALID, "promotions[0].filter"),
    (FOR_YOU | {"page_token": "x" * 8193}, INVALID, "page_token"),
    ({"placement": messages.PLACEMENT_OTHERS_YOU_MAY_LIKE}, INVALID, "context_item_ids"),
    ({"placement": messages.PLACEMENT_CATEGORY}, INVALID, "filter.include_categories"),
    (FOR_YOU | {"filter": TURNED}, INVALID, "filter.price_range.maximum_price"),
    (FOR_YOU | {"filter": messages.Filter(include_brands=["x"] * 101)}, INVALID, "filter.include_brands"),
    (FOR_YOU | {"filter": NAMELESS}, INVALID, "filter.attribute_conditions[0].name"),
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
    ({"item_ids": ["item-1"], "filter": TURNED}, INVALID, "filter.price_range.maximum_price"),
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


BAD_BATCHES: list[tuple[dict[str, Any], grpc.StatusCode, str]] = [
    ({}, INVALID, "requests"),
    ({"requests": [FOR_YOU] * 11}, INVALID, "requests"),
    ({"requests": [FOR_YOU, {}]}, INVALID, "requests[1].placement"),
    ({"requests": [FOR_YOU, SIMILAR]}, INVALID, "requests[1].context_item_ids"),
    ({"requests": [FOR_YOU | {"experiment_overrides": {"a": "b"}}]}, INVALID, "requests[0].experiment_overrides"),
    ({"requests": [FOR_YOU], "tenant": "another-shop"}, UNSERVED, "requests[0].tenant"),
    ({"requests": [FOR_YOU, FOR_YOU | {"user_id": "b"}], "user_id": "a"}, INVALID, "requests[1].user_id"),
    ({"requests": [FOR_YOU | {"session_id": "b"}]}, INVALID, "requests[0].session_id"),
]


@pytest.mark.parametrize("validate_only", [False, True])
@pytest.mark.parametrize(("fields", "code", "field"), BAD_BATCHES)
async def test_a_bad_batch_names_its_field(
    ranking: RunningService, fields: dict[str, Any], code: grpc.StatusCode, field: str, validate_only: bool
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ranking.client.batch_recommend(messages.BatchRecommendRequest(**fields, validate_only=validate_only))
    assert (caught.value.code(), list(field_violations(caught.value))) == (code, [field])


async def test_a_request_that_is_only_checked_has_no_list(ranking: RunningService) -> None:
    recommended = await ranking.recommended_for("user-1", validate_only=True)
    ranked = await ranking.client.rank(messages.RankRequest(item_ids=["item-1"], validate_only=True))
    batch = await ranking.client.batch_recommend(
        messages.BatchRecommendRequest(requests=[FOR_YOU] * 2, validate_only=True)
    )
    assert recommended == messages.RecommendResponse(bundle_version="tiny.1")
    assert batch == messages.BatchRecommendResponse(responses=[recommended] * 2)
    assert ranked == messages.RankResponse(bundle_version="tiny.1")
