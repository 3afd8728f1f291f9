"""The parts of a batch as requests of their own: checked, with the shopper of the whole page.

Knows the messages only.
"""

from aisle.v1 import recommendation_service_pb2 as messages

from services.common.errors import InvalidField

SHARED_FIELDS = ("tenant", "user_id", "visitor_id", "session_id")
"""What a batch says once for all its parts."""


def parts_of(batch: messages.BatchRecommendRequest) -> list[messages.RecommendRequest]:
    """Each request of the batch, with the batch's shared fields.

    Raises:
        InvalidField: a part says something else than the batch; names the part's field.
    """
    return [_part(batch, position) for position in range(len(batch.requests))]


def _part(batch: messages.BatchRecommendRequest, position: int) -> messages.RecommendRequest:
    part = messages.RecommendRequest()
    part.CopyFrom(batch.requests[position])
    for name in SHARED_FIELDS:
        shared, own = getattr(batch, name), getattr(part, name)
        if own not in ("", shared):
            raise InvalidField(f"requests[{position}].{name}", f"must be empty or {shared!r} as in the batch")
        setattr(part, name, shared)
    return part
