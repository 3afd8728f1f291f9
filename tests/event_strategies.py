"""Valid events for hypothesis, and a plain one to change."""

from typing import Any

from aisle.v1 import event_service_pb2 as messages
from aisle.v1 import recommendation_service_pb2 as recommendations
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import strategies as st

NOW_SECONDS = 1_514_610_000
NOW_US = NOW_SECONDS * 1_000_000


def plain_event(event_id: str = "event-1", **fields: Any) -> messages.Event:
    """A shopper viewed an item; `fields` replace or add."""
    known: dict[str, Any] = {
        "event_id": event_id,
        "event_type": messages.EVENT_TYPE_VIEW,
        "user_id": "shopper-1",
        "item_id": "bread",
    }
    return messages.Event(**(known | fields))


ids = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
times = st.builds(Timestamp, seconds=st.integers(946_684_800, NOW_SECONDS + 3599), nanos=st.integers(0, 999_999_999))
probabilities = st.floats(0, 1)


@st.composite
def events(draw: st.DrawFn) -> messages.Event:
    """Valid at `NOW_US`."""
    kind: Any = draw(st.sampled_from([kind for kind in messages.EventType.values() if kind]))
    fields: dict[str, Any] = {
        "session_id": ids,
        "recommendation_id": ids,
        "event_time": times,
        "quantity": st.integers(0, 1_000_000),
        "price": st.floats(0, 1e9),
        "rating": st.floats(1, 5),
        "placement": st.sampled_from(recommendations.Placement.values()),
        "attributes": st.dictionaries(ids, texts, max_size=3),
    }
    given_fields = {name: draw(values) for name, values in fields.items() if draw(st.booleans())}
    shopper = draw(st.sampled_from([("user_id",), ("visitor_id",), ("user_id", "visitor_id")]))
    given_fields |= {name: draw(ids) for name in shopper}
    if kind == messages.EVENT_TYPE_SEARCH:
        given_fields["search_query"] = draw(ids)
    elif kind == messages.EVENT_TYPE_IMPRESSION:
        shown = draw(st.lists(ids, min_size=1, max_size=5))
        given_fields["impression_item_ids"] = shown
        if draw(st.booleans()):
            count = len(shown)
            given_fields["impression_propensities"] = draw(st.lists(probabilities, min_size=count, max_size=count))
    else:
        given_fields["item_id"] = draw(ids)
    return messages.Event(event_id=draw(ids), event_type=kind, **given_fields)
