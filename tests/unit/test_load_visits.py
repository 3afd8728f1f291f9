"""What a visit asks and tells, page by page, and what it does about failures."""

from types import SimpleNamespace

import grpc
import pytest
from aisle.v1 import event_service_pb2 as events
from aisle.v1 import recommendation_service_pb2 as messages

from loadtest.shop import EMPTY_LIST, unwritten
from loadtest.visit import BOUGHT_TOGETHER, HOME, NEXT_PAGE, RANK, SIMILAR, WRITE_EVENTS, Choice, Left, Visit
from tests.fake_aisle import FakeAisle, population

SHOPPER = "shopper-7"
TYPES = events.EventType


@pytest.fixture
def aisle() -> FakeAisle:
    return FakeAisle()


@pytest.fixture
def visit(aisle: FakeAisle) -> Visit:
    return begun(aisle)


def begun(aisle: FakeAisle, user_id: str = SHOPPER) -> Visit:
    return Visit(aisle.shop(), "browse", population().prices, 0.0, user_id)


def kinds(written: list[events.Event]) -> list[str]:
    return [TYPES.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in written]


def test_every_page_asks_for_its_own_list(aisle: FakeAisle, visit: Visit) -> None:
    home = visit.home()
    visit.next_page(home)
    visit.item(Choice("item-1"))
    visit.cart(Choice("item-1"))
    visit.cart(Choice("item-2"))
    visit.search("cup", ["item-4", "item-5"])
    visit.home()
    assert [row.method for row in aisle.rows if row.method != WRITE_EVENTS] == [
        HOME,
        NEXT_PAGE,
        SIMILAR,
        BOUGHT_TOGETHER,
        BOUGHT_TOGETHER,
        RANK,
        HOME,
    ]
    contexts = [list(request.context_item_ids) for request in aisle.requests]
    assert contexts == [[], [], ["item-1"], ["item-1"], ["item-1", "item-2"], [], ["item-1"]]
    assert {request.user_id for request in aisle.requests} == {SHOPPER}
    assert {request.session_id for request in aisle.requests} == {visit.session_id}
    again, first = aisle.requests[1], aisle.requests[0]
    assert isinstance(again, messages.RecommendRequest)
    assert again.page_token == "1"  # noqa: S105 - no secret
    again.ClearField("page_token")
    assert again == first


def test_a_shown_list_is_told_as_the_reply_gave_it(aisle: FakeAisle, visit: Visit) -> None:
    aisle.propensities = {4: 0.25, 9: 0.5}
    home = visit.home()
    (impression,) = aisle.written
    assert impression.event_type == events.EVENT_TYPE_IMPRESSION
    assert impression.placement == messages.PLACEMENT_RECOMMENDED_FOR_YOU
    assert impression.recommendation_id == home.recommendation_id == "list-1"
    assert list(impression.impression_item_ids) == list(home.item_ids) == [f"item-{n}" for n in range(20)]
    assert list(impression.impression_propensities) == [{4: 0.25, 9: 0.5}.get(place, 1.0) for place in range(20)]
    assert not impression.HasField("event_time")


def test_a_list_for_which_nothing_was_drawn_has_no_propensities(aisle: FakeAisle, visit: Visit) -> None:
    visit.home()
    assert list(aisle.written[0].impression_propensities) == []


def test_only_what_a_page_has_room_for_is_shown_of_a_search(aisle: FakeAisle, visit: Visit) -> None:
    found = visit.search("cup", [f"item-{number}" for number in range(50)])
    search, impression = aisle.written
    assert search.search_query == "cup"
    assert list(impression.impression_item_ids) == list(found.item_ids) == [f"item-{n}" for n in range(49, 29, -1)]
    assert impression.placement == messages.PLACEMENT_SEARCH_RERANK


def test_what_is_done_to_an_item_names_the_list_it_was_picked_from(aisle: FakeAisle, visit: Visit) -> None:
    picked = Choice("item-5", "some list")
    visit.item(picked)
    visit.item(Choice("item-3"))
    visit.cart(picked)
    visit.cart(Choice("item-3"))
    visit.purchase()
    visit.purchase()  # the cart is empty
    acts = [event for event in aisle.written if event.item_id]
    assert kinds(acts) == ["CLICK", "VIEW", "VIEW", "ADD_TO_CART", "ADD_TO_CART", "PURCHASE", "PURCHASE"]
    for act in acts:
        of_list = act.item_id == "item-5"
        assert act.recommendation_id == ("some list" if of_list else "")
        assert act.HasField("price") == of_list  # item-3 has none
        assert act.price == (6.0 if of_list else 0.0)


def test_events_are_the_shoppers_and_their_ids_rise_and_are_never_used_twice(aisle: FakeAisle) -> None:
    for _ in range(2):
        visit = begun(aisle)
        for _ in range(6):
            visit.item(Choice("item-1"))
    for name in {event.session_id for event in aisle.written}:
        ids = [event.event_id for event in aisle.written if event.session_id == name]
        assert ids == sorted(ids)
    assert len({event.event_id for event in aisle.written}) == len(aisle.written) == 24
    assert {event.user_id for event in aisle.written} == {SHOPPER}


def test_somebody_without_an_account_is_a_visitor_of_their_own(aisle: FakeAisle) -> None:
    for _ in range(2):
        begun(aisle, user_id="").home()
    asked, told = aisle.requests, aisle.written
    assert {request.user_id for request in asked} == {event.user_id for event in told} == {""}
    assert [request.visitor_id for request in asked] == [event.visitor_id for event in told]
    assert len({request.visitor_id for request in asked}) == 2


def test_calls_are_due_one_after_another(aisle: FakeAisle, visit: Visit) -> None:
    aisle.now = 2.0  # two seconds late
    visit.home()
    visit.due = 9.0
    aisle.now = 9.5
    visit.item(Choice("item-1"))
    times = [moment for row in aisle.rows for moment in (row.due, row.sent, row.done)]
    assert times == pytest.approx([0.0, 2.0, 2.1, 2.1, 2.1, 2.2, 9.0, 9.5, 9.6, 9.6, 9.6, 9.7])


@pytest.mark.parametrize(
    ("fault", "code"),
    [(grpc.StatusCode.INTERNAL, "INTERNAL"), (messages.RecommendResponse(recommendation_id="x"), EMPTY_LIST)],
)
def test_a_shopper_whose_list_fails_leaves(
    aisle: FakeAisle, visit: Visit, fault: grpc.StatusCode | messages.RecommendResponse, code: str
) -> None:
    aisle.faults = {0: fault}
    with pytest.raises(Left, match=f"{HOME}: {code}"):
        visit.home()
    assert [row.code for row in aisle.rows] == [code]
    assert (aisle.rows[0].reply is None) == (code != EMPTY_LIST)
    assert aisle.written == []


def test_what_led_to_a_failed_list_is_told_all_the_same(aisle: FakeAisle, visit: Visit) -> None:
    aisle.faults = {0: grpc.StatusCode.UNAVAILABLE}
    with pytest.raises(Left):
        visit.item(Choice("item-5", "some list"))
    assert kinds(aisle.written) == ["CLICK", "VIEW"]


def test_a_degraded_list_is_as_good_as_any(aisle: FakeAisle, visit: Visit) -> None:
    poorer = messages.RecommendResponse(
        results=[messages.RankedItem(item_id="item-1")], degradations=[messages.DEGRADATION_POPULARITY_ONLY]
    )
    aisle.faults = {0: poorer}
    assert list(visit.home().item_ids) == ["item-1"]
    assert aisle.codes(HOME) == ["OK"]
    assert aisle.rows[0].reply is poorer


@pytest.mark.parametrize(
    "fault", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, events.EVENT_STATUS_UNAVAILABLE]
)
def test_events_that_could_not_be_written_go_with_the_next_page(
    aisle: FakeAisle, visit: Visit, fault: "grpc.StatusCode | events.EventStatus"
) -> None:
    aisle.event_faults = {0: fault}
    visit.home()
    assert aisle.written == []
    visit.item(Choice("item-1"))
    assert kinds(aisle.written) == ["IMPRESSION", "VIEW", "IMPRESSION"]
    assert aisle.codes(WRITE_EVENTS) == ["DEFERRED", "OK"]


def test_a_repeated_event_may_have_been_written_the_first_time(aisle: FakeAisle, visit: Visit) -> None:
    aisle.lost_answers = {0}
    visit.home()
    visit.item(Choice("item-1"))
    assert aisle.codes(WRITE_EVENTS) == ["DEFERRED", "OK"]
    assert kinds(aisle.written) == ["IMPRESSION", "VIEW", "IMPRESSION"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (events.EVENT_STATUS_INVALID, "EVENT_INVALID item_id"),
        (events.EVENT_STATUS_OPTED_OUT, "EVENT_OPTED_OUT"),
        (events.EVENT_STATUS_DUPLICATE, "EVENT_DUPLICATE"),
        (grpc.StatusCode.INTERNAL, "INTERNAL"),
    ],
)
def test_an_event_that_is_refused_is_a_failed_call_and_not_sent_again(
    aisle: FakeAisle, visit: Visit, status: "grpc.StatusCode | events.EventStatus", code: str
) -> None:
    aisle.event_faults = {0: status}
    visit.home()
    visit.item(Choice("item-1"))
    assert aisle.codes(WRITE_EVENTS) == [code, "OK"]
    assert kinds(aisle.written) == ["VIEW", "IMPRESSION"]


def test_a_batch_in_which_an_event_is_refused_has_failed_though_another_is_to_be_sent_again() -> None:
    happened = [events.Event(event_id=str(number)) for number in range(3)]
    refused, later = events.EVENT_STATUS_INVALID, events.EVENT_STATUS_UNAVAILABLE
    statuses = [later, refused, events.EVENT_STATUS_ACCEPTED]
    reply = events.WriteEventsResponse(results=[events.EventResult(status=status) for status in statuses])
    stub = SimpleNamespace(WriteEvents=lambda *_, **__: reply)
    answer = FakeAisle().shop(events=stub).write(happened)
    assert answer.code == "EVENT_INVALID"
    assert [event.event_id for event in unwritten(happened, answer)] == ["0"]


def test_what_is_still_to_be_sent_again_at_the_end_is_left_in_the_outbox(aisle: FakeAisle) -> None:
    shop = aisle.shop()
    visit = Visit(shop, "browse", {}, 0.0, SHOPPER)
    aisle.event_faults = dict.fromkeys(range(2), grpc.StatusCode.UNAVAILABLE)
    visit.home()
    visit.item(Choice("item-1"))
    visit.leave()
    assert kinds(list(shop.outbox)) == ["IMPRESSION", "VIEW", "IMPRESSION"]
    visit.leave()
    assert len(shop.outbox) == 3
    assert aisle.written == []


def test_an_answer_that_leaves_an_event_out_is_a_failed_call(aisle: FakeAisle, visit: Visit) -> None:
    aisle.left_out = 1
    visit.item(Choice("item-1"))
    assert aisle.codes(WRITE_EVENTS) == ["EVENT_RESULTS 1 of 2"]


def test_a_shop_without_events_writes_none(aisle: FakeAisle) -> None:
    visit = Visit(aisle.shop(events=None), "browse", {}, 0.0, SHOPPER)
    visit.home()
    visit.cart(Choice("item-1"))
    visit.purchase()
    assert [row.method for row in aisle.rows] == [HOME, BOUGHT_TOGETHER]
