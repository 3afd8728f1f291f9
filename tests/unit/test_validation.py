"""Requests against the table of limits."""

import pytest
from aisle.v1.event_service_pb2 import EVENT_TYPE_REVIEW, Event, WriteEventsRequest
from aisle.v1.recommendation_service_pb2 import (
    PLACEMENT_BEST_SELLERS,
    BatchRecommendRequest,
    Filter,
    PriceRange,
    Promotion,
    RankRequest,
    RecommendRequest,
)
from aisle.v1.retrieval_service_pb2 import SearchRequest
from google.protobuf.message import Message

from services.common.errors import InvalidField
from services.common.limits import PAGE_SIZE_MAX, RANK_ITEMS_MAX
from services.common.validation import check


def recommend(**fields: object) -> RecommendRequest:
    """A request that is valid without `fields`."""
    return RecommendRequest(placement=PLACEMENT_BEST_SELLERS, **fields)  # type: ignore[arg-type] # any field


FAULTS: list[tuple[Message, str, str]] = [
    (RecommendRequest(), "placement", "is required"),
    (RecommendRequest(placement=77), "placement", "77 is not a Placement"),  # type: ignore[arg-type] # on purpose
    (recommend(page_size=PAGE_SIZE_MAX + 1), "page_size", "must be 0 to 100, is 101"),
    (recommend(page_size=-1), "page_size", "must be 0 to 100, is -1"),
    (recommend(exploration_weight=1.5), "exploration_weight", "must be 0 to 1, is 1.5"),
    (recommend(exploration_weight=float("nan")), "exploration_weight", "must be 0 to 1, is nan"),
    (recommend(user_id="u" * 129), "user_id", "must have at most 128 characters, has 129"),
    (recommend(context_item_ids=["a", "b" * 129]), "context_item_ids[1]", "must have at most 128 characters, has 129"),
    (recommend(context_item_ids=["a"] * 101), "context_item_ids", "must have at most 100 entries, has 101"),
    (recommend(experiment_overrides={"e": "v" * 129}), "experiment_overrides", "at most 128 characters, has 129"),
    (recommend(filter=Filter(price_range=PriceRange(minimum_price=-1))), "filter.price_range.minimum_price", "is -1.0"),
    (recommend(promotions=[Promotion(name="p", filter=Filter()), Promotion(name="q")]), "promotions[1].filter",
     "is required"),
    (RankRequest(item_ids=["i"] * (RANK_ITEMS_MAX + 1)), "item_ids", "must have at most 500 entries, has 501"),
    (BatchRecommendRequest(requests=[recommend(), recommend(page_size=500)]), "requests[1].page_size", "is 500"),
    (WriteEventsRequest(events=[Event(event_id="e", event_type=EVENT_TYPE_REVIEW, rating=0)]), "events[0].rating",
     "must be 1 to 5, is 0"),
    (SearchRequest(bundle_version="b"), "vectors", "is required"),
]  # fmt: skip


@pytest.mark.parametrize(("request_message", "field", "description"), FAULTS, ids=[field for _, field, _ in FAULTS])
def test_a_fault_is_named_by_the_path_of_its_field(request_message: Message, field: str, description: str) -> None:
    with pytest.raises(InvalidField) as caught:
        check(request_message)
    assert caught.value.field == field
    assert description in caught.value.description


def test_values_at_their_limits_pass() -> None:
    check(
        recommend(
            page_size=PAGE_SIZE_MAX,
            exploration_weight=1,
            user_id="u" * 128,
            context_item_ids=["i" * 128] * 100,
            experiment_overrides={"e" * 128: "v" * 128},
            filter=Filter(price_range=PriceRange(minimum_price=0, maximum_price=1e9)),
        )
    )
    check(RankRequest(item_ids=["i"] * RANK_ITEMS_MAX))
