"""The ways through the shop, and how often each is taken."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from random import Random

import grpc
import pytest
from aisle.v1 import event_service_pb2 as events

from loadtest.journeys import JOURNEYS, SCROLLED_PAGES, drawn
from loadtest.visit import BOUGHT_TOGETHER, HOME, METHODS, NEXT_PAGE, RANK, SIMILAR, WRITE_EVENTS
from tests.fake_aisle import SHOPPERS, FakeAisle, population

THINK_SECONDS = 3.0
LISTS = {
    "browse": [HOME, SIMILAR, SIMILAR, BOUGHT_TOGETHER, BOUGHT_TOGETHER],
    "search": [RANK, SIMILAR, BOUGHT_TOGETHER],
    "scroll": [HOME, NEXT_PAGE, NEXT_PAGE, SIMILAR],
    "anonymous": [SIMILAR, HOME, SIMILAR, HOME],
}
"""Of each journey, where the home page's list has three pages."""


def visit(aisle: FakeAisle, name: str, seed: int = 0) -> list[float]:
    """One visit; when its pages were due."""
    due = [0.0]

    def pause() -> float:
        due.append(aisle.now + THINK_SECONDS)
        aisle.now = due[-1]
        return due[-1]

    JOURNEYS[name].run(aisle.shop(), population(), Random(seed), 0.0, pause)
    return due


def lists(aisle: FakeAisle) -> list[str]:
    return [row.method for row in aisle.rows if row.method != WRITE_EVENTS]


@pytest.fixture(params=JOURNEYS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_journey_goes_through_its_pages(name: str) -> None:
    aisle = FakeAisle()
    due = visit(aisle, name)
    assert lists(aisle) == LISTS[name]
    assert {row.code for row in aisle.rows} == {"OK"}
    assert {row.journey for row in aisle.rows} == {name}
    assert {row.due for row in aisle.rows} >= set(due)
    assert len(due) == len(LISTS[name]) + (name == "browse")  # the last page of which is the purchase


def test_all_kinds_of_calls_are_made_by_somebody() -> None:
    aisle = FakeAisle()
    for name in JOURNEYS:
        visit(aisle, name)
    assert {row.method for row in aisle.rows} == set(METHODS)


def test_known_shoppers_are_of_the_population_and_others_have_no_account(name: str) -> None:
    aisle = FakeAisle()
    visit(aisle, name)
    (shopper,) = {request.user_id for request in aisle.requests}
    assert (shopper in SHOPPERS) == (name != "anonymous")
    assert all(bool(request.visitor_id) == (name == "anonymous") for request in aisle.requests)


def test_a_browsing_shopper_buys_what_was_put_into_the_cart() -> None:
    aisle = FakeAisle()
    visit(aisle, "browse")
    carted, bought = (
        [(event.item_id, event.recommendation_id) for event in aisle.written if event.event_type == kind]
        for kind in (events.EVENT_TYPE_ADD_TO_CART, events.EVENT_TYPE_PURCHASE)
    )
    assert bought == carted
    assert len(bought) == 2
    assert all(recommendation_id for _, recommendation_id in bought)


def test_what_a_visitor_without_account_looked_at_steers_the_home_page() -> None:
    aisle = FakeAisle()
    visit(aisle, "anonymous")
    viewed = [event.item_id for event in aisle.written if event.event_type == events.EVENT_TYPE_VIEW]
    first, second = [
        request.context_item_ids for row, request in zip(lists(aisle), aisle.requests, strict=True) if row == HOME
    ]
    assert list(first) == viewed[:1]
    assert list(second) == viewed


@pytest.mark.parametrize("pages", [1, 2, SCROLLED_PAGES, SCROLLED_PAGES + 4])
def test_scrolling_ends_with_the_list_or_when_it_is_enough(pages: int) -> None:
    aisle = FakeAisle()
    aisle.pages = pages
    visit(aisle, "scroll")
    assert lists(aisle) == [HOME, *[NEXT_PAGE] * (min(pages, SCROLLED_PAGES) - 1), SIMILAR]


def failing(name: str) -> Iterator[int]:
    """Each list of a journey by its place."""
    yield from range(len(LISTS[name]))


@pytest.mark.parametrize(("name", "place"), [(name, place) for name in JOURNEYS for place in failing(name)])
def test_a_visit_ends_at_the_list_that_fails(name: str, place: int) -> None:
    aisle = FakeAisle()
    aisle.faults = {place: grpc.StatusCode.UNAVAILABLE}
    visit(aisle, name)
    assert lists(aisle) == LISTS[name][: place + 1]
    assert [row.code for row in aisle.rows if row.method != WRITE_EVENTS] == ["OK"] * place + ["UNAVAILABLE"]


def test_a_visit_goes_on_when_events_are_not_taken_in(name: str) -> None:
    aisle = FakeAisle()
    aisle.event_faults = dict.fromkeys(range(100), grpc.StatusCode.UNAVAILABLE)
    visit(aisle, name)
    assert lists(aisle) == LISTS[name]
    assert set(aisle.codes(WRITE_EVENTS)) == {"DEFERRED"}


@pytest.mark.parametrize("broken_off", [False, True])
def test_however_a_visit_ends_its_events_are_not_forgotten(broken_off: bool) -> None:
    aisle = FakeAisle()
    aisle.event_faults = dict.fromkeys(range(100), grpc.StatusCode.UNAVAILABLE)
    aisle.faults = {} if broken_off else {1: grpc.StatusCode.INTERNAL}
    shop = aisle.shop()

    def pause() -> float:
        if broken_off:
            raise RuntimeError
        return aisle.now

    with suppress(RuntimeError):
        JOURNEYS["anonymous"].run(shop, population(), Random(0), 0.0, pause)
    assert [event.event_type for event in shop.outbox] == [events.EVENT_TYPE_VIEW, events.EVENT_TYPE_IMPRESSION]


def test_the_same_seed_makes_the_same_visit(name: str) -> None:
    def acts(seed: int) -> list[tuple[int, str]]:
        aisle = FakeAisle()
        for number in range(5):
            visit(aisle, name, seed + number)
        return [(event.event_type, event.item_id) for event in aisle.written]

    assert acts(3) == acts(3)
    assert acts(3) != acts(20)


def test_journeys_are_taken_by_their_weights() -> None:
    rng, count = Random(2), 20_000
    taken = Counter(drawn(JOURNEYS, rng).name for _ in range(count))
    total = sum(journey.weight for journey in JOURNEYS.values())
    for name, journey in JOURNEYS.items():
        expected = count * journey.weight / total
        assert abs(taken[name] - expected) < 5 * expected**0.5
    assert all(name == journey.name for name, journey in JOURNEYS.items())
