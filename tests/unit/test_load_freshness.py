"""The probe of how soon a click shows."""

from random import Random

import grpc
import pytest
from aisle.v1 import event_service_pb2 as events

from loadtest.freshness import GIVEN_UP_SECONDS, NEVER, probe
from loadtest.recording import FRESHNESS
from tests.fake_aisle import ITEMS, SHOPPERS, FakeAisle, Row, population

CALL_SECONDS = 0.1


def probed(aisle: FakeAisle, seed: int = 0) -> Row:
    before = len(aisle.rows)
    probe(aisle.shop(), population(), Random(seed), aisle.sleep)
    (row,) = aisle.rows[before:]
    assert (row.method, row.journey, row.reply) == (FRESHNESS, FRESHNESS, None)
    return row


@pytest.mark.parametrize("after", [0.0, 0.7, 4.0])
def test_the_row_says_how_long_a_click_took_to_show(after: float) -> None:
    aisle = FakeAisle()
    aisle.viewed_after = after
    row = probed(aisle)
    assert row.code == "OK"
    assert row.due == row.sent == pytest.approx(2 * CALL_SECONDS)  # a list, then the click
    assert after <= row.done - row.due <= after + 2 * CALL_SECONDS
    (click,) = aisle.written
    assert click.event_type == events.EVENT_TYPE_CLICK
    assert click.user_id in SHOPPERS
    assert click.item_id in set(ITEMS["item_id"])


def test_a_click_that_never_shows_is_given_up() -> None:
    aisle = FakeAisle()
    aisle.viewed_after = None
    row = probed(aisle)
    assert row.code == NEVER
    assert row.done - row.due == pytest.approx(GIVEN_UP_SECONDS, abs=0.5)


def test_what_was_seen_before_is_no_news() -> None:
    """Each probe clicks on something else, and so waits for its own click."""
    aisle = FakeAisle()
    for _ in range(5):
        assert probed(aisle).code == "OK"  # the same seed: the same shopper would like the same item
    assert len({click.user_id for click in aisle.written}) == 1
    assert len({click.item_id for click in aisle.written}) == 5


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (grpc.StatusCode.UNAVAILABLE, "DEFERRED"),
        (events.EVENT_STATUS_UNAVAILABLE, "DEFERRED"),
        (grpc.StatusCode.INTERNAL, "INTERNAL"),
        (events.EVENT_STATUS_OPTED_OUT, "EVENT_OPTED_OUT"),
    ],
)
def test_a_click_that_is_not_taken_in_is_told_by_its_code(
    fault: "grpc.StatusCode | events.EventStatus", code: str
) -> None:
    aisle = FakeAisle()
    aisle.event_faults = {0: fault}
    assert probed(aisle).code == code


def test_a_list_that_fails_meanwhile_is_asked_for_again() -> None:
    aisle = FakeAisle()
    aisle.faults = dict.fromkeys(range(1, 5), grpc.StatusCode.UNAVAILABLE)
    row = probed(aisle)
    assert row.code == "OK"
    assert row.done - row.due > 4 * CALL_SECONDS


def test_probes_are_spread_over_the_shoppers() -> None:
    aisle = FakeAisle()
    for seed in range(200):
        probed(aisle, seed)
    assert len({click.user_id for click in aisle.written}) > 0.9 * len(SHOPPERS)
