"""Reading batches of which some events are damaged: the others are what protobuf itself reads."""

import resource

import pytest
from aisle.v1 import event_service_pb2 as messages
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidField
from services.common.limits import EVENTS_MAX
from services.ingest.decode import EVENT_BYTES_MAX, Batch, Fault, decode, decode_event
from tests.event_strategies import events, plain_event, texts

GOOD = plain_event("good", attributes={"colour": "red"})


def varint(value: int) -> bytes:
    """As protobuf writes a number of 0 or more."""
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + varint(value >> 7)


def length_delimited(number: int, value: bytes) -> bytes:
    """A field of that number."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def batch(*encoded: bytes) -> bytes:
    """A request of already encoded events."""
    return b"".join(length_delimited(2, event) for event in encoded)


@given(st.lists(events(), max_size=5), texts, st.booleans())
def test_what_protobuf_reads_is_read_alike(listed: list[messages.Event], tenant: str, validate_only: bool) -> None:
    request = messages.WriteEventsRequest(tenant=tenant, events=listed, validate_only=validate_only)
    assert decode(request.SerializeToString()) == Batch(tenant, list(listed), validate_only)


@given(st.lists(events(), min_size=1, max_size=5), st.data())
def test_a_damaged_event_harms_no_other(listed: list[messages.Event], data: st.DataObject) -> None:
    encoded = [event.SerializeToString() for event in listed]
    position = data.draw(st.integers(0, len(listed) - 1))
    damaged = bytearray(encoded[position])
    for index in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=4)):
        damaged[index] = data.draw(st.integers(0, 255))
    encoded[position] = bytes(damaged)
    read = decode(batch(*encoded)).events
    assert [event for index, event in enumerate(read) if index != position] == [
        event for index, event in enumerate(listed) if index != position
    ]
    try:
        expected = messages.Event.FromString(bytes(damaged))
    except DecodeError:
        assert isinstance(read[position], Fault)
    else:
        expected.DiscardUnknownFields()
        # By bytes: a damaged number may be NaN, which equals nothing.
        event = read[position]
        assert isinstance(event, messages.Event)
        assert event.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        decode(raw)
    except DecodeError:
        with pytest.raises(DecodeError):
            messages.WriteEventsRequest.FromString(raw)


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        (length_delimited(4, b"a\xff"), "user_id"),
        (length_delimited(8, b"\xed\xa0\x80"), "item_id"),  # a lone surrogate
        (length_delimited(12, b"milk") + length_delimited(12, b"\xc3"), "impression_item_ids[1]"),
        (length_delimited(15, length_delimited(1, b"\xfe")), "attributes"),
        (length_delimited(3, b"\xff"), "event_time"),
        (length_delimited(8, b"milk")[:-1], "item_id"),
        (b"\x07", ""),  # a wire type that there is not
        (b"\xff" * 12, ""),
    ],
)
def test_the_damaged_field_is_named(extra: bytes, field: str) -> None:
    fault = decode_event(messages.Event(event_id="e-1").SerializeToString() + extra)
    assert isinstance(fault, Fault)
    assert (fault.event_id, fault.field) == ("e-1", field)
    assert fault.description


def test_an_id_that_is_not_text_is_named_and_left_out() -> None:
    fault = decode_event(length_delimited(1, b"\xff"))
    assert isinstance(fault, Fault)
    assert (fault.event_id, fault.field) == ("", "event_id")


def test_what_this_version_does_not_know_is_dropped() -> None:
    assert decode_event(GOOD.SerializeToString() + length_delimited(900, b"x" * 1000)) == GOOD


@pytest.mark.parametrize(
    "raw",
    [batch(GOOD.SerializeToString())[:-1], length_delimited(1, b"\xff"), b"\x02", length_delimited(70, b"") * 100],
)
def test_damage_outside_of_events_damages_the_request(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(raw)


def test_as_many_events_as_allowed_and_no_more() -> None:
    most = batch(GOOD.SerializeToString()) * EVENTS_MAX
    assert decode(most).events == [GOOD] * EVENTS_MAX
    with pytest.raises(InvalidField, match="events"):
        decode(most + batch(GOOD.SerializeToString()))


def test_the_largest_valid_event_is_below_the_size_that_is_looked_into() -> None:
    emoji = "🧀"
    largest = messages.Event(
        event_id=emoji * 128,
        user_id=emoji * 128,
        visitor_id=emoji * 128,
        session_id=emoji * 128,
        item_id=emoji * 128,
        recommendation_id=emoji * 128,
        search_query=emoji * 1024,
        impression_item_ids=[emoji * 128] * 100,
        impression_propensities=[0.5] * 100,
        attributes={f"{number:02}" + emoji * 254: emoji * 256 for number in range(20)},
    )
    assert largest.ByteSize() < EVENT_BYTES_MAX


@pytest.mark.parametrize(("number", "field"), [(12, "impression_item_ids"), (15, "attributes"), (99, "")])
def test_an_event_of_millions_of_fields_takes_no_memory_beyond_its_bytes(number: int, field: str) -> None:
    raw = messages.Event(event_id="e-1").SerializeToString() + length_delimited(number, b"") * 4_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fault = decode_event(raw)
    assert isinstance(fault, Fault)
    assert (fault.event_id, fault.field) == ("e-1", field)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2 * len(raw) // 1024


def test_a_large_event_that_can_be_read_is_read() -> None:
    large = plain_event(item_id="x" * 10_000_000)
    assert decode(batch(GOOD.SerializeToString(), large.SerializeToString())).events == [GOOD, large]
