"""Each item of a request is judged by itself, and what passes is sound for the next training."""

from typing import Any

import polars as pl
import pytest
from aisle.v1 import catalog_service_pb2 as messages

from features.live_items import LiveItem, items_table
from features.validation import validate
from services.common.errors import InvalidField, NotServed
from services.ingest.catalog.bundle_items import BundleItems
from services.ingest.catalog.checks import check_request, checked, checked_ids, live_item
from services.ingest.catalog.folding import catalogue_table
from tests.shop import item as shop_item
from tests.shop import items as shop_items

BREAD: dict[str, Any] = {"item_id": "RYE-BREAD", "title": "Rye bread"}
FULL: dict[str, Any] = {
    **BREAD,
    "description": "Sliced.\nKeeps a week.",
    "category_path": ["bakery", "bread"],
    "brand": "Oven & Sons",
    "price": 2.5,
    "attributes": {"weight": "500 g", "allergens": "rye"},
    "in_stock": False,
    "sensitive": True,
}


def test_every_field_arrives_and_what_is_not_said_has_its_default() -> None:
    assert live_item(messages.Item(**FULL)) == LiveItem(
        item_id="RYE-BREAD",
        title="Rye bread",
        description="Sliced.\nKeeps a week.",
        category=("bakery", "bread"),
        brand="Oven & Sons",
        price=2.5,
        attributes=(("allergens", "rye"), ("weight", "500 g")),
        in_stock=False,
        sensitive=True,
    )
    assert live_item(messages.Item(**BREAD)) == LiveItem(item_id="RYE-BREAD", title="Rye bread")


def test_an_item_that_costs_nothing_has_a_price() -> None:
    assert live_item(messages.Item(**BREAD, price=0.0)).price == 0.0


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("item_id", {"item_id": ""}),
        ("item_id", {"item_id": " "}),
        ("item_id", {"item_id": "x" * 129}),
        ("item_id", {"item_id": "RYE\nBREAD"}),
        ("title", {"title": ""}),
        ("title", {"title": "\u3000"}),
        ("title", {"title": "x" * 513}),
        ("title", {"title": "Rye\x00bread"}),
        ("description", {"description": "x" * 8193}),
        ("description", {"description": "ring \x07"}),
        ("category_path", {"category_path": ["x"] * 11}),
        ("category_path[1]", {"category_path": ["bakery", ""]}),
        ("category_path[1]", {"category_path": ["bakery", "bre\tad"]}),
        ("category_path[0]", {"category_path": ["x" * 257]}),
        ("brand", {"brand": "  "}),
        ("brand", {"brand": "x" * 257}),
        ("price", {"price": -0.01}),
        ("price", {"price": 1e10}),
        ("price", {"price": float("nan")}),
        ("price", {"price": float("inf")}),
        ("attributes", {"attributes": {" ": "rye"}}),
        ("attributes", {"attributes": {"x" * 257: "rye"}}),
        ("attributes", {"attributes": {"allergens": "\x1b[2J"}}),
        ("attributes", {"attributes": {str(number): "" for number in range(101)}}),
    ],
)
def test_what_is_wrong_is_named_and_the_rest_of_the_batch_is_kept(field: str, change: dict[str, Any]) -> None:
    wrong = messages.Item(**(FULL | change))
    bad, good = checked([wrong, messages.Item(item_id="TEA", title="Tea")])
    assert isinstance(bad, messages.ItemResult)
    assert (bad.status, bad.field, bad.item_id) == (messages.ITEM_STATUS_INVALID, field, wrong.item_id[:128])
    assert bad.description
    assert good == LiveItem(item_id="TEA", title="Tea")


def test_the_first_good_item_of_an_id_stays() -> None:
    entries = checked(
        [
            messages.Item(item_id="TEA", title=""),
            messages.Item(item_id="TEA", title="Tea"),
            messages.Item(item_id="TEA", title="Another tea"),
        ]
    )
    assert [isinstance(entry, LiveItem) for entry in entries] == [False, True, False]
    assert isinstance(entries[2], messages.ItemResult)
    assert entries[2].field == "item_id"


def test_what_passes_is_sound_for_the_next_training() -> None:
    passed = [live_item(messages.Item(**fields)) for fields in (FULL, BREAD | {"item_id": "B", "price": 0.0})]
    rejects = validate(items_table(passed), "items", "live").rejects
    assert rejects.is_empty()


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (messages.UpsertItemsRequest(), "items"),
        (messages.UpsertItemsRequest(items=[messages.Item()] * 501), "items"),
        (messages.UpsertItemsRequest(tenant="x" * 129, items=[messages.Item()]), "tenant"),
        (messages.DeleteItemsRequest(), "item_ids"),
        (messages.DeleteItemsRequest(item_ids=["x"] * 1001), "item_ids"),
    ],
)
def test_a_request_without_sense_is_refused_as_a_whole(request_: Any, field: str) -> None:
    with pytest.raises(InvalidField) as caught:
        check_request(request_, "items" if isinstance(request_, messages.UpsertItemsRequest) else "item_ids")
    assert caught.value.field == field


def test_another_shop_is_not_served_and_a_broken_item_is_no_fault_of_the_request() -> None:
    with pytest.raises(NotServed):
        check_request(messages.UpsertItemsRequest(tenant="corner-shop", items=[messages.Item()]), "items")
    check_request(messages.UpsertItemsRequest(tenant="default", items=[messages.Item()] * 500), "items")


def test_an_id_that_no_item_can_have_is_named() -> None:
    found = checked_ids(["TEA", "", "x" * 129, "a\x00"])
    assert found[0] == "TEA"
    assert [result.field for result in found[1:] if isinstance(result, messages.ItemResult)] == ["item_id"] * 3


TEA = {**shop_item("TEA", "drinks", price=3.0, description="Green."), "attributes": [{"key": "b", "value": "2"}]}
LIVE_TEA = LiveItem(
    item_id="TEA", title="tea", description="Green.", category=("drinks",), price=3.0, attributes=(("b", "2"),)
)
BUNDLE = BundleItems("one", shop_items(TEA, shop_item("OAT-MILK")))


def variant(**changes: Any) -> LiveItem:
    fields = {name: getattr(LIVE_TEA, name) for name in LiveItem.__dataclass_fields__ if name != "vector"}
    return LiveItem(**(fields | changes))


@pytest.mark.parametrize(
    ("item", "is_represented", "needs_vector"),
    [
        (LIVE_TEA, True, False),
        (variant(revision=7), True, False),
        (variant(price=3.5), False, False),
        (variant(in_stock=False), False, False),
        (variant(flags=("tobacco",)), False, False),
        (variant(title="Tea"), False, True),
        (variant(description=""), False, True),
        (variant(deleted=True), False, False),
        (variant(item_id="COFFEE"), False, True),
        (variant(item_id="COFFEE", deleted=True), True, False),
    ],
)
def test_what_a_bundle_says_of_an_item(item: LiveItem, is_represented: bool, needs_vector: bool) -> None:
    assert (BUNDLE.represents(item), BUNDLE.needs_vector(item)) == (is_represented, needs_vector)


def test_a_flagged_item_is_represented_by_one_that_is_sensitive() -> None:
    bundle = BundleItems("two", shop_items(TEA | {"sensitive": True}))
    assert bundle.represents(variant(flags=("tobacco",)))
    assert not bundle.represents(LIVE_TEA)


def test_the_bundles_item_is_the_live_one_of_the_same_columns() -> None:
    assert BUNDLE.get("TEA") == LIVE_TEA
    assert BUNDLE.get("COFFEE") is None
    assert "TEA" in BUNDLE
    assert "COFFEE" not in BUNDLE


def test_the_file_for_the_training_says_what_is_hidden_and_what_is_gone() -> None:
    table = catalogue_table([LIVE_TEA, variant(item_id="A", flags=("tobacco",)), variant(item_id="B", deleted=True)])
    assert table.select("item_id", "sensitive", "deleted").rows() == [
        ("TEA", False, False),
        ("A", True, False),
        ("B", False, True),
    ]
    assert table.schema["attributes"] == pl.List(pl.Struct({"key": pl.String, "value": pl.String}))
