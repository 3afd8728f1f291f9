"""Every field of a filter over the API, on the shop whose right answers can be worked out on paper."""

from dataclasses import dataclass
from typing import Any

import pytest
from aisle.v1 import recommendation_service_pb2 as messages

from tests.integration.known_service import fields_of, fields_of_type, names_of
from tests.integration.known_shop import (
    DUE_AGAIN,
    NAMES,
    SHOWN,
    SOLD_OUT,
    WITHOUT_SIZE,
    by_appeal,
    by_demand,
)
from tests.integration.tiny_service import RunningService


def places(*wanted: int) -> set[str]:
    """The items at these places of every shelf."""
    return {name for name in SHOWN if int(name[-1]) in wanted}


def shelves(*wanted: str) -> set[str]:
    """All items of these shelves."""
    return {name for name in SHOWN if name[:-2] in wanted}


@dataclass(frozen=True)
class Case:
    """A filter of one kind, and what it says of the shop's items."""

    chosen: dict[str, Any]
    passing: set[str]
    filling: set[str]
    """What may fill the list up where it need not be strict."""


SIZE_LARGE = {"name": "size", "include_values": ["large"]}
CASES = {
    "nothing": Case({}, SHOWN, SHOWN),
    "one_of_some_categories_at_any_level": Case(
        {"include_categories": ["bakery", "drink"]}, shelves("bakery", "cellar"), SHOWN
    ),
    "none_of_a_category": Case(
        {"exclude_categories": ["food"]}, shelves("cellar", "pantry"), shelves("cellar", "pantry")
    ),
    "one_of_some_brands": Case({"include_brands": ["brand-0", "none"]}, places(0, 3) - {"pantry-0"}, SHOWN),
    "none_of_some_brands": Case({"exclude_brands": ["brand-1", "brand-2"]}, places(0, 3), places(0, 3)),
    "one_of_some_items": Case({"include_item_ids": ["pantry-5", "gone", "dairy-2"]}, {"pantry-5", "dairy-2"}, SHOWN),
    "none_of_some_items": Case({"exclude_item_ids": ["dairy-0", "gone"]}, SHOWN - {"dairy-0"}, SHOWN - {"dairy-0"}),
    "not_cheaper": Case({"price_range": {"minimum_price": 30}}, {"pantry-2", "pantry-3", "pantry-4"}, SHOWN),
    "not_dearer": Case({"price_range": {"maximum_price": 3}}, {"dairy-0", "dairy-1", "pantry-5"}, SHOWN),
    "between": Case({"price_range": {"minimum_price": 2, "maximum_price": 3}}, {"dairy-1", "pantry-5"}, SHOWN),
    "for_sale": Case({"in_stock_only": True}, SHOWN - {SOLD_OUT}, SHOWN - {SOLD_OUT}),
    "not_bought_lately": Case(
        {"exclude_purchased_within_days": 50}, SHOWN - {"dairy-2", "bakery-3"}, SHOWN - {"dairy-2", "bakery-3"}
    ),
    "with_an_attribute": Case({"attribute_conditions": [SIZE_LARGE]}, places(0, 2, 4) - {WITHOUT_SIZE}, SHOWN),
    "without_an_attribute": Case(
        {"attribute_conditions": [{"name": "size", "exclude_values": ["large"]}]},
        places(1, 3, 5) | {WITHOUT_SIZE},
        SHOWN,
    ),
    "with_two_attributes": Case(
        {"attribute_conditions": [SIZE_LARGE, {"name": "origin", "include_values": ["near"]}]},
        places(0, 2) - {WITHOUT_SIZE},
        SHOWN,
    ),
    "also_what_is_sensitive": Case({"allow_sensitive": True}, set(NAMES), set(NAMES)),
    "two_conditions_at_once": Case(
        {"include_categories": ["food"], "exclude_brands": ["brand-0"]},
        places(1, 2, 4, 5) & shelves("dairy", "bakery"),
        places(1, 2, 4, 5) | {"pantry-0"},
    ),
    "what_nothing_has": Case({"include_brands": ["none"]}, set(), SHOWN),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def test_every_field_of_a_filter_is_in_a_case() -> None:
    asked = [fields_of(messages.Filter(**case.chosen, strict=True)) for case in CASES.values()]
    assert set().union(*asked) == fields_of_type(messages.Filter.DESCRIPTOR)


@every_case
async def test_a_strict_list_is_what_passes_in_the_placements_order(known: RunningService, case: Case) -> None:
    chosen = case.chosen | {"strict": True}
    home = await known.recommended_for("regular", filter=chosen)
    assert names_of(home) == by_appeal(case.passing, DUE_AGAIN)
    sellers = await known.recommended_for("regular", placement=messages.PLACEMENT_BEST_SELLERS, filter=chosen)
    assert names_of(sellers) == by_demand(case.passing)


@every_case
async def test_another_list_goes_on_with_best_sellers_that_keep_the_exclusions(
    known: RunningService, case: Case
) -> None:
    behind = by_demand(case.filling - case.passing)
    home = await known.recommended_for("regular", filter=case.chosen)
    assert names_of(home) == by_appeal(case.passing, DUE_AGAIN) + behind
    filling = {result.source for result in home.results[len(case.passing) :]}
    assert filling <= {messages.CANDIDATE_SOURCE_POPULAR}
    sellers = await known.recommended_for("regular", placement=messages.PLACEMENT_BEST_SELLERS, filter=case.chosen)
    assert names_of(sellers) == by_demand(case.passing) + behind


@every_case
async def test_given_items_that_do_not_pass_are_left_out(known: RunningService, case: Case) -> None:
    asked = messages.RankRequest(user_id="regular", item_ids=by_demand(NAMES), filter=messages.Filter(**case.chosen))
    assert names_of(await known.client.rank(asked)) == by_appeal(case.passing, DUE_AGAIN)


async def test_only_purchases_of_this_shopper_and_within_the_days_count(known: RunningService) -> None:
    for user_id, days, left_out in (
        ("regular", 1, {"dairy-2"}),
        ("regular", 99, {"dairy-2", "bakery-3", "cellar-1"}),
        ("fan", 99, set()),
        ("", 99, set()),
    ):
        # A purchase of exactly so many days ago is no longer within them.
        chosen = {"exclude_purchased_within_days": days + 1}
        reply = await known.recommended_for(user_id, filter=chosen)
        assert set(names_of(reply)) == SHOWN - left_out
