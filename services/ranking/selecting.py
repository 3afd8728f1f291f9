"""The API's filter to what a list may hold.

Knows the messages and the release, not how lists come about.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from aisle.v1 import recommendation_service_pb2 as messages

from features.vocab import Rows, Vocabulary
from services.common.errors import InvalidField
from services.ranking.ordering import AttributeRule, Conditions, Facets, Mask, Selection, kept, wanted

_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Selected:
    """What a request's filter comes to."""

    selection: Selection
    """For the list itself."""
    fill: Selection | None
    """For what fills up a list that the filter has shortened; None: it stays short."""
    missing_ids: list[str]
    """Included ids that are not in the catalogue, in the order given."""

    def without(self, rows: Rows) -> "Selected":
        """The same, and nothing of `rows`."""
        return replace(
            self,
            selection=self.selection.without(rows),
            fill=None if self.fill is None else self.fill.without(rows),
        )


def shopper_id(request: messages.RecommendRequest | messages.RankRequest) -> str:
    """Whom a list is for: the known shopper, or else the anonymous one; empty for nobody in particular."""
    return request.user_id or request.visitor_id


def check_filter(chosen: messages.Filter, path: str) -> None:
    """Check what joins two fields.

    Raises:
        InvalidField: a price range whose ends are the wrong way round; named below `path`.
    """
    prices = chosen.price_range
    both = prices.HasField("minimum_price") and prices.HasField("maximum_price")
    if both and prices.minimum_price > prices.maximum_price:
        raise InvalidField(f"{path}.price_range.maximum_price", "must not be below minimum_price")


def select(facets: Facets, vocabulary: Vocabulary, chosen: messages.Filter) -> Selected:
    """Apply a filter, or the empty one, to the catalogue."""
    conditions, missing = conditions_of(vocabulary, chosen, facets.gone)
    bought_us = purchased_within_us(chosen)
    allowed = wanted(facets, conditions)
    fill = None
    if conditions.narrows and not chosen.strict:
        fill = Selection(allowed=kept(facets, conditions), purchased_within_us=bought_us)
    return Selected(Selection(allowed=allowed, purchased_within_us=bought_us), fill, missing)


def purchased_within_us(chosen: messages.Filter) -> int:
    """For how long a purchase keeps an item out of the list, microseconds; 0: it does not."""
    return int(chosen.exclude_purchased_within_days * _DAY_US)


def conditions_of(
    vocabulary: Vocabulary, chosen: messages.Filter, gone: Mask | None = None
) -> tuple[Conditions, list[str]]:
    """The conditions, and the included ids that are not in the catalogue, or no longer by `gone` bool [N]."""
    included, missing = known_rows(vocabulary, chosen.include_item_ids, gone)
    prices = chosen.price_range
    return Conditions(
        include_categories=tuple(chosen.include_categories),
        exclude_categories=tuple(chosen.exclude_categories),
        include_brands=tuple(chosen.include_brands),
        exclude_brands=tuple(chosen.exclude_brands),
        include_rows=included if chosen.include_item_ids else None,
        exclude_rows=known_rows(vocabulary, chosen.exclude_item_ids)[0] if chosen.exclude_item_ids else None,
        minimum_price=prices.minimum_price if prices.HasField("minimum_price") else None,
        maximum_price=prices.maximum_price if prices.HasField("maximum_price") else None,
        in_stock_only=chosen.in_stock_only,
        attributes=tuple(
            AttributeRule(
                name=rule.name,
                include_values=tuple(rule.include_values),
                exclude_values=tuple(rule.exclude_values),
            )
            for rule in chosen.attribute_conditions
        ),
        allow_sensitive=chosen.allow_sensitive,
    ), missing


def known_rows(vocabulary: Vocabulary, item_ids: Sequence[str], gone: Mask | None = None) -> tuple[Rows, list[str]]:
    """Rows of the known ids, and the unknown ids, each in order and once; what is `gone`, bool [N], is unknown."""
    distinct = list(dict.fromkeys(item_ids))
    rows = vocabulary.rows(distinct)
    if gone is not None:
        rows = np.where((rows >= 0) & gone[rows], np.int32(-1), rows)
    return rows[rows >= 0], [distinct[position] for position in np.flatnonzero(rows < 0)]
