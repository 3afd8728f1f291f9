"""From the API's filter to rows, on a shop of six items whose right answers are known."""

import numpy as np
import polars as pl
import pytest
from aisle.v1 import recommendation_service_pb2 as messages

from features.schema import ITEMS
from features.vocab import Vocabulary
from services.common.errors import InvalidField
from services.ranking.ordering import Facets, Selection
from services.ranking.selecting import Selected, check_filter, select

SHELF = [
    ("oat", ["Dairy", "Milk"], "Oatly", 2.0, "1 l", True, False),
    ("cow", ["Dairy", "Milk"], "Farm", 1.5, "1 l", True, False),
    ("rye", ["Bakery"], "Farm", 3.0, "500 g", False, False),
    ("gin", ["Cellar"], "Still", 20.0, "1 l", True, True),
    ("tea", ["Pantry"], None, None, "100 g", True, False),
    ("pie", ["Bakery", "Fine"], "Farm", 9.0, "500 g", True, False),
]
NAMES = [row[0] for row in SHELF]
TABLE = pl.DataFrame(
    [
        {"item_id": name, "title": name, "category": path, "brand": brand, "price": price, "in_stock": stock}
        | {"description": "", "sensitive": sensitive, "attributes": [{"key": "size", "value": size}]}
        for name, path, brand, price, size, stock, sensitive in SHELF
    ],
    schema=ITEMS,
)
FACETS, VOCABULARY = Facets.of(TABLE), Vocabulary(NAMES)


def selected(**fields: object) -> Selected:
    chosen = messages.Filter(**fields)  # type: ignore[arg-type]
    check_filter(chosen, "filter")
    return select(FACETS, VOCABULARY, chosen)


def names(selection: Selection) -> set[str]:
    return {NAMES[row] for row in np.flatnonzero(selection.mask(len(NAMES)))}


PLAIN = {"oat", "cow", "rye", "tea", "pie"}
CASES = [
    ({}, PLAIN),
    ({"allow_sensitive": True}, set(NAMES)),
    ({"include_categories": ["Milk", "Fine"]}, {"oat", "cow", "pie"}),
    ({"exclude_categories": ["Bakery"]}, {"oat", "cow", "tea"}),
    ({"include_brands": ["Farm"], "exclude_categories": ["Fine"]}, {"cow", "rye"}),
    ({"exclude_brands": ["Farm"]}, {"oat", "tea"}),
    ({"include_item_ids": ["pie", "gin", "gone"]}, {"pie"}),
    ({"include_item_ids": ["gone"]}, set()),
    ({"exclude_item_ids": ["pie", "gone"]}, PLAIN - {"pie"}),
    ({"in_stock_only": True}, PLAIN - {"rye"}),
    ({"price_range": {"minimum_price": 2}}, {"oat", "rye", "pie"}),
    ({"price_range": {"minimum_price": 2, "maximum_price": 3}}, {"oat", "rye"}),
    ({"price_range": {"maximum_price": 0}}, set()),
    ({"attribute_conditions": [{"name": "size", "include_values": ["1 l", "100 g"]}]}, {"oat", "cow", "tea"}),
    ({"attribute_conditions": [{"name": "size", "exclude_values": ["1 l"]}]}, {"rye", "tea", "pie"}),
    ({"attribute_conditions": [{"name": "colour", "include_values": ["red"]}]}, set()),
]


@pytest.mark.parametrize(("fields", "expected"), CASES)
def test_what_passes_a_filter(fields: dict[str, object], expected: set[str]) -> None:
    assert names(selected(**fields).selection) == expected


NARROWING = [{"include_categories": ["Milk"]}, {"price_range": {"maximum_price": 2}}, {"include_item_ids": ["oat"]}]


@pytest.mark.parametrize("narrowing", NARROWING)
def test_a_short_list_is_filled_with_what_keeps_the_exclusions(narrowing: dict[str, object]) -> None:
    kept = {"exclude_brands": ["Oatly"], "in_stock_only": True, "exclude_purchased_within_days": 3}
    found = selected(**narrowing, **kept)
    assert found.fill is not None
    assert names(found.fill) == {"cow", "tea", "pie"}
    assert found.fill.purchased_within_us == found.selection.purchased_within_us == 3 * 86_400_000_000
    assert selected(**narrowing, strict=True).fill is None
    assert selected(**kept).fill is None


def test_included_ids_that_are_unknown_are_named_in_order_and_once() -> None:
    assert selected(include_item_ids=["lost", "oat", "gone", "lost"]).missing_ids == ["lost", "gone"]
    assert selected(exclude_item_ids=["lost"]).missing_ids == []


def test_rows_on_the_page_already_are_in_neither_list() -> None:
    found = selected(include_categories=["Milk"])
    rows = VOCABULARY.rows(["oat", "tea"])
    without = found.without(rows)
    assert names(without.selection) == {"cow"}
    assert without.fill is not None
    assert names(without.fill) == {"cow", "rye", "pie"}
    assert found.without(rows[:0]).selection is found.selection


def test_prices_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(InvalidField, match=r"filter\.price_range\.maximum_price: must not be below minimum_price"):
        selected(price_range={"minimum_price": 3, "maximum_price": 2})
