"""Events as messages and as rows of the log: nothing is lost on the way there and back."""

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from aisle.v1 import event_service_pb2 as messages
from aisle.v1 import recommendation_service_pb2 as shared
from hypothesis import given
from hypothesis import strategies as st

from features.event_log import LOGGED
from features.schema import EVENT_TYPES
from services.common.streams import EntryId
from services.ingest import records
from services.ingest.records import Event, UnreadableEvent, event_of, logged_frame, parse
from tests.strategies import unhurried

_texts = st.text(max_size=8)
_TYPES: st.SearchStrategy[Any] = st.sampled_from([number for number in messages.EventType.values() if number])
_PLACEMENTS: st.SearchStrategy[Any] = st.sampled_from([*shared.Placement.values(), 77])
_VIEW: Any = messages.EVENT_TYPE_VIEW
_US = 62_135_596_800_000_000


def _event(**fields: Any) -> Event:
    event = Event(event_id="e", user_id="u", item_id="i", event_type=messages.EVENT_TYPE_CLICK)
    event.event_time.FromMicroseconds(1_500_000_000_000_001)
    for name, value in fields.items():
        setattr(event, name, value)
    return event


@st.composite
def _events(draw: st.DrawFn) -> Event:
    event = Event(
        event_id=draw(_texts.filter(bool)),
        user_id=draw(_texts),
        visitor_id=draw(_texts.filter(bool)),
        session_id=draw(_texts),
        recommendation_id=draw(_texts),
        item_id=draw(_texts),
        quantity=draw(st.integers(0, 1_000_000)),
        search_query=draw(_texts),
        impression_item_ids=draw(st.lists(_texts, max_size=3)),
        impression_propensities=draw(st.lists(st.floats(0, 1), max_size=3)),
        price=draw(st.none() | st.floats(0, 1e9)),
        rating=draw(st.none() | st.floats(1, 5)),
        attributes=draw(st.dictionaries(_texts, _texts, max_size=3)),
    )
    event.event_type = draw(_TYPES)
    event.placement = draw(_PLACEMENTS)
    event.event_time.FromMicroseconds(draw(st.integers(-_US, 4 * _US)))
    return event


@unhurried
@given(st.lists(_events(), max_size=3))
def test_an_event_comes_back_from_its_row(happened: list[Event]) -> None:
    entries = [(EntryId(1_700_000_000_000 + number, number), event) for number, event in enumerate(happened)]
    frame = logged_frame(3, entries)
    assert frame.schema == LOGGED
    assert [event_of(row) for row in frame.iter_rows(named=True)] == happened
    assert [parse(event.SerializeToString()) for event in happened] == happened


def test_a_row_says_what_the_event_says() -> None:
    event = _event(
        event_type=messages.EVENT_TYPE_ADD_TO_CART, quantity=3, price=2.5, placement=shared.PLACEMENT_SIMILAR_ITEMS
    )
    event.attributes.update(size="L", colour="red")
    row = logged_frame(3, [(EntryId(1_700_000_000_123, 4), event)]).row(0, named=True)
    assert row == dict.fromkeys(LOGGED) | {
        "shard": 3,
        "entry": "1700000000123-4",
        "arrival_time": datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC),
        "tenant": "default",
        "event_id": "e",
        "event_type": "add-to-cart",
        "event_time": datetime(2017, 7, 14, 2, 40, 0, 1, tzinfo=UTC),
        "user_id": "u",
        "item_id": "i",
        "quantity": 3,
        "price": 2.5,
        "impression_item_ids": [],
        "impression_propensities": [],
        "placement": "similar-items",
        "attributes": [{"key": "colour", "value": "red"}, {"key": "size", "value": "L"}],
    }


def test_types_are_called_as_in_the_schema() -> None:
    numbers = [number for number in messages.EventType.values() if number]
    assert tuple(records.type_name(_event(event_type=number)) for number in numbers) == EVENT_TYPES


def test_no_entries_are_an_empty_table() -> None:
    assert logged_frame(0, []).equals(pl.DataFrame(schema=LOGGED))


@pytest.mark.parametrize(
    ("serialized", "words"),
    [
        (b"\xff\xff", "not an event"),
        (b"", "event_id"),
        (_event(event_id="").SerializeToString(), "event_id"),
        (_event(user_id="").SerializeToString(), "user_id"),
        (_event(event_type=0).SerializeToString(), "event_type: 0"),
        (_event(event_type=42).SerializeToString(), "event_type: 42"),
        (Event(event_id="e", user_id="u", event_type=_VIEW).SerializeToString(), "event_time"),
        (
            Event(event_id="e", user_id="u", event_type=_VIEW, event_time={"seconds": 2**62}).SerializeToString(),
            "event_time",
        ),
    ],
)
def test_what_is_no_event_is_refused_with_its_reason(serialized: bytes, words: str) -> None:
    with pytest.raises(UnreadableEvent, match=words):
        parse(serialized)


def test_a_visitor_is_the_shopper_of_an_event_without_a_user() -> None:
    assert records.shopper_of(_event(visitor_id="v")) == "u"
    assert records.shopper_of(_event(user_id="", visitor_id="v")) == "v"
