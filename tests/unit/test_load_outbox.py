"""Events that no visit carries any more: sent until they are taken in, and named where they never are."""

import grpc
import pytest
from aisle.v1 import event_service_pb2 as events

from loadtest.outbox import GRACE_SECONDS, MOST_EVENTS, MOST_PAUSE_SECONDS, OUTBOX, deliver
from loadtest.shop import Shop
from loadtest.visit import WRITE_EVENTS
from tests.fake_aisle import FakeAisle

AWAY = grpc.StatusCode.UNAVAILABLE


def left(aisle: FakeAisle, count: int) -> Shop:
    """A shop with so many events in its outbox."""
    shop = aisle.shop()
    shop.outbox.extend(events.Event(event_id=str(number)) for number in range(count))
    return shop


def ids(written: list[events.Event]) -> list[str]:
    return [event.event_id for event in written]


@pytest.mark.parametrize("fault", [AWAY, grpc.StatusCode.DEADLINE_EXCEEDED, events.EVENT_STATUS_UNAVAILABLE])
def test_all_are_sent_in_their_order_until_they_are_taken_in(
    fault: "grpc.StatusCode | events.EventStatus",
) -> None:
    aisle, count = FakeAisle(), 2 * MOST_EVENTS + 1
    aisle.event_faults = dict.fromkeys([0, 1, 3], fault)
    shop = left(aisle, count)
    deliver(shop, aisle.sleep, lambda: True)
    assert ids(aisle.written) == [str(number) for number in range(count)]
    assert aisle.codes(WRITE_EVENTS) == ["DEFERRED", "DEFERRED", "OK", "DEFERRED", "OK", "OK"]
    assert {row.journey for row in aisle.rows} == {OUTBOX}
    assert not shop.outbox


def test_one_that_had_been_written_all_the_same_is_no_failure() -> None:
    aisle = FakeAisle()
    aisle.lost_answers = {0}
    deliver(left(aisle, 3), aisle.sleep, lambda: True)
    assert aisle.codes(WRITE_EVENTS) == ["DEFERRED", "OK"]
    assert ids(aisle.written) == ["0", "1", "2"]


def test_attempts_that_do_not_help_come_ever_later_and_are_not_late() -> None:
    aisle = FakeAisle()
    aisle.event_faults = dict.fromkeys(range(6), AWAY)
    deliver(left(aisle, 1), aisle.sleep, lambda: True)
    pauses = [after.due - before.done for before, after in zip(aisle.rows, aisle.rows[1:], strict=False)]
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[-1] <= MOST_PAUSE_SECONDS + 1e-9
    assert all(row.sent == pytest.approx(row.due) for row in aisle.rows)
    assert aisle.codes(WRITE_EVENTS)[-1] == "OK"


def test_what_is_not_taken_in_soon_after_the_end_is_lost_one_by_one() -> None:
    aisle = FakeAisle()
    aisle.event_faults = dict.fromkeys(range(1000), AWAY)
    shop = left(aisle, 3)
    deliver(shop, aisle.sleep, lambda: aisle.now > 60.0)
    codes = aisle.codes(WRITE_EVENTS)
    assert codes[-3:] == ["LOST"] * 3
    assert set(codes[:-3]) == {"DEFERRED"}
    assert 60.0 + GRACE_SECONDS <= aisle.now < 60.0 + GRACE_SECONDS + 2 * MOST_PAUSE_SECONDS
    assert not shop.outbox


def test_one_that_is_refused_for_good_has_failed_once() -> None:
    aisle = FakeAisle()
    aisle.event_faults = {0: events.EVENT_STATUS_INVALID}
    deliver(left(aisle, 1), aisle.sleep, lambda: True)
    assert aisle.codes(WRITE_EVENTS) == ["EVENT_INVALID item_id"]


def test_what_visits_leave_later_is_sent_too_and_an_empty_outbox_ends_with_the_run() -> None:
    aisle = FakeAisle()
    shop = left(aisle, 0)

    def sleep(seconds: float) -> None:
        aisle.sleep(seconds)
        if 5.0 <= aisle.now < 5.0 + seconds:
            shop.outbox.append(events.Event(event_id="late"))

    deliver(shop, sleep, lambda: aisle.now >= 8.0)
    assert ids(aisle.written) == ["late"]
    assert aisle.now == pytest.approx(8.0, abs=0.2)
