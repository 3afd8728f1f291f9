"""Shoppers' states: whatever an event says comes back from its line."""

import polars as pl
import pytest
from hypothesis import given

from features import spec
from features.transforms import known_events
from services.ingest.updater.state import EVENTS_OF_STATE, frame_of, lines_of
from tests.shop import day, event, events
from tests.strategies import frames, unhurried

COUNTING = sorted(spec.EVENT_WEIGHTS)
AWKWARD = (
    "plain",
    "comma, here",
    'a "quote"',
    "line\nbreak",
    "\r\n",
    "\\",
    "\\n",
    "\\\\n",
    "\x00",
    " ",
    "1.5",
    "null",
    "é\u2028",
)


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """By shopper, as lines are told apart; each shopper's own order as it was."""
    return frame.select(EVENTS_OF_STATE.names()).sort("user_id", maintain_order=True)


@pytest.mark.parametrize("text", AWKWARD)
def test_an_awkward_text_comes_back(text: str) -> None:
    written = events(event(text, text, 1, "click", price=0.1, session_id=text, event_id=text), event("b", "x", 2))
    assert in_order(frame_of(lines_of(written))).equals(in_order(written))


@pytest.mark.parametrize("text", AWKWARD)
def test_a_line_is_an_event(text: str) -> None:
    written = events(event("a", text, 1), event("a", text, 2, event_id=text), event("a", "x", 3, session_id=text))
    assert lines_of(written)["a"].count(b"\n") == 3


def test_an_empty_text_is_not_a_missing_one_and_a_missing_price_is_not_zero() -> None:
    written = events(
        event("a", "x", 1, price=None, session_id=None),
        event("a", "x", 2, price=0.0, session_id=""),
    )
    found = frame_of(lines_of(written))
    assert found["price"].to_list() == [None, 0.0]
    assert found["session_id"].to_list() == [None, ""]


@unhurried
@given(frames("events"))
def test_every_event_that_counts_comes_back_in_its_order(written: pl.DataFrame) -> None:
    counting = written.filter(pl.col("event_type").is_in(COUNTING))
    assert in_order(frame_of(lines_of(written))).equals(in_order(counting))


def test_events_that_say_nothing_or_name_no_item_are_left_out() -> None:
    nameless = events(event("a", "x", 1)).with_columns(item_id=pl.lit(""))
    silent = events(
        event("a", "x", 1, "impression"), event("a", "x", 2, "search"), event("b", "x", 3, "remove-from-cart")
    )
    assert lines_of(pl.concat([nameless, silent])) == {}


def test_no_state_and_an_empty_one_hold_no_event() -> None:
    assert frame_of({}).equals(EVENTS_OF_STATE.to_frame())
    assert frame_of({"a": b"", "b": b""}).equals(EVENTS_OF_STATE.to_frame())


def test_appended_lines_belong_to_their_own_shopper() -> None:
    first, second = events(event("a", "x", 1), event("b", "y", 2)), events(event("a", "z", 3))
    states, later = lines_of(first), lines_of(second)
    found = frame_of({"b": states["b"], "nobody": b"", "a": states["a"] + later["a"]})
    assert found["user_id"].to_list() == ["b", "a", "a"]
    assert found["item_id"].to_list() == ["y", "x", "z"]


@pytest.mark.parametrize(
    "state", [b"\n", b'"x","e","click",soon,,\n', b'"x","e","click",1,,"s","more"\n', b'"x\n', b"x"]
)
def test_what_is_no_state_is_refused(state: bytes) -> None:
    with pytest.raises(ValueError, match="state"):
        frame_of({"a": state})


def test_known_events_are_all_that_a_state_keeps() -> None:
    table = events(event("a", "x", 1, "view"), event("a", "y", 2, "search"), event("a", "z", 3, "review"))
    known = known_events(table, day(10))
    assert frame_of(lines_of(known)).equals(known.select(EVENTS_OF_STATE.names()))
