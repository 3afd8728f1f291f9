"""Calls are written down as they were."""

import polars as pl
import pytest
from aisle.v1 import event_service_pb2 as events
from aisle.v1 import recommendation_service_pb2 as messages

from loadtest.collector import Call, Collector
from loadtest.recording import CALLS, FRESHNESS
from loadtest.reports import late_p99_ms
from loadtest.worker import message_of, rows_of

DEGRADED = messages.RecommendResponse(
    bundle_version="b7",
    stage_timings_ms={"rank": 2.5, "retrieve": 1.25},
    degradations=[messages.DEGRADATION_STALE_FEATURES, messages.DEGRADATION_INTEREST_FALLBACK],
)
MADE = [
    Call("Recommend/HOME", "browse", 0.5, 0.6, 0.7, "OK", DEGRADED),
    Call("Rank", "search", 0.6, 0.6, 0.8, "OK", messages.RankResponse(bundle_version="b7")),
    Call("WriteEvents", "browse", 0.7, 0.7, 0.9, "OK", events.WriteEventsResponse()),
    Call("Recommend/HOME", "browse", 0.8, 0.9, 1.3, "DEADLINE_EXCEEDED", None),
    Call("Recommend/HOME", "browse", 1.5, 1.6, 1.7, "OK", DEGRADED),
]


def collected(calls: list[Call]) -> pl.DataFrame:
    collector = Collector("worker-3")
    for call in calls:
        collector.add(call)
    return collector.calls()


def test_every_call_is_a_row_in_the_order_of_their_ends() -> None:
    rows = collected(MADE)
    assert rows.schema == CALLS
    assert rows.select("method", "journey", "due_s", "sent_s", "done_s", "code").rows() == [call[:6] for call in MADE]
    assert rows["worker"].unique().to_list() == ["worker-3"]


def test_what_a_reply_says_of_itself_is_kept() -> None:
    rows = collected(MADE)
    assert rows["bundle"].to_list() == ["b7", "b7", None, None, "b7"]
    degradations = ["STALE_FEATURES", "INTEREST_FALLBACK"]
    assert rows["degradations"].to_list() == [degradations, [], [], [], degradations]
    stages = [{each["stage"]: each["ms"] for each in row} for row in rows["stages"]]
    assert stages == [{"rank": 2.5, "retrieve": 1.25}, {}, {}, {}, {"rank": 2.5, "retrieve": 1.25}]


def test_no_calls_are_a_table_without_rows() -> None:
    assert collected([]).schema == CALLS
    assert collected([]).height == 0


def test_a_message_is_as_good_as_the_rows() -> None:
    rows = collected(MADE)
    assert rows_of(message_of(rows)).equals(rows)


def test_lateness_is_of_judged_calls_and_not_of_probes() -> None:
    late = [Call("Rank", "search", float(due), due + 0.001 * due, due + 1.0, "OK", None) for due in range(101)]
    probes = [Call(FRESHNESS, FRESHNESS, 99.0, 150.0, 151.0, "OK", None)]
    assert late_p99_ms(collected(late + probes), 0.0) == pytest.approx(99.0)
    assert late_p99_ms(collected(late), 100.0) == pytest.approx(100.0)
    assert late_p99_ms(collected([]), 0.0) == 0.0
