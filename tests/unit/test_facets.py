"""Which items meet a request's conditions, against the same rules asked of one item at a time."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from features.schema import ITEMS
from features.vocab import Rows
from services.ranking.ordering.facets import AttributeRule, Conditions, Facets, attribute_term, kept, wanted
from services.ranking.ordering.postings import Postings
from services.ranking.ordering.selection import Mask
from tests.strategies import Row, frame_of, unhurried

RYE, CROISSANT, CHEDDAR, OAT_DRINK, PORT, SURPRISE = range(6)
ALL_BUT_PORT = [RYE, CROISSANT, CHEDDAR, OAT_DRINK, SURPRISE]


def rows_of(*numbers: int) -> Rows:
    return np.array(numbers, dtype=np.int32)


def where(mask: Mask) -> list[int]:
    return np.flatnonzero(mask).tolist()


def an_item(**cells: Any) -> Row:
    """A row of the ITEMS table, of an item about which little is known; attributes as pairs."""
    row: Row = {"item_id": "x", "title": "x", "description": "", "category": [], "brand": None, "price": None}
    row |= {"attributes": [], "in_stock": True, "sensitive": False, **cells}
    row["attributes"] = [{"key": key, "value": value} for key, value in row["attributes"]]
    return row


@pytest.fixture(scope="module")
def facets() -> Facets:
    """A shop of six items; only the port is sensitive, only the cheddar is sold out."""
    items = [
        an_item(category=["Bakery", "Bread"], brand="Korn", price=3.0, attributes=[("diet", "vegan"), ("for", "two")]),
        an_item(category=["Bakery", "Pastry"], brand="Korn", price=2.0, attributes=[("diet", "vegetarian")]),
        an_item(category=["Dairy", "Cheese"], brand="Alm", price=6.0, attributes=[("diet", "meaty")], in_stock=False),
        an_item(category=["Dairy", "Plant"], attributes=[("diet", "vegan")]),
        an_item(category=["Cellar"], brand="Alm", price=9.0, sensitive=True),
        an_item(price=0.0, attributes=[("diet", "meaty"), ("diet", "vegan"), ("diet", "meaty")]),
    ]
    return Facets.of(frame_of("items", items))


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (Conditions(), ALL_BUT_PORT),
        (Conditions(allow_sensitive=True), [*ALL_BUT_PORT[:4], PORT, SURPRISE]),
        (Conditions(in_stock_only=True), [RYE, CROISSANT, OAT_DRINK, SURPRISE]),
        (Conditions(exclude_categories=("Bakery",)), [CHEDDAR, OAT_DRINK, SURPRISE]),
        (Conditions(exclude_categories=("Pastry", "Cheese", "Tools")), [RYE, OAT_DRINK, SURPRISE]),
        (Conditions(exclude_brands=("Korn", "Nobody")), [CHEDDAR, OAT_DRINK, SURPRISE]),
        (Conditions(exclude_rows=rows_of(SURPRISE, -1, RYE)), [CROISSANT, CHEDDAR, OAT_DRINK]),
        (Conditions(exclude_rows=rows_of()), ALL_BUT_PORT),
        (Conditions(exclude_brands=("Korn",), exclude_categories=("Dairy",), allow_sensitive=True), [PORT, SURPRISE]),
    ],
)
def test_exclusions_stock_and_sensitivity_hold_even_where_a_list_is_filled_up(
    facets: Facets, conditions: Conditions, expected: list[int]
) -> None:
    assert where(kept(facets, conditions)) == expected
    assert where(wanted(facets, conditions)) == expected
    assert not conditions.narrows


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (Conditions(include_categories=("Bakery",)), [RYE, CROISSANT]),
        (Conditions(include_categories=("Bread", "Dairy", "Tools")), [RYE, CHEDDAR, OAT_DRINK]),
        (Conditions(include_categories=("Cellar",)), []),
        (Conditions(include_categories=("bakery", "Bakery > Bread")), []),
        (Conditions(include_brands=("Alm", "Korn")), [RYE, CROISSANT, CHEDDAR]),
        (Conditions(include_brands=("Nobody",)), []),
        (Conditions(include_rows=rows_of(SURPRISE, PORT, -1, RYE, RYE)), [RYE, SURPRISE]),
        (Conditions(include_rows=rows_of(-1)), []),
        (Conditions(include_rows=rows_of()), []),
        (Conditions(minimum_price=3.0), [RYE, CHEDDAR]),
        (Conditions(maximum_price=3.0), [RYE, CROISSANT, SURPRISE]),
        (Conditions(minimum_price=2.0, maximum_price=3.0), [RYE, CROISSANT]),
        (Conditions(minimum_price=0.0), [RYE, CROISSANT, CHEDDAR, SURPRISE]),
        (Conditions(maximum_price=0.0), [SURPRISE]),
        (
            Conditions(attributes=(AttributeRule(name="diet", include_values=("vegan", "raw")),)),
            [RYE, OAT_DRINK, SURPRISE],
        ),
        (Conditions(attributes=(AttributeRule(name="diet", exclude_values=("meaty",)),)), [RYE, CROISSANT, OAT_DRINK]),
        (Conditions(attributes=(AttributeRule(name="for", exclude_values=("two",)),)), ALL_BUT_PORT[1:]),
        (Conditions(attributes=(AttributeRule(name="for", include_values=("vegan",)),)), []),
        (
            Conditions(attributes=(AttributeRule(name="diet", include_values=("vegan",), exclude_values=("meaty",)),)),
            [RYE, OAT_DRINK],
        ),
        (
            Conditions(
                attributes=(
                    AttributeRule(name="diet", include_values=("vegan",)),
                    AttributeRule(name="for", include_values=("two",)),
                )
            ),
            [RYE],
        ),
        (Conditions(include_categories=("Dairy",), include_brands=("Alm", "Korn")), [CHEDDAR]),
    ],
)
def test_inclusions_prices_and_attributes_narrow_what_is_kept(
    facets: Facets, conditions: Conditions, expected: list[int]
) -> None:
    assert where(wanted(facets, conditions)) == expected
    assert where(kept(facets, conditions)) == ALL_BUT_PORT
    assert conditions.narrows


def test_a_rule_without_values_is_no_condition(facets: Facets) -> None:
    conditions = Conditions(attributes=(AttributeRule(name="diet"),))
    assert where(wanted(facets, conditions)) == ALL_BUT_PORT
    assert not conditions.narrows


def test_a_row_beyond_the_catalogue_is_an_error(facets: Facets) -> None:
    with pytest.raises(IndexError):
        kept(facets, Conditions(exclude_rows=rows_of(6)))
    with pytest.raises(IndexError):
        wanted(facets, Conditions(include_rows=rows_of(6)))


def test_asking_leaves_the_facets_as_they_were(facets: Facets) -> None:
    before = [facets.price.copy(), facets.in_stock.copy(), facets.sensitive.copy()]
    wanted(facets, Conditions(include_brands=("Alm",), minimum_price=1.0, in_stock_only=True))[:] = True
    kept(facets, Conditions(in_stock_only=True))[:] = False
    for now, then in zip([facets.price, facets.in_stock, facets.sensitive], before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_what_most_requests_may_show_is_one_mask_that_nobody_can_write_to(facets: Facets) -> None:
    shared = kept(facets, Conditions())
    assert shared is wanted(facets, Conditions()) is facets.without_sensitive
    assert where(shared) == ALL_BUT_PORT
    with pytest.raises(ValueError, match="read-only"):
        shared[0] = False
    assert where(kept(facets, Conditions(allow_sensitive=True))) == list(range(6))


@pytest.mark.parametrize(
    ("pair", "look_alike"),
    [
        (("a:b", "c"), ("a", "b:c")),
        (("a", ":b"), ("a:", "b")),
        (("a", "bc"), ("ab", "c")),
        (("1:a", "b"), ("1", ":ab")),
        (("a", ""), ("", "a")),
        (("näh", "e"), ("nä", "he")),
        (("🧵", "x"), ("🧵x", "")),
    ],
)
def test_attributes_whose_name_and_value_read_alike_when_joined_are_told_apart(
    pair: tuple[str, str], look_alike: tuple[str, str]
) -> None:
    facets = Facets.of(frame_of("items", [an_item(attributes=[pair]), an_item(attributes=[look_alike])]))
    for row, (name, value) in enumerate((pair, look_alike)):
        rule = AttributeRule(name=name, include_values=(value,))
        assert where(wanted(facets, Conditions(attributes=(rule,)))) == [row]


texts = st.text("a1:é🧵", max_size=3)


@unhurried
@given(st.tuples(texts, texts), st.tuples(texts, texts))
def test_no_two_attributes_share_a_term(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (attribute_term(*one) == attribute_term(*other)) == (one == other)


def test_each_term_has_its_rows_once_and_ascending() -> None:
    found = Postings.of(pl.Series([["b", "a", "b"], None, ["a"], [], [None, "c"]], dtype=pl.List(pl.String)))
    assert found.terms.ids == ["b", "a", "c"]
    assert found.starts.tolist() == [0, 1, 3, 4]
    assert found.rows.tolist() == [0, 0, 2, 4]
    assert found.row_count == 5
    assert found.starts.dtype == np.int64
    assert found.rows.dtype == np.int32


def test_terms_that_are_not_lists_are_refused() -> None:
    with pytest.raises(pl.exceptions.PolarsError):
        Postings.of(pl.Series(["a", "b"]))


def test_an_empty_catalogue_has_no_items_to_choose_from() -> None:
    facets = Facets.of(pl.DataFrame(schema=ITEMS))
    conditions = Conditions(
        include_categories=("Bakery",),
        exclude_brands=("Korn",),
        include_rows=rows_of(-1),
        minimum_price=1.0,
        in_stock_only=True,
        attributes=(AttributeRule(name="diet", include_values=("vegan",)),),
    )
    for mask in (kept(facets, conditions), wanted(facets, conditions), kept(facets, Conditions())):
        assert mask.shape == (0,)
        assert mask.dtype == np.bool_
    assert facets.price.dtype == np.float64
    assert facets.brands.rows.dtype == np.int32
    assert facets.brands.starts.tolist() == [0]


words = st.sampled_from(["a", "b", "a:b", "1:a", "ä", "🧵"])
asked = st.lists(words | st.just("nowhere"), max_size=2).map(tuple)
numbers = st.sampled_from([0.0, 1.0, 1.5, 2.0])
some_items = st.builds(
    an_item,
    category=st.lists(words, max_size=3),
    brand=st.none() | words,
    price=st.none() | numbers,
    attributes=st.lists(st.tuples(words, words), max_size=4),
    in_stock=st.booleans(),
    sensitive=st.booleans(),
)
rules = st.builds(AttributeRule, name=words | st.just("nowhere"), include_values=asked, exclude_values=asked)


@st.composite
def shops_and_conditions(draw: st.DrawFn) -> tuple[list[Row], Conditions]:
    """Items of few words, so that most conditions are met by some; about half of the conditions are not given."""
    items = draw(st.lists(some_items, max_size=8))
    lists = st.just(()) | asked
    rows = st.none() | st.lists(st.integers(-1, len(items) - 1), max_size=4).map(lambda found: rows_of(*found))
    ends = st.none() | numbers
    conditions = st.builds(
        Conditions,
        include_categories=lists,
        exclude_categories=lists,
        include_brands=lists,
        exclude_brands=lists,
        include_rows=rows,
        exclude_rows=rows,
        minimum_price=ends,
        maximum_price=ends,
        in_stock_only=st.booleans(),
        attributes=st.just(()) | st.lists(rules, max_size=2).map(tuple),
        allow_sensitive=st.booleans(),
    )
    return items, draw(conditions)


def plainly_kept(number: int, item: Row, asked: Conditions) -> bool:
    """The contract's words about one item, one condition after the other."""
    if item["sensitive"] and not asked.allow_sensitive:
        return False
    if asked.in_stock_only and not item["in_stock"]:
        return False
    if any(name in asked.exclude_categories for name in item["category"]):
        return False
    if item["brand"] is not None and item["brand"] in asked.exclude_brands:
        return False
    return asked.exclude_rows is None or number not in asked.exclude_rows.tolist()


def plainly_in_range(price: float | None, low: float | None, high: float | None) -> bool:
    if low is None and high is None:
        return True
    return price is not None and (low is None or low <= price) and (high is None or price <= high)


def plainly_holds(rule: AttributeRule, item: Row) -> bool:
    values = {pair["value"] for pair in item["attributes"] if pair["key"] == rule.name}
    return (not rule.include_values or bool(values & {*rule.include_values})) and not values & {*rule.exclude_values}


def plainly_wanted(number: int, item: Row, asked: Conditions) -> bool:
    """The same about every condition."""
    return (
        plainly_kept(number, item, asked)
        and (not asked.include_categories or not {*asked.include_categories}.isdisjoint(item["category"]))
        and (not asked.include_brands or item["brand"] in asked.include_brands)
        and (asked.include_rows is None or number in asked.include_rows.tolist())
        and plainly_in_range(item["price"], asked.minimum_price, asked.maximum_price)
        and all(plainly_holds(rule, item) for rule in asked.attributes)
    )


@settings(unhurried, max_examples=300)
@given(shops_and_conditions())
@example(([], Conditions()))
def test_the_masks_are_what_the_contract_says_of_each_item(case: tuple[list[Row], Conditions]) -> None:
    items, conditions = case
    facets = Facets.of(frame_of("items", items))
    filled, chosen = kept(facets, conditions), wanted(facets, conditions)
    assert filled.tolist() == [plainly_kept(number, item, conditions) for number, item in enumerate(items)]
    assert chosen.tolist() == [plainly_wanted(number, item, conditions) for number, item in enumerate(items)]
    assert filled.dtype == chosen.dtype == np.bool_
    if not conditions.narrows:
        np.testing.assert_array_equal(chosen, filled)
