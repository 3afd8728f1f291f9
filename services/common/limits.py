"""The limits of every request, in one table, with the words in which the protos state them.

Choices: keys are full field names; a field without an entry has no limit of its own. `tests/repo/test_protos.py` holds
the table and the comments in `protos/` together, in both directions. Knows nothing of how limits are checked
(`validation.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

ID_CHARACTERS_MAX = 128
NAME_CHARACTERS_MAX = 256
PAGE_TOKEN_CHARACTERS_MAX = 8192

PAGE_SIZE_MAX = 100
PAGE_SIZE_DEFAULT = 20
RANK_ITEMS_MAX = 500
CONTEXT_ITEMS_MAX = 100
FILTER_NAMES_MAX = 100
FILTER_ITEMS_MAX = 1000
PROMOTIONS_MAX = 10
EXPERIMENTS_MAX = 20
BATCH_REQUESTS_MAX = 10

EVENTS_MAX = 1000
UPSERTED_ITEMS_MAX = 500
DELETED_ITEMS_MAX = 1000
EXPORT_PAGE_SIZE_MAX = 1000
PRICE_MAX = 1_000_000_000
DEFAULT_TENANT = "default"

VECTOR_WIDTH = 128
VECTORS_MAX = 64
RESULT_COUNT_MAX = 1000
RESULT_COUNT_DEFAULT = 100
EXCLUDED_ROWS_MAX = 100_000
ALLOWED_ROWS_BYTES_MAX = 2**20


@dataclass(frozen=True, slots=True)
class Limit:
    """What one field may hold. All bounds are inclusive; None means unbounded."""

    minimum: int = 0
    """The least number; looked at only where `maximum` is given."""
    maximum: int | None = None
    """The greatest number."""
    entries: int | None = None
    """The greatest count of entries of a repeated field or map."""
    characters: int | None = None
    """The greatest length of a string, or of every entry of a repeated one, or of every key and value of a map."""

    def phrases(self) -> list[str]:
        """The words that the field's comment must contain, in lower case."""
        words = []
        if self.maximum is not None:
            words.append(f"{self.minimum} to {self.maximum}")
        if self.entries is not None:
            words.append(f"at most {self.entries} entries")
        if self.characters is not None:
            words.append(f"at most {self.characters} characters")
        return words


_ID = Limit(characters=ID_CHARACTERS_MAX)
_NAME = Limit(characters=NAME_CHARACTERS_MAX)
_NAMES = Limit(entries=FILTER_NAMES_MAX, characters=NAME_CHARACTERS_MAX)
_PRICE = Limit(maximum=PRICE_MAX)
_PAGE_TOKEN = Limit(characters=PAGE_TOKEN_CHARACTERS_MAX)
_CONTEXT_ITEMS = Limit(entries=CONTEXT_ITEMS_MAX, characters=ID_CHARACTERS_MAX)
_EXPERIMENTS = Limit(entries=EXPERIMENTS_MAX, characters=ID_CHARACTERS_MAX)
_SHOPPER = {"tenant": _ID, "user_id": _ID, "visitor_id": _ID}

_LIMITS_OF_MESSAGES: dict[str, dict[str, Limit]] = {
    "RecommendRequest": _SHOPPER
    | {
        "session_id": _ID,
        "context_item_ids": _CONTEXT_ITEMS,
        "page_size": Limit(maximum=PAGE_SIZE_MAX),
        "page_token": _PAGE_TOKEN,
        "promotions": Limit(entries=PROMOTIONS_MAX),
        "exploration_weight": Limit(maximum=1),
        "experiment_overrides": _EXPERIMENTS,
    },
    "RankRequest": _SHOPPER
    | {
        "session_id": _ID,
        "item_ids": Limit(entries=RANK_ITEMS_MAX, characters=ID_CHARACTERS_MAX),
        "context_item_ids": _CONTEXT_ITEMS,
        "experiment_overrides": _EXPERIMENTS,
    },
    "BatchRecommendRequest": _SHOPPER | {"session_id": _ID, "requests": Limit(entries=BATCH_REQUESTS_MAX)},
    "Filter": {
        "include_categories": _NAMES,
        "exclude_categories": _NAMES,
        "include_brands": _NAMES,
        "exclude_brands": _NAMES,
        "include_item_ids": Limit(entries=FILTER_ITEMS_MAX, characters=ID_CHARACTERS_MAX),
        "exclude_item_ids": Limit(entries=FILTER_ITEMS_MAX, characters=ID_CHARACTERS_MAX),
        "exclude_purchased_within_days": Limit(maximum=3650),
        "attribute_conditions": Limit(entries=20),
    },
    "PriceRange": {"minimum_price": _PRICE, "maximum_price": _PRICE},
    "AttributeCondition": {"name": _ID, "include_values": _NAMES, "exclude_values": _NAMES},
    "Promotion": {
        "name": _ID,
        "promoted_percent": Limit(maximum=100),
        "pinned_position": Limit(maximum=PAGE_SIZE_MAX),
    },
    "WriteEventsRequest": {"tenant": _ID, "events": Limit(entries=EVENTS_MAX)},
    "Event": {
        "event_id": _ID,
        "user_id": _ID,
        "visitor_id": _ID,
        "session_id": _ID,
        "recommendation_id": _ID,
        "item_id": _ID,
        "quantity": Limit(maximum=1_000_000),
        "price": _PRICE,
        "search_query": Limit(characters=1024),
        "impression_item_ids": Limit(entries=PAGE_SIZE_MAX, characters=ID_CHARACTERS_MAX),
        "rating": Limit(minimum=1, maximum=5),
        "attributes": Limit(entries=20, characters=NAME_CHARACTERS_MAX),
        "impression_propensities": Limit(entries=PAGE_SIZE_MAX),
    },
    "PurgeUserRequest": _SHOPPER,
    "SetOptOutRequest": _SHOPPER,
    "ExportUserRequest": _SHOPPER | {"page_size": Limit(maximum=EXPORT_PAGE_SIZE_MAX), "page_token": _PAGE_TOKEN},
    "UpsertItemsRequest": {"tenant": _ID, "items": Limit(entries=UPSERTED_ITEMS_MAX)},
    "Item": {
        "item_id": _ID,
        "title": Limit(characters=512),
        "description": Limit(characters=8192),
        "category_path": Limit(entries=10, characters=NAME_CHARACTERS_MAX),
        "brand": _NAME,
        "price": _PRICE,
        "attributes": Limit(entries=100, characters=NAME_CHARACTERS_MAX),
    },
    "DeleteItemsRequest": {
        "tenant": _ID,
        "item_ids": Limit(entries=DELETED_ITEMS_MAX, characters=ID_CHARACTERS_MAX),
    },
    "SearchRequest": {
        "tenant": _ID,
        "bundle_version": _ID,
        "vectors": Limit(entries=VECTORS_MAX * VECTOR_WIDTH),
        "result_count": Limit(maximum=RESULT_COUNT_MAX),
        "excluded_rows": Limit(entries=EXCLUDED_ROWS_MAX),
        "allowed_rows_bitmap": Limit(entries=ALLOWED_ROWS_BYTES_MAX),
    },
}

LIMITS: Mapping[str, Limit] = MappingProxyType(
    {
        f"aisle.v1.{message}.{field}": limit
        for message, fields in _LIMITS_OF_MESSAGES.items()
        for field, limit in fields.items()
    }
)
"""Full field name to its limit, for instance `aisle.v1.RecommendRequest.page_size`."""

REQUIRED: frozenset[str] = frozenset(
    {
        "aisle.v1.RecommendRequest.placement",
        "aisle.v1.RankRequest.item_ids",
        "aisle.v1.BatchRecommendRequest.requests",
        "aisle.v1.AttributeCondition.name",
        "aisle.v1.Promotion.name",
        "aisle.v1.Promotion.filter",
        "aisle.v1.WriteEventsRequest.events",
        "aisle.v1.Event.event_id",
        "aisle.v1.Event.event_type",
        "aisle.v1.UpsertItemsRequest.items",
        "aisle.v1.Item.item_id",
        "aisle.v1.Item.title",
        "aisle.v1.DeleteItemsRequest.item_ids",
        "aisle.v1.SearchRequest.bundle_version",
        "aisle.v1.SearchRequest.vectors",
    }
)
"""Full names of the fields that must be given whatever the others say; their comments say "Required."."""
