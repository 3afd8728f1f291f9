"""Reads a batch of events of which some may be damaged: each is parsed by itself, and the others are kept.

Choices:
- protobuf refuses a message as a whole when one string in it is not UTF-8. So the outer message is walked here, tag by
  tag, and every event is given to protobuf alone; whether an event can be read is for protobuf to say.
- What is damaged outside of the events (a length that points behind the end) damages the request, which is refused.
- Memory is bounded by what arrived: a walk ends at the first entry too many, and an event that is larger than any valid
  one is looked through before it is parsed, since a million empty strings take many times their encoded size.

Knows nothing of what an event may say (`checks.py`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from aisle.v1 import event_service_pb2 as messages
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from services.common.errors import InvalidField
from services.common.limits import EVENTS_MAX, ID_CHARACTERS_MAX

EVENT_BYTES_MAX = 2**18
"""An event whose every field is filled to its limit is smaller than this, also in four-byte characters."""

_FIELDS_MAX = 1000
"""Fields of one large event; every field of a valid one at its limit of entries comes to far fewer."""
_OTHER_FIELDS_MAX = 64
"""Fields of a request beside its events."""
_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_VARINT_BYTES_MAX = 10
_DAMAGED = "is damaged: its bytes are not those of an encoded event"


@dataclass(frozen=True, slots=True)
class Fault:
    """An event that could not be read."""

    event_id: str
    """Its id, cut to the length that one may have; empty where that could not be read either."""
    field: str
    """Path within the event; empty where no field can be told."""
    description: str
    """What is wrong, in English."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A `WriteEventsRequest` as far as it could be read."""

    tenant: str
    events: list[messages.Event | Fault]
    """In the order of the request, `EVENTS_MAX` at most."""
    validate_only: bool


class _Field(NamedTuple):
    number: int
    wire_type: int
    value: int
    """Of a varint."""
    start: int
    """Of any other: where it begins"""
    end: int
    """and ends."""


class _Damaged(Exception):  # noqa: N818 - what the bytes are
    """The bytes end within a field, or have a tag that there is not."""

    def __init__(self, number: int) -> None:
        """Args: number: the field's; 0 where not even that can be told."""
        super().__init__(number)
        self.number = number


def decode(raw: bytes) -> Batch:
    """Reads an encoded `WriteEventsRequest`.

    Raises:
        DecodeError: the request itself is damaged, or its tenant is not UTF-8.
        InvalidField: it has too many events.
    """
    tenant, validate_only = b"", False
    events: list[messages.Event | Fault] = []
    others = 0
    try:
        for field in _walk(raw):
            if (field.number, field.wire_type) == (2, _LENGTH_DELIMITED):
                if len(events) == EVENTS_MAX:
                    raise InvalidField("events", f"must have at most {EVENTS_MAX} entries, has more")
                events.append(decode_event(raw[field.start : field.end]))
                continue
            others += 1
            if others > _OTHER_FIELDS_MAX:
                raise DecodeError("too many fields")
            if (field.number, field.wire_type) == (1, _LENGTH_DELIMITED):
                tenant = raw[field.start : field.end]
            elif (field.number, field.wire_type) == (3, _VARINT):
                validate_only = field.value != 0
        return Batch(tenant.decode("utf-8"), events, validate_only)
    except (_Damaged, UnicodeDecodeError):
        raise DecodeError("Error parsing message") from None


def decode_event(raw: bytes) -> messages.Event | Fault:
    """Reads one encoded event; what it has that this version does not know is dropped."""
    if len(raw) > EVENT_BYTES_MAX and (fault := _too_many(raw)) is not None:
        return fault
    try:
        event = messages.Event.FromString(raw)
    except DecodeError:
        return _fault(raw)
    event.DiscardUnknownFields()
    return event


def _walk(raw: bytes) -> Iterator[_Field]:
    position, end = 0, len(raw)
    while position < end:
        tag, position = _varint(raw, position, 0)
        number, wire_type = tag >> 3, tag & 7
        value = 0
        if wire_type == _VARINT:
            value, position = _varint(raw, position, number)
            start = position
        elif wire_type == _LENGTH_DELIMITED:
            length, start = _varint(raw, position, number)
            position = start + length
        elif wire_type in _FIXED_BYTES:
            start = position
            position = start + _FIXED_BYTES[wire_type]
        else:  # groups, which proto3 cannot write
            raise _Damaged(number)
        if position > end or not number:
            raise _Damaged(number)
        yield _Field(number, wire_type, value, start, position)


def _varint(raw: bytes, position: int, number: int) -> tuple[int, int]:
    """The number at a position, and the position behind it."""
    value = 0
    for index, byte in enumerate(raw[position : position + _VARINT_BYTES_MAX]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position + index + 1
    raise _Damaged(number)


def _too_many(raw: bytes) -> Fault | None:
    """What is wrong with an event of more fields than a valid one can have, if it has so many."""
    event_id = ""
    try:
        for count, field in enumerate(_walk(raw)):
            if _is_id(field):
                event_id = _text_or_nothing(raw[field.start : field.end])
            if count == _FIELDS_MAX:
                return Fault(event_id, _name(field.number), f"the event has more than {_FIELDS_MAX} entries in all")
    except _Damaged:
        pass  # protobuf will find it, too
    return None


def _fault(raw: bytes) -> Fault:
    """The first field for which protobuf cannot have read an event."""
    event_id, seen, found = "", dict.fromkeys(_NAMES, 0), None
    try:
        for field in _walk(raw):
            value = raw[field.start : field.end]
            if _is_id(field):
                event_id = _text_or_nothing(value)
            if found is None and field.wire_type == _LENGTH_DELIMITED and field.number in _READERS:
                description = _unreadable(field.number, value)
                if description:
                    index = f"[{seen[field.number]}]" if field.number in _REPEATED else ""
                    found = (f"{_name(field.number)}{index}", description)
                seen[field.number] += 1
    except _Damaged as damaged:
        found = found or (_name(damaged.number), _DAMAGED)
    return Fault(event_id, *(found or ("", _DAMAGED)))


def _unreadable(number: int, value: bytes) -> str:
    """What keeps a field from being read; empty: nothing does."""
    try:
        _READERS[number](value)
    except UnicodeDecodeError as error:
        return f"must be UTF-8, is not at byte {error.start}"
    except DecodeError:
        return "is damaged, or a text within is not UTF-8"
    return ""


def _is_id(field: _Field) -> bool:
    return (field.number, field.wire_type) == (1, _LENGTH_DELIMITED)


def _text_or_nothing(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")[:ID_CHARACTERS_MAX]
    except UnicodeDecodeError:
        return ""


def _name(number: int) -> str:
    return _NAMES.get(number, "")


def _reader(field: Any) -> Callable[[bytes], object] | None:
    """Reads a field's bytes as protobuf does, as far as bytes can be wrong for it."""
    if field.type == FieldDescriptor.TYPE_STRING:
        return bytes.decode
    return GetMessageClass(field.message_type).FromString if field.message_type is not None else None


_EVENT_FIELDS = messages.Event.DESCRIPTOR.fields
_NAMES: Mapping[int, str] = {field.number: field.name for field in _EVENT_FIELDS}
_READERS: Mapping[int, Callable[[bytes], object]] = {
    field.number: reader for field in _EVENT_FIELDS if (reader := _reader(field)) is not None
}
_REPEATED = {field.number for field in _EVENT_FIELDS if field.is_repeated and field.type == FieldDescriptor.TYPE_STRING}
