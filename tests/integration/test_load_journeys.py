"""The load test against the whole suite: every call of its visits succeeds, what was done is in the log as it was done,
and `python -m loadtest` tells a good build from a bad one.

The visits are made in plain threads: nothing here knows Locust.
"""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any

import grpc
import polars as pl
import pytest
from aisle.v1 import event_service_pb2 as events
from aisle.v1 import recommendation_service_pb2 as messages
from aisle.v1.event_service_pb2_grpc import EventServiceStub

from features import event_log
from loadtest.freshness import probe
from loadtest.journeys import JOURNEYS
from loadtest.population import Population
from loadtest.recording import FRESHNESS, OK, read_run
from loadtest.shop import Shop
from loadtest.visit import METHODS, RANK, WRITE_EVENTS
from services.client import RecommendationClient
from services.stack import Stack, running_stack
from tests.acceptance.load_runs import plant
from tests.fake_aisle import Row
from tests.integration.load_shop import visit, write_load_shop
from tests.waiting import wait_until

VISITS = 6
"""Of each journey."""
THREADS = 4
CALL_SECONDS = 30.0
LOG_SECONDS = 60.0
"""How long the log may take here: the machine may be busy."""
LISTS = ["CLICK", "VIEW", "IMPRESSION"]
ACTS = {
    "browse": ["IMPRESSION", *LISTS, *LISTS, *["ADD_TO_CART", "IMPRESSION"] * 2, "PURCHASE", "PURCHASE"],
    "search": ["SEARCH", "IMPRESSION", *LISTS, "ADD_TO_CART", "IMPRESSION"],
    "anonymous": ["VIEW", "IMPRESSION", "IMPRESSION", *LISTS, "IMPRESSION"],
}
"""Journey to what its shoppers do; a browsing one may be led to the first item from elsewhere, without a click."""


class Sent:
    """An `EventServiceStub` that keeps what passes."""

    def __init__(self, stub: EventServiceStub) -> None:
        self._stub = stub
        self.events: list[events.Event] = []

    def WriteEvents(self, request: events.WriteEventsRequest, timeout: float) -> Any:  # noqa: N802 - the rpc's name
        self.events.extend(request.events)
        return self._stub.WriteEvents(request, timeout=timeout)


@dataclass(frozen=True, slots=True)
class Watched:
    """A shop, and all that passes between it and the suite."""

    shop: Shop
    sent: Sent
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Done:
    """What came of visits."""

    rows: list[Row]
    sent: list[events.Event]
    logged: pl.DataFrame
    """LOGGED."""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this module's stack: bundle, data, all that is kept."""
    return tmp_path_factory.mktemp("load")


@pytest.fixture(scope="module")
def own_stack(triton_venv: Path, live: Path) -> Iterator[Stack]:
    """Of this module alone, since it is written to; its log does not wait for half a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AISLE_LOG_SECONDS", "1")
        with running_stack(write_load_shop(live, triton_venv)) as stack:
            yield stack


@pytest.fixture(scope="module")
def population(live: Path) -> Population:
    """The shop's."""
    return Population.of(live / "bundles" / "serving", f"parquet:{live / 'shop'}", live / "data")


@contextmanager
def watched(stack: Stack) -> Iterator[Watched]:
    began = time.monotonic()
    with (
        RecommendationClient(stack.addresses["ranking"], timeout_seconds=CALL_SECONDS) as lists,
        grpc.insecure_channel(stack.addresses["ingest"]) as channel,
    ):
        sent, rows = Sent(EventServiceStub(channel)), list[Row]()
        shop = Shop(
            lists=lists,
            events=sent,
            record=lambda *told: rows.append(Row(*told)),
            clock=lambda: time.monotonic() - began,
            timeout_seconds=CALL_SECONDS,
        )
        yield Watched(shop, sent, rows)


@pytest.fixture(scope="module")
def acted(own_stack: Stack, population: Population) -> Watched:
    """Some visits of every journey, several at a time."""
    with watched(own_stack) as seen, ThreadPoolExecutor(THREADS) as pool:

        def visit(name: str, seed: int) -> None:
            clock = seen.shop.clock
            JOURNEYS[name].run(seen.shop, population, Random(seed), clock(), clock)

        under_way = [pool.submit(visit, name, seed) for seed in range(VISITS) for name in JOURNEYS]
        for one in under_way:
            one.result()
        return seen


@pytest.fixture(scope="module")
def done(acted: Watched, live: Path) -> Done:
    """What is known of them once the log has their events."""
    ids = {event.event_id for event in acted.sent.events}
    wait_until(lambda: ids <= set(event_log.read(live / "live")["event_id"]), LOG_SECONDS)
    return Done(acted.rows, acted.sent.events, event_log.read(live / "live"))


def test_every_call_of_every_journey_succeeds(acted: Watched) -> None:
    assert [(row.method, row.code) for row in acted.rows if row.code != OK] == []
    assert {row.method for row in acted.rows} == set(METHODS)
    assert {row.journey for row in acted.rows} == set(JOURNEYS)
    assert all(row.due <= row.sent <= row.done for row in acted.rows)


def test_the_log_holds_each_event_once_and_as_it_was_sent(done: Done) -> None:
    sent = {event.event_id: event for event in done.sent}
    assert sorted(done.logged["event_id"]) == sorted(sent) == sorted(event.event_id for event in done.sent)
    assert [difference(row, sent[row["event_id"]]) for row in done.logged.iter_rows(named=True)] == [{}] * len(sent)


def difference(row: dict[str, Any], event: events.Event) -> dict[str, Any]:
    """Field to what the log says, where that is not what the event said."""
    said: dict[str, Any] = {
        "event_type": events.EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").lower().replace("_", "-"),
        "price": event.price if event.HasField("price") else None,
        "impression_item_ids": list(event.impression_item_ids),
        "impression_propensities": list(event.impression_propensities),
        "quantity": event.quantity or None,
    }
    texts = ("user_id", "visitor_id", "session_id", "recommendation_id", "item_id", "search_query")
    said |= {name: getattr(event, name) for name in texts}
    return {name: row[name] for name, value in said.items() if (row[name] or None) != (value or None)}


def test_every_list_is_told_as_shown_once_with_its_items_and_propensities(done: Done) -> None:
    replies = [(row.method, row.reply) for row in done.rows if row.method != WRITE_EVENTS]
    shown = [shown_of(reply, 20 if method == RANK else None) for method, reply in replies]
    impressions = done.logged.filter(event_type="impression")
    told = impressions.select("recommendation_id", "impression_item_ids", "impression_propensities").rows()
    assert sorted((name, tuple(ids), tuple(chances or ())) for name, ids, chances in told) == sorted(shown)
    assert any(chances for _, _, chances in shown)  # exploration drew something


def shown_of(reply: Any, length: int | None) -> tuple[str, tuple[str, ...], tuple[float, ...]]:
    """What an impression must say of a list."""
    results: Sequence[messages.RankedItem] = reply.results[:length]
    is_drawn = any(result.HasField("propensity") for result in results)
    chances = [result.propensity if result.HasField("propensity") else 1.0 for result in results] if is_drawn else []
    return reply.recommendation_id, tuple(result.item_id for result in results), tuple(chances)


def test_shoppers_did_what_their_journeys_say(done: Done) -> None:
    journeys = journeys_of_sessions(done)
    assert sorted(journeys.values()) == sorted(list(JOURNEYS) * VISITS)
    for session_id, rows in groupby(done.logged.sort("event_id").iter_rows(named=True), lambda row: row["session_id"]):
        acts = [str(row["event_type"]).upper().replace("-", "_") for row in rows]
        journey = journeys[session_id]
        if journey == "scroll":
            assert acts[-3:] == LISTS
            assert 1 <= acts[:-3].count("IMPRESSION") == len(acts) - 3 <= 5
        else:
            assert acts == ACTS[journey] or (journey == "browse" and acts == [ACTS[journey][0], *ACTS[journey][2:]])


def journeys_of_sessions(done: Done) -> dict[str, str]:
    """Session to journey, joined by the lists that were shown."""
    journeys = {
        row.reply.recommendation_id: row.journey
        for row in done.rows
        if isinstance(row.reply, messages.RecommendResponse | messages.RankResponse)
    }
    shown = done.logged.filter(event_type="impression").select("session_id", "recommendation_id").rows()
    return {session_id: journeys[name] for session_id, name in shown}


def test_whoever_acts_on_a_list_was_shown_the_item_in_it(done: Done) -> None:
    shown: dict[str, set[str]] = {}
    for name, ids in (
        done.logged.filter(event_type="impression").select("recommendation_id", "impression_item_ids").rows()
    ):
        shown.setdefault(name, set()).update(ids)
    acts = done.logged.filter(pl.col("event_type") != "impression", pl.col("recommendation_id") != "")
    assert acts.height > VISITS * len(JOURNEYS)
    assert [row for row in acts.select("recommendation_id", "item_id").rows() if row[1] not in shown[row[0]]] == []


def test_a_probe_sees_its_click_come_to_the_list(own_stack: Stack, population: Population) -> None:
    """Ten probes; how soon they must see it is for the acceptance tests."""
    with watched(own_stack) as seen:
        for seed in range(10):
            probe(seen.shop, population, Random(seed), time.sleep)
    assert [(row.method, row.code) for row in seen.rows] == [(FRESHNESS, OK)] * 10
    assert all(row.due < row.done for row in seen.rows)
    assert len(seen.sent.events) == 10


def test_the_gate_lets_a_good_build_pass_and_stops_one_that_fails_calls(own_stack: Stack, live: Path) -> None:
    """Last of all: the stack is not the same any more."""
    good = visit(live, "good", "--fault", "stall:triton@3+2", "--accept")
    assert good.returncode == 0, good.stdout
    assert "accepted: " in good.stdout
    calls, facts, marks = read_run(live / "good")
    assert set(calls["code"]) == {"OK"}
    assert facts.target == own_stack.addresses["ranking"]
    assert [mark.what for mark in marks] == ["stall triton"]
    assert marks[0].until_s - marks[0].at_s == pytest.approx(2.0, abs=1.0)
    assert "stall triton" in (live / "good" / "report.html").read_text()

    plant(own_stack, "errors", 0.2)
    bad = visit(live, "bad")
    assert bad.returncode == 1, bad.stdout
    causes = json.loads((live / "bad" / "verdict.json").read_text())["causes"]
    assert [(cause["check"], cause["method"] in METHODS) for cause in causes] == [("errors", True)]
    assert "INTERNAL" in causes[0]["text"]
    assert f"cause: {causes[0]['text']}" in bad.stdout
