"""What visits and probes of a plan are: shop, population and journeys put together. Knows no Locust; of gevent that
calls are made in greenlets."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeAlias

import grpc
import polars as pl
from aisle.v1 import event_service_pb2_grpc as event_stubs
from aisle.v1 import recommendation_service_pb2 as messages

from loadtest import visit as pages
from loadtest.access import Access
from loadtest.freshness import probe
from loadtest.green import GreenClient, GreenTransport
from loadtest.journeys import JOURNEYS, Journey, Steps, drawn
from loadtest.outbox import deliver
from loadtest.plan import Plan
from loadtest.population import STRANGERS, Population
from loadtest.shop import Record, Shop
from services.client import RecommendationClient
from services.common.keys import KEY_HEADER

Visit: TypeAlias = Callable[[Random, float, Callable[[], float]], None]
"""One visit, drawn from a generator and due at a time; `pause()` thinks and says when the next page is due."""

_CONNECT_SECONDS = 5.0
_NOBODY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAUTHENTICATED}
"""Who says so lets nobody in; anything else is an answer."""
_RECONNECT = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000)]
"""A service that restarts is tried again within a second, not after gRPC's two minutes."""


class Shopping(NamedTuple):
    """What comes through the doors."""

    visit: Visit
    probe: Visit | None
    """Of freshness; None where no events are written."""
    deliver: Callable[[Callable[[], bool]], None]
    """Sends events again until `is_over()` and a little longer."""


class UnreachableError(Exception):
    """The ranking service does not answer, or does not let us in."""


def open_shop(plan: Plan, record: Record, clock: Callable[[], float]) -> Shopping:
    """Connect, and say what a visit does.

    Args:
        plan: what is visited.
        record: is told of every call.
        clock: seconds since the run began.

    Raises:
        UnreachableError: nobody answers there, or not us; names the address.
        AccessError: a file that lets us in cannot be read.
        BundleError, AdapterError, SchemaError, ValueError: there is no population.
    """
    client = GreenClient(
        plan.ranking,
        timeout_seconds=plan.timeout_seconds,
        channel_count=plan.connections,
        credentials=plan.credentials(),
        api_key=plan.api_key(),
    )
    _knock(client, plan.ranking)
    events = _events(plan.ingest, plan) if plan.ingest else None
    shop = Shop(lists=client, events=events, record=record, clock=clock, timeout_seconds=plan.timeout_seconds)
    population = _population(plan)
    journeys = JOURNEYS if plan.journeys == "all" else {"home": Journey("home", 1, _home)}

    def visit(rng: Random, due: float, pause: Callable[[], float]) -> None:
        drawn(journeys, rng).run(shop, population, rng, due, pause)

    def probed(rng: Random, due: float, pause: Callable[[], float]) -> None:  # noqa: ARG001 - a Visit's
        probe(shop, population, rng, time.sleep)

    def delivered(is_over: Callable[[], bool]) -> None:
        deliver(shop, time.sleep, is_over)

    return Shopping(visit, probed if plan.ingest else None, delivered)


def _home(visit: pages.Visit, population: Population, rng: Random) -> Steps:  # noqa: ARG001 - a journey's
    """The home page, and away: with a shop that writes no events, one call."""
    visit.home()
    yield from ()


class _Events(NamedTuple):
    """As much of an `EventServiceStub` as a shop needs, with the key in every call."""

    WriteEvents: Callable[..., Any]


def _events(address: str, access: Access) -> _Events:
    credentials, key = access.credentials(), access.api_key()
    channel = (
        GreenTransport.secure_channel(address, credentials, _RECONNECT)
        if credentials
        else GreenTransport.insecure_channel(address, _RECONNECT)
    )
    metadata = None if key is None else ((KEY_HEADER, key),)
    return _Events(partial(event_stubs.EventServiceStub(channel).WriteEvents, metadata=metadata))


def _population(plan: Plan) -> Population:
    if plan.bundle is not None:
        return Population.of(Path(plan.bundle), plan.data, Path(plan.cache))
    nothing = pl.DataFrame({"item_id": ["0"], "title": [""], "price": [None]}, schema_overrides={"price": pl.Float64})
    return Population.from_tables([str(number) for number in range(STRANGERS)], nothing)


def _knock(client: RecommendationClient, address: str) -> None:
    """Have the connection made before the first visit, which would wait for it."""
    request = messages.RecommendRequest(placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU, validate_only=True)
    try:
        client.recommend(request, timeout_seconds=_CONNECT_SECONDS)
    except grpc.RpcError as error:
        if error.code() in _NOBODY:
            raise UnreachableError(f"{address}: {error.code().name}: {error.details()}") from error
