"""What an item must say to be in the catalogue, beside the limits that every message has.

Choices: the first fault is raised, with its path within the item; the training's own schema must find none in an item
that passes here. Of several good items with one id the first stays. Knows nothing of what texts mean (`flags`).
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from aisle.v1 import catalog_service_pb2 as messages

from features.live_items import LiveItem
from services.common.errors import InvalidField, NotServed
from services.common.limits import DEFAULT_TENANT, ID_CHARACTERS_MAX, LIMITS
from services.common.validation import check

Checked = LiveItem | messages.ItemResult
"""An item that can be stored, or why it cannot."""

_UNSEEN = frozenset({"Cc", "Cs"})
"""Unicode's categories of control characters and surrogates."""
_LINES = str.maketrans("", "", "\t\n\r")
"""What a longer text may have of them."""


def check_request(request: messages.UpsertItemsRequest | messages.DeleteItemsRequest, field: str) -> None:
    """Checks what concerns a request as a whole.

    Args:
        request: Its items are not looked at.
        field: Where they are.

    Raises:
        InvalidField: there are none or too many, or the tenant's name is too long.
        NotServed: another tenant than the default one.
    """
    if len(request.tenant) > ID_CHARACTERS_MAX:
        raise InvalidField("tenant", f"must have at most {ID_CHARACTERS_MAX} characters, has {len(request.tenant)}")
    if request.tenant not in ("", DEFAULT_TENANT):
        raise NotServed("tenant")
    count, most = len(getattr(request, field)), LIMITS[f"{request.DESCRIPTOR.full_name}.{field}"].entries or 0
    if not count:
        raise InvalidField(field, "is required")
    if count > most:
        raise InvalidField(field, f"must have at most {most} entries, has {count}")


def checked(items: Iterable[messages.Item]) -> list[Checked]:
    """Each item as it is to be stored, or its result, in order."""
    found: list[Checked] = []
    seen: set[str] = set()
    for item in items:
        try:
            live = live_item(item)
            if live.item_id in seen:
                raise InvalidField("item_id", "is that of an earlier item of the request")
        except InvalidField as error:
            found.append(invalid(item.item_id, error.field, error.description))
        else:
            seen.add(live.item_id)
            found.append(live)
    return found


def live_item(item: messages.Item) -> LiveItem:
    """An item as it is to be stored, at revision 0.

    Raises:
        InvalidField: names the first field at fault.
    """
    check(item)
    for field, text in _names(item):
        _check_filled(field, text)
        _check_seen(field, text)
    for field, text in _texts(item):
        _check_seen(field, text.translate(_LINES))
    return LiveItem(
        item_id=item.item_id,
        title=item.title,
        description=item.description,
        category=tuple(item.category_path),
        brand=item.brand or None,
        price=item.price if item.HasField("price") else None,
        attributes=tuple(sorted(item.attributes.items())),
        in_stock=item.in_stock if item.HasField("in_stock") else True,
        sensitive=item.sensitive,
    )


def checked_ids(item_ids: Sequence[str]) -> list[str | messages.ItemResult]:
    """Each id, or the result of one that cannot be an item's, in order."""
    return [_checked_id(item_id) for item_id in item_ids]


def invalid(item_id: str, field: str, description: str) -> messages.ItemResult:
    """The result of an item that is refused."""
    return messages.ItemResult(
        item_id=item_id[:ID_CHARACTERS_MAX],  # one of megabytes would make a reply that clients refuse to read
        status=messages.ITEM_STATUS_INVALID,
        field=field,
        description=description,
    )


def _checked_id(item_id: str) -> str | messages.ItemResult:
    try:
        if len(item_id) > ID_CHARACTERS_MAX:
            raise InvalidField("item_id", f"must have at most {ID_CHARACTERS_MAX} characters, has {len(item_id)}")
        _check_filled("item_id", item_id)
        _check_seen("item_id", item_id)
    except InvalidField as error:
        return invalid(item_id, error.field, error.description)
    return item_id


def _names(item: messages.Item) -> Iterator[tuple[str, str]]:
    """What stands on one line and is not empty where it is given."""
    yield "item_id", item.item_id
    yield "title", item.title
    for position, name in enumerate(item.category_path):
        yield f"category_path[{position}]", name
    if item.brand:
        yield "brand", item.brand
    for name in item.attributes:
        yield "attributes", name


def _texts(item: messages.Item) -> Iterator[tuple[str, str]]:
    """What may be empty, and longer than a line."""
    yield "description", item.description
    for value in item.attributes.values():
        yield "attributes", value


def _check_filled(field: str, text: str) -> None:
    if not text.strip():
        raise InvalidField(field, "must not be blank")


def _check_seen(field: str, text: str) -> None:
    if not text.isprintable() and any(unicodedata.category(character) in _UNSEEN for character in text):
        raise InvalidField(field, "must not have control characters")
