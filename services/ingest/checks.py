"""What an event must say to be kept, beside the limits that every message has.

Choices: the first fault is raised, with its path within the event; `services.common.validation` goes first. Ids are
text that a person could write: what cannot be seen in a log (control characters) is refused. Knows neither items nor
shoppers.
"""

import math
import unicodedata
from collections.abc import Iterator

from aisle.v1 import event_service_pb2 as messages

from services.common.errors import InvalidField
from services.common.validation import check

FUTURE_SECONDS_MAX = 3600
"""How far ahead of the serving clock an event may be."""
EARLIEST_SECONDS = 946_684_800
"""1 January 2000, UTC, in seconds since 1970: before that, a clock was wrong."""

_NANOS_MAX = 999_999_999
_WITHOUT_ITEM = frozenset({messages.EVENT_TYPE_SEARCH, messages.EVENT_TYPE_IMPRESSION})
_UNSEEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, surrogates and separators of lines and paragraphs."""


def check_event(event: messages.Event, now_us: int) -> None:
    """Checks an event and sets its time where it has none.

    Args:
        event: As it arrived; `event_time` becomes `now_us` where it is not set.
        now_us: The serving clock, microseconds since 1970.

    Raises:
        InvalidField: names the first field at fault.
    """
    check(event)
    if not event.user_id and not event.visitor_id:
        raise InvalidField("user_id", "one of user_id and visitor_id is required")
    for field, text in _ids(event):
        _check_id(field, text)
    _check_needed(event)
    _check_propensities(event)
    for key in event.attributes:
        if not key.strip():
            raise InvalidField("attributes", "a name must not be blank")
    _check_time(event, now_us)


def _ids(event: messages.Event) -> Iterator[tuple[str, str]]:
    """Those that are given."""
    if event.user_id:
        yield "user_id", event.user_id
    if event.visitor_id:
        yield "visitor_id", event.visitor_id
    yield "event_id", event.event_id
    if event.session_id:
        yield "session_id", event.session_id
    if event.recommendation_id:
        yield "recommendation_id", event.recommendation_id
    if event.item_id:
        yield "item_id", event.item_id
    for position, item_id in enumerate(event.impression_item_ids):
        yield f"impression_item_ids[{position}]", item_id


def _check_id(field: str, text: str) -> None:
    if not text.strip():
        raise InvalidField(field, "must not be blank")
    if not text.isprintable() and any(unicodedata.category(character) in _UNSEEN for character in text):
        raise InvalidField(field, "must not have control characters")


def _check_needed(event: messages.Event) -> None:
    """What an event of its type is about."""
    kind = event.event_type
    if kind not in _WITHOUT_ITEM:
        if not event.item_id:
            raise InvalidField("item_id", "is required")
    elif kind == messages.EVENT_TYPE_SEARCH:
        if not event.search_query.strip():
            raise InvalidField("search_query", "is required")
    elif not event.impression_item_ids:
        raise InvalidField("impression_item_ids", "is required")


def _check_propensities(event: messages.Event) -> None:
    given, shown = event.impression_propensities, event.impression_item_ids
    if not given:
        return
    if len(given) != len(shown):
        raise InvalidField(
            "impression_propensities", f"must have none or one entry for each of {len(shown)} items, has {len(given)}"
        )
    for position, propensity in enumerate(given):
        if not (math.isfinite(propensity) and 0.0 <= propensity <= 1.0):
            raise InvalidField(f"impression_propensities[{position}]", f"must be 0 to 1, is {propensity}")


def _check_time(event: messages.Event, now_us: int) -> None:
    if not event.HasField("event_time"):
        event.event_time.FromMicroseconds(now_us)
        return
    seconds, nanos = event.event_time.seconds, event.event_time.nanos
    if not 0 <= nanos <= _NANOS_MAX:
        raise InvalidField("event_time", f"nanos must be 0 to {_NANOS_MAX}, is {nanos}")
    if seconds < EARLIEST_SECONDS:
        raise InvalidField("event_time", "must not be before 2000-01-01T00:00:00Z")
    if seconds * 1_000_000 + nanos // 1000 > now_us + FUTURE_SECONDS_MAX * 1_000_000:
        raise InvalidField("event_time", "must be at most one hour ahead of the server's clock")
