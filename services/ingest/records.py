"""An event as a message, as the columns of the log, and back.

Choices: names of enums are written as in schema.EVENT_TYPES: without their prefix, in small letters, with dashes. A
text that was not given is null. Times keep microseconds.

Knows nothing of streams and files, nor of which events count.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl
from aisle.v1 import event_service_pb2 as messages
from aisle.v1 import recommendation_service_pb2 as shared
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import DecodeError

from features.clock import to_us
from features.event_log import LOGGED
from features.schema import EVENT_TYPES, INSTANT
from services.common.streams import EntryId

Event = messages.Event

_TENANT = "default"
_TEXTS = ("user_id", "visitor_id", "session_id", "recommendation_id", "item_id", "search_query")
_LISTS = ("impression_item_ids", "impression_propensities")
_TYPE_PREFIX, _PLACEMENT_PREFIX = "EVENT_TYPE_", "PLACEMENT_"
_SECONDS_MAX = 253_402_300_800
"""The year 10000; before as far as after: what a time column and a clock can tell."""


class UnreadableEvent(ValueError):  # noqa: N818 - named for what it is
    """Bytes that are no event, or an event that must never have been accepted; says why."""


def parse(serialized: bytes) -> Event:
    """The event of a stream's entry.

    Raises:
        UnreadableEvent: it is none, or lacks its id, shopper, type or time.
    """
    try:
        event = Event.FromString(serialized)
    except DecodeError:
        raise UnreadableEvent("these bytes are not an event") from None
    if not event.event_id:
        raise UnreadableEvent("event_id: is missing")
    if not shopper_of(event):
        raise UnreadableEvent("user_id: is missing, and visitor_id too")
    if event.event_type not in _TYPE_NAMES:
        raise UnreadableEvent(f"event_type: {event.event_type} is not known")
    if not event.HasField("event_time") or abs(event.event_time.seconds) >= _SECONDS_MAX:
        raise UnreadableEvent("event_time: is missing or out of range")
    return event


def shopper_of(event: Event) -> str:
    """Whose event it is: the known shopper's, or else the visitor's."""
    return event.user_id or event.visitor_id


def ids_of(event: Event) -> tuple[str, ...]:
    """Whom it names: the known shopper, the visitor, or both."""
    return tuple(name for name in (event.user_id, event.visitor_id) if name)


def type_name(event: Event) -> str:
    """One of schema.EVENT_TYPES."""
    return _TYPE_NAMES[event.event_type]


def time_us(event: Event) -> int:
    """When it happened, microseconds since 1970, UTC."""
    return int(event.event_time.seconds * 1_000_000 + event.event_time.nanos // 1000)


def price_of(event: Event) -> float | None:
    """The price of one piece, if it is known."""
    return event.price if event.HasField("price") else None


def logged_frame(shard: int, entries: Sequence[tuple[EntryId, Event]]) -> pl.DataFrame:
    """LOGGED rows of a shard's entries, in order."""
    events = [event for _, event in entries]
    columns: dict[str, Iterable[Any]] = {
        "shard": [shard] * len(entries),
        "entry": [str(entry) for entry, _ in entries],
        "arrival_time": _instants(entry.milliseconds * 1000 for entry, _ in entries),
        "tenant": [_TENANT] * len(entries),
        "event_id": [event.event_id for event in events],
        "event_type": [type_name(event) for event in events],
        "event_time": _instants(map(time_us, events)),
        "quantity": [event.quantity for event in events],
        "price": [price_of(event) for event in events],
        "placement": [_placement_name(event.placement) for event in events],
        "rating": [event.rating if event.HasField("rating") else None for event in events],
        "attributes": [_pairs(event.attributes) for event in events],
    }
    columns |= {name: [getattr(event, name) or None for event in events] for name in _TEXTS}
    columns |= {name: [list(getattr(event, name)) for event in events] for name in _LISTS}
    return pl.DataFrame({name: pl.Series(columns[name], dtype=dtype, strict=True) for name, dtype in LOGGED.items()})


def event_of(row: Mapping[str, Any]) -> Event:
    """The event of a row of LOGGED.

    Raises:
        ValueError: the row's type or placement has no name in the protocol.
    """
    event = Event(
        event_id=row["event_id"],
        quantity=row["quantity"] or 0,
        price=row["price"],
        rating=row["rating"],
        attributes={pair["key"]: pair["value"] for pair in row["attributes"] or ()},
    )
    event.event_type = _constant_of(messages.EventType, _TYPE_PREFIX, row["event_type"])
    event.placement = _placement(row["placement"])
    moment: datetime = row["event_time"]
    event.event_time.FromMicroseconds(to_us(moment))
    for name in _TEXTS:
        setattr(event, name, row[name] or "")
    for name in _LISTS:
        getattr(event, name).extend(row[name] or ())
    return event


def _pairs(attributes: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": attributes[key]} for key in sorted(attributes)]


def _instants(microseconds: Iterable[int]) -> pl.Series:
    return pl.Series(list(microseconds), dtype=pl.Int64).cast(INSTANT)


def _names(enum: EnumTypeWrapper, prefix: str) -> dict[int, str]:
    """Number to name of all that is specified."""
    return {number: name.removeprefix(prefix).lower().replace("_", "-") for name, number in enum.items() if number}


def _constant_of(enum: EnumTypeWrapper, prefix: str, name: str) -> Any:
    return enum.Value(prefix + name.upper().replace("-", "_"))


def _placement_name(number: int) -> str | None:
    return _PLACEMENT_NAMES.get(number, str(number)) if number else None  # a newer caller's number stays what it is


def _placement(name: str | None) -> Any:
    if name is None or name.isdigit():
        return int(name or 0)
    return _constant_of(shared.Placement, _PLACEMENT_PREFIX, name)


_TYPE_NAMES = _names(messages.EventType, _TYPE_PREFIX)
_PLACEMENT_NAMES = _names(shared.Placement, _PLACEMENT_PREFIX)
if set(_TYPE_NAMES.values()) != set(EVENT_TYPES):
    raise RuntimeError("the protocol and the schema of events name different types of events")
