"""What an event must say: every rule with the field it names, and nothing valid refused."""

import math
from typing import Any

import pytest
from aisle.v1 import event_service_pb2 as messages
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given

from services.common.errors import InvalidField
from services.ingest.checks import check_event
from tests.event_strategies import NOW_SECONDS, NOW_US, events, plain_event

IMPRESSION: dict[str, Any] = {
    "event_type": messages.EVENT_TYPE_IMPRESSION,
    "item_id": "",
    "impression_item_ids": ["bread", "milk"],
}
SEARCH: dict[str, Any] = {"event_type": messages.EVENT_TYPE_SEARCH, "item_id": ""}


@given(events())
def test_a_valid_event_passes_unchanged_but_for_its_time(event: messages.Event) -> None:
    before = messages.Event.FromString(event.SerializeToString())
    check_event(event, NOW_US)
    if not before.HasField("event_time"):
        before.event_time.FromMicroseconds(NOW_US)
    assert event == before


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"event_id": ""}, "event_id"),
        ({"event_id": " \t"}, "event_id"),
        ({"event_id": "e" * 129}, "event_id"),
        ({"event_type": messages.EVENT_TYPE_UNSPECIFIED}, "event_type"),
        ({"event_type": 99}, "event_type"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "a\x00b"}, "user_id"),
        ({"user_id": "", "visitor_id": "a\nb"}, "visitor_id"),
        ({"session_id": "\u2028"}, "session_id"),
        ({"recommendation_id": "\x7f"}, "recommendation_id"),
        ({"item_id": ""}, "item_id"),
        ({"item_id": "x" * 10_000_000}, "item_id"),
        ({"item_id": "\u00a0"}, "item_id"),
        ({"quantity": -1}, "quantity"),
        ({"quantity": 1_000_001}, "quantity"),
        ({"price": math.nan}, "price"),
        ({"price": math.inf}, "price"),
        ({"price": -0.01}, "price"),
        ({"rating": 0.0}, "rating"),
        ({"rating": 5.5}, "rating"),
        ({"rating": math.nan}, "rating"),
        ({"placement": 77}, "placement"),
        ({"attributes": {" ": "x"}}, "attributes"),
        ({"attributes": {"a": "x" * 257}}, "attributes"),
        ({"event_time": Timestamp(seconds=NOW_SECONDS + 3601)}, "event_time"),
        ({"event_time": Timestamp(seconds=946_684_799)}, "event_time"),
        ({"event_time": Timestamp(seconds=-(2**62))}, "event_time"),
        ({"event_time": Timestamp(seconds=2**62)}, "event_time"),
        ({"event_time": Timestamp(seconds=NOW_SECONDS, nanos=-1)}, "event_time"),
        ({"event_time": Timestamp(seconds=NOW_SECONDS, nanos=10**9)}, "event_time"),
        (SEARCH, "search_query"),
        (SEARCH | {"search_query": "  "}, "search_query"),
        (SEARCH | {"search_query": "q" * 1025}, "search_query"),
        (IMPRESSION | {"impression_item_ids": []}, "impression_item_ids"),
        (IMPRESSION | {"impression_item_ids": ["bread"] * 101}, "impression_item_ids"),
        (IMPRESSION | {"impression_item_ids": ["bread", ""]}, "impression_item_ids[1]"),
        (IMPRESSION | {"impression_propensities": [0.5]}, "impression_propensities"),
        (IMPRESSION | {"impression_propensities": [0.5, 1.5]}, "impression_propensities[1]"),
        (IMPRESSION | {"impression_propensities": [math.nan, 0.5]}, "impression_propensities[0]"),
        ({"impression_propensities": [0.5]}, "impression_propensities"),
    ],
)
def test_a_fault_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidField) as caught:
        check_event(plain_event(**fields), NOW_US)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "fields",
    [
        {"event_time": Timestamp(seconds=NOW_SECONDS + 3600)},
        {"event_time": Timestamp(seconds=946_684_800)},
        {"item_id": "Käse 🧀\u200d x"},
        {"price": 0.0, "rating": 1.0},
        IMPRESSION | {"impression_propensities": [0.0, 1.0]},
    ],
)
def test_the_last_that_is_allowed_passes(fields: dict[str, Any]) -> None:
    check_event(plain_event(**fields), NOW_US)
