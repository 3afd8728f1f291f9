"""Checks a request against `limits.py`: one walk over its fields for every service.

Choices: the first fault is raised, with its path; unset fields cost nothing. Rules that join several fields ("one of
user_id and visitor_id") belong to the servicer. Knows no message by name.
"""

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from services.common.errors import InvalidField
from services.common.limits import LIMITS, REQUIRED, Limit


def check(message: Message) -> None:
    """Checks required fields, limits and enum values, also of the messages within.

    Raises:
        InvalidField: names the first field at fault by its path from `message`, such as `promotions[1].name`.
    """
    _check(message, "")


def _check(message: Message, prefix: str) -> None:
    given = message.ListFields()
    names = {field.full_name for field, _ in given}
    for field in message.DESCRIPTOR.fields:
        if field.full_name in REQUIRED and field.full_name not in names:
            raise InvalidField(f"{prefix}{field.name}", "is required")
    for field, value in given:
        path = f"{prefix}{field.name}"
        limit = LIMITS.get(field.full_name)
        if limit is not None:
            _check_limit(path, value, limit)
        if field.type == FieldDescriptor.TYPE_ENUM:
            _check_enum(path, field, value)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            _check_messages(path, field, value)


def _check_messages(path: str, field: FieldDescriptor, value: Any) -> None:
    if _is_map(field):
        return
    if field.is_repeated:
        for position, entry in enumerate(value):
            _check(entry, f"{path}[{position}].")
    else:
        _check(value, f"{path}.")


def _check_enum(path: str, field: FieldDescriptor, number: int) -> None:
    # proto3 enums are open: a number that this version does not know arrives as it is.
    kind = field.enum_type
    if kind is not None and number not in kind.values_by_number:
        raise InvalidField(path, f"{number} is not a {kind.name}")


def _check_limit(path: str, value: Any, limit: Limit) -> None:
    # Written so that NaN fails.
    if limit.maximum is not None and not limit.minimum <= value <= limit.maximum:
        raise InvalidField(path, f"must be {limit.minimum} to {limit.maximum}, is {value}")
    if limit.entries is not None and len(value) > limit.entries:
        raise InvalidField(path, f"must have at most {limit.entries} entries, has {len(value)}")
    if limit.characters is not None:
        _check_characters(path, value, limit.characters)


def _check_characters(path: str, value: Any, characters: int) -> None:
    if isinstance(value, str):
        if len(value) > characters:
            raise InvalidField(path, f"must have at most {characters} characters, has {len(value)}")
        return
    entries = [text for pair in value.items() for text in pair] if hasattr(value, "items") else value
    for position, entry in enumerate(entries):
        _check_characters(path if hasattr(value, "items") else f"{path}[{position}]", entry, characters)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry
