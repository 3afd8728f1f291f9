"""Hypothesis strategies for requests, built from their descriptors.

Choices: one walk over a message's fields. What a field may hold follows from its type, its entry in `limits.py` and the
words known for its name, so that a new field is drawn without a change here. A careful request keeps every limit, knows
the shop and mostly gets a list; a careless one breaks limits here and there. The packages that do this for messages in
general (hypothesis-protobuf, hypothesis-pb) were given up before proto3's optional fields. Knows one request by name:
what the placements of Recommend need beside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
import polars as pl
from aisle.v1 import recommendation_service_pb2 as messages
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from services.common.limits import DEFAULT_TENANT, LIMITS, REQUIRED, Limit
from tests.request_mutations import damaged

Request = TypeVar("Request", bound=Message)
Draw = st.DrawFn

SHARED_FIELDS = frozenset({"tenant", "user_id", "visitor_id", "session_id"})
"""What a batch says for its parts."""
OFTEN = frozenset({"user_id", "context_item_ids", "page_size", "requests"})
SELDOM = frozenset({"validate_only", "tenant"})
"""Fields drawn more or less often than the others: with them all at one half, few requests would get far."""
NEEDS_CONTEXT = frozenset(
    {
        messages.PLACEMENT_SIMILAR_ITEMS,
        messages.PLACEMENT_OTHERS_YOU_MAY_LIKE,
        messages.PLACEMENT_FREQUENTLY_BOUGHT_TOGETHER,
    }
)

_INT32 = (-(2**31), 2**31 - 1)
_ODD_DOUBLES = (float("nan"), float("inf"), float("-inf"), -0.0, -1.0, 5e-324, 1.7e308)
_ODD_TEXTS = (
    "",
    " ",
    "\x00",
    "a" * 128,
    "a" * 129,
    "\U0001f9c0" * 128,
    "\U0001f9c0" * 129,
    "\U000e0001" * 128,
    "%s{}'\"\\",
)
_junk = st.one_of(st.sampled_from(_ODD_TEXTS), st.text(st.characters(codec="utf-8"), max_size=12))


@dataclass(frozen=True, slots=True)
class Words:
    """What a shop's callers know of it."""

    of_fields: Mapping[str, Sequence[str]]
    """Name of a string field to texts that mean something there."""
    experiments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Those that run, with their variants."""

    @classmethod
    def of_shop(cls, items: pl.DataFrame, users: Sequence[str], experiments: Mapping[str, Sequence[str]]) -> "Words":
        """From the ITEMS table and the shoppers' ids."""
        ids = [*items["item_id"], "no longer sold"]
        brands, shoppers = items["brand"].unique().sort().to_list(), [*users, "nobody"]
        categories = items["category"].explode().unique().sort().to_list()
        attributes = items.explode("attributes").select("attributes").unnest("attributes")
        names, values = (attributes[column].unique().sort().to_list() for column in ("key", "value"))
        words = {"tenant": [DEFAULT_TENANT], "user_id": shoppers, "visitor_id": shoppers, "name": names}
        words |= dict.fromkeys(("item_ids", "context_item_ids", "include_item_ids", "exclude_item_ids"), ids)
        words |= {f"{verb}_categories": categories for verb in ("include", "exclude")}
        words |= {f"{verb}_brands": brands for verb in ("include", "exclude")}
        words |= {f"{verb}_values": values for verb in ("include", "exclude")}
        return cls(words, experiments)


@st.composite
def requests(draw: Draw, kind: type[Request], words: Words, *, careless: bool = False) -> Request:
    """Messages of a kind.

    Args:
        draw: Given by hypothesis.
        kind: The generated class.
        words: What the caller knows.
        careless: Break limits, name what does not exist, and leave out what is required.
    """
    message = kind()
    _fill(draw, message, words, careless, frozenset({"page_token"} if not careless else ()))
    return message


def damaged_requests(kind: type[Message], words: Words) -> st.SearchStrategy[bytes]:
    """Encoded requests with some bytes changed, added, repeated or cut off; some can still be read."""

    def spoil(request: Message, seed: int) -> bytes:
        return damaged(request.SerializeToString(), np.random.default_rng(seed))

    return st.builds(spoil, requests(kind, words), st.integers(0, 2**32 - 1))


def _fill(draw: Draw, message: Message, words: Words, careless: bool, left_out: frozenset[str]) -> None:
    for each in cast(Sequence[FieldDescriptor], message.DESCRIPTOR.fields):
        required = each.full_name in REQUIRED and not careless
        if each.name not in left_out and (required or _chance(draw, _percent(each))):
            _set(draw, message, each, words, careless)
    if isinstance(message, messages.RecommendRequest) and not careless:
        _complete(draw, message, words)


def _percent(field: FieldDescriptor) -> int:
    if field.name in SELDOM:
        return 8
    return 75 if field.name in OFTEN or field.full_name in REQUIRED else 25


def _set(draw: Draw, message: Message, field: FieldDescriptor, words: Words, careless: bool) -> None:
    limit = LIMITS.get(field.full_name, Limit())
    careless_here = careless and _chance(draw, 30)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        getattr(message, field.name).update(_overrides(draw, words, careless))
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        _set_messages(draw, message, field, words, careless)
    elif field.is_repeated:
        values = [_value(draw, field, limit, words, careless_here) for _ in range(draw(st.integers(1, 4)))]
        if limit.entries is not None and _chance(draw, 2):  # the whole length, or just over it, for the cost of four
            values = [values[place % len(values)] for place in range(limit.entries + careless_here)]
        getattr(message, field.name).extend(values)
    else:
        setattr(message, field.name, _value(draw, field, limit, words, careless_here))


def _set_messages(draw: Draw, message: Message, field: FieldDescriptor, words: Words, careless: bool) -> None:
    left_out = SHARED_FIELDS | {"page_token"} if field.name == "requests" and not careless else frozenset()
    if not field.is_repeated:
        part = getattr(message, field.name)
        part.SetInParent()
        _fill(draw, part, words, careless, left_out)
        return
    entries = LIMITS.get(field.full_name, Limit(entries=3)).entries or 3
    for _ in range(entries + 1 if careless and _chance(draw, 5) else draw(st.integers(1, 3))):
        _fill(draw, getattr(message, field.name).add(), words, careless, left_out)


def _value(draw: Draw, field: FieldDescriptor, limit: Limit, words: Words, careless: bool) -> Any:
    if field.type == FieldDescriptor.TYPE_STRING:
        known = words.of_fields.get(field.name, ("",))
        if careless or (field.name not in SELDOM and _chance(draw, 10)):
            return draw(_junk if careless else _junk.map(lambda text: text[: limit.characters]))
        return draw(st.sampled_from(known))
    if field.enum_type is not None:
        known_numbers = sorted(set(field.enum_type.values_by_number) - {0})
        return draw(st.sampled_from([-1, 0, 99, *_INT32]) if careless else st.sampled_from(known_numbers))
    if field.type == FieldDescriptor.TYPE_BOOL:
        return draw(st.booleans())
    least, most = limit.minimum, limit.maximum if limit.maximum is not None else 100
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        inside = st.one_of(st.sampled_from([least, most]), st.floats(least, min(most, 8)))
        return draw(st.sampled_from([*_ODD_DOUBLES, most + 1.0]) if careless else inside)
    bounds = st.sampled_from([least, least + 1, most])
    outside = st.sampled_from([least - 1, most + 1, *_INT32])
    return draw(outside if careless else st.one_of(bounds, st.integers(least, min(most, 12))))


def _overrides(draw: Draw, words: Words, careless: bool) -> dict[str, str]:
    known = {name: draw(st.sampled_from(variants)) for name, variants in words.experiments.items()}
    return draw(st.dictionaries(_junk, _junk, max_size=21)) if careless else known


def _complete(draw: Draw, request: messages.RecommendRequest, words: Words) -> None:
    """What its placement needs beside."""
    if request.placement in NEEDS_CONTEXT and not request.context_item_ids:
        request.context_item_ids.append(draw(st.sampled_from(words.of_fields["context_item_ids"])))
    if request.placement == messages.PLACEMENT_CATEGORY and not request.filter.include_categories:
        request.filter.include_categories.append(draw(st.sampled_from(words.of_fields["include_categories"])))


def _chance(draw: Draw, percent: int) -> bool:
    return draw(st.integers(1, 100)) > 100 - percent  # shrinks to False
