"""The load test's visits against the whole suite: every call succeeds, and what was done is in the log as it was done.

In plain threads: nothing here knows Locust.
"""

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

from features import bundle as files
from features import event_log
from loadtest.freshness import probe
from loadtest.journeys import JOURNEYS
from loadtest.population import Population
from loadtest.recording import FRESHNESS, OK
from loadtest.shop import Shop
from loadtest.visit import METHODS, RANK, WRITE_EVENTS
from services.client import RecommendationClient
from services.stack import Stack, StackConfig, running_stack
from tests.fake_aisle import Row
from tests.shop import day, event
from tests.shop import events as events_table
from tests.tiny_shop import AS_OF, write_shop_bundle
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
    """The folder of this module's stack: the tiny shop's bundle, what ten shoppers did before it, all that is kept."""
    folder = tmp_path_factory.mktemp("load")
    items = pl.read_parquet(write_shop_bundle(folder / "bundles", seed=1).path(files.ITEMS))
    (folder / "shop").mkdir()
    items.write_parquet(folder / "shop" / "items.parquet")
    acts = (event(f"shopper-{n % 10}", f"item-{n * 7 % items.height}", n / 100) for n in range(100))
    happened = events_table(*acts)
    long_ago = AS_OF - day(10)
    happened.with_columns(pl.col("event_time") + long_ago).write_parquet(folder / "shop" / "events.parquet")
    return folder


@pytest.fixture(scope="module")
def own_stack(triton_venv: Path, live: Path) -> Iterator[Stack]:
    """Of this module alone, since it is written to; its log does not wait for half a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AISLE_LOG_SECONDS", "1")
        config = StackConfig(
            data=f"parquet:{live / 'shop'}",
            bundles=live / "bundles",
            build=live,
            triton_venv=triton_venv,
            ranking_port=0,
        )
        with running_stack(config) as stack:
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
