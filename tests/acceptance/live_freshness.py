"""Line 2: how soon a click, and how soon a new item, is in what is recommended, while other shoppers act.

A click is there when two lists of the same shopper say so: RECENTLY_VIEWED shows the item, and RECOMMENDED_FOR_YOU,
asked about a neighbour of the item, names it as evidence, which comes from the very features that the ranker is given.
Items are drawn until one is found that must become evidence.
A new item is there when SIMILAR_ITEMS of its nearest neighbour shows it, and the home page of a shopper of that taste.
New texts are those of products of the shop with a word more; a shopper of a taste is made by clicks on
the neighbours.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import numpy as np
from aisle.v1 import catalog_service_pb2 as catalog
from aisle.v1 import event_service_pb2 as events
from aisle.v1 import recommendation_service_pb2 as messages
from aisle.v1.catalog_service_pb2_grpc import CatalogServiceStub
from aisle.v1.event_service_pb2_grpc import EventServiceStub

from features.bundle import Bundle, open_bundle, serving_path
from services.client import AsyncRecommendationClient
from services.stack import Stack, StackConfig, running_stack
from tests.acceptance.folders import emptied
from tests.acceptance.live_known_items import TASTE_CLICKS, NewItem, Shop, coming_items
from tests.acceptance.live_load import Load, RunningLoad, load_under_way
from tests.acceptance.ranking_stack import DATA, FOR_YOU, LOGS, shoppers
from tests.acceptance.rows import Row, at_least, at_most, told

PER_SECOND = 1000.0
BATCH = 50
CLICKS = 200
NEW_ITEMS = 100
WARM_UP = 10
LONGEST_SECONDS = 10.0
BOUND_SECONDS = 1.0
_CALL_SECONDS = 5.0
_PAUSE_SECONDS = 0.05
"""Between two looks: asking costs the machine what the updater needs."""
_PAGE = 100
_ITEMS, _NEIGHBOURS = 2000, 4
_DRAWS, _DRAWN = 100, 50
"""How often items and neighbours are drawn, and how many are looked at together."""
_SIMILAR, _VIEWED = messages.PLACEMENT_SIMILAR_ITEMS, messages.PLACEMENT_RECENTLY_VIEWED


@dataclass(frozen=True, slots=True)
class Clients:
    """Of the whole stack."""

    lists: AsyncRecommendationClient
    events: EventServiceStub
    catalog: CatalogServiceStub


def freshness() -> list[Row]:
    """Two hundred clicks and a hundred new items under a thousand events a second, on all cores, with two updaters, and
    from empty stores: what an earlier run left behind would come first."""
    bundles, everyone = Path("bundles"), shoppers()
    bundle = open_bundle(serving_path(bundles))
    probing = everyone[:CLICKS]
    load = Load(bundles=bundles, prefix=f"fresh-{time.time_ns()}", per_second=PER_SECOND, batch=BATCH, connections=2)
    build = emptied("live/freshness")
    config = StackConfig(data=DATA, build=build, data_cache=Path("build/data"), ranking_port=0, updaters=2)
    with (
        running_stack(config) as stack,
        load_under_way(stack.addresses["ingest"], load, everyone[CLICKS:], LOGS) as running,
    ):
        return measured(stack, bundle, probing, CLICKS, NEW_ITEMS, running)


def measured(
    stack: Stack,
    bundle: Bundle,
    probing: Sequence[str],
    clicks: int,
    new_items: int,
    running: RunningLoad | None = None,
) -> list[Row]:
    """Both halves, over a running stack.

    Args:
        stack: with all that is live.
        bundle: what it serves.
        probing: known shoppers whom nobody else acts for.
        clicks: how many.
        new_items: how many.
        running: the load beside it, if there is one.
    """
    shop = Shop.of(bundle)
    pairs = shop.neighbours(np.random.default_rng(1), _ITEMS, _NEIGHBOURS)
    clicked = asyncio.run(_clicks(stack, shop, probing, pairs, clicks))
    similar, wanted = asyncio.run(_new_items(stack, bundle, shop, new_items))
    rows = []
    if running is not None:
        summary = running.finish()
        rows = [
            at_least("background_events_per_second", round(summary.per_second), 0.95 * PER_SECOND),
            told("background_not_accepted", str(summary.other)),
        ]
    return [
        *rows,
        *_rows("click", clicked, clicks),
        *_rows("new_item_similar", similar, new_items),
        *_rows("new_item_for_its_taste", wanted, new_items),
    ]


def _rows(name: str, seconds: Sequence[float], expected: int) -> list[Row]:
    return [
        at_least(f"{name}_probes", len(seconds), expected),
        told(f"{name}_p50_seconds", round(float(np.quantile(seconds, 0.5)), 3)),
        at_most(f"{name}_p99_seconds", round(float(np.quantile(seconds, 0.99, method="higher")), 3), BOUND_SECONDS),
        told(f"{name}_longest_seconds", round(max(seconds), 3)),
    ]


@asynccontextmanager
async def _clients(stack: Stack) -> AsyncIterator[Clients]:
    async with (
        AsyncRecommendationClient(stack.addresses["ranking"], timeout_seconds=_CALL_SECONDS) as lists,
        grpc.aio.insecure_channel(stack.addresses["ingest"]) as channel,
    ):
        yield Clients(lists, EventServiceStub(channel), CatalogServiceStub(channel))


async def _clicks(
    stack: Stack, shop: Shop, probing: Sequence[str], pairs: Sequence[tuple[int, int]], count: int
) -> list[float]:
    """Seconds that each of so many clicks took, one after another."""
    draw, taken = np.random.default_rng(2), []
    async with _clients(stack) as clients:
        for number in range(-WARM_UP, count):
            seconds = await _click(clients, shop, probing[number % len(probing)], pairs, draw, number)
            if number >= 0:
                taken.append(seconds)
    return taken


async def _new_items(stack: Stack, bundle: Bundle, shop: Shop, count: int) -> tuple[list[float], list[float]]:
    """Seconds that each of so many items took to be among similar ones, and in lists of its taste."""
    coming = await coming_items(stack.addresses["triton"], bundle, shop, count)
    async with _clients(stack) as clients:
        appeared = [await _new_item(clients, shop, item, number) for number, item in enumerate(coming)]
    return [similar for similar, _ in appeared], [wanted for _, wanted in appeared]


async def _click(
    clients: Clients, shop: Shop, shopper: str, pairs: Sequence[tuple[int, int]], draw: np.random.Generator, number: int
) -> float:
    """Seconds from the acknowledgement of a click until both lists know it."""
    item_id, neighbour = await _evident(clients.lists, shop, shopper, pairs, draw)

    async def is_there() -> bool:
        seen = await _viewed(clients.lists, shopper, item_id)
        return seen and item_id in (await _evidence(clients.lists, shopper, {neighbour})).get(neighbour, [])

    await _write_clicks(clients.events, shopper, [item_id], f"probe-{number}")
    return await _until(is_there, f"click {number} of {shopper} on {item_id}")


async def _evident(
    lists: AsyncRecommendationClient,
    shop: Shop,
    shopper: str,
    pairs: Sequence[tuple[int, int]],
    draw: np.random.Generator,
) -> tuple[str, str]:
    """An item, and a neighbour of it to which it is more alike than some of the present evidence is; the first of those
    drawn of which that is so.

    Raises:
        RuntimeError: there seems to be none.
    """
    for _ in range(_DRAWS):
        drawn = [pairs[place] for place in draw.integers(len(pairs), size=_DRAWN)]
        present = await _evidence(lists, shopper, {shop.id_of(near) for _, near in drawn})
        for row, near in drawn:
            others = present.get(shop.id_of(near), [])
            if shop.id_of(row) not in others and shop.is_nearer(near, row, others):
                return shop.id_of(row), shop.id_of(near)
    raise RuntimeError(f"{shopper}: of {_DRAWS * _DRAWN} items none would become evidence")


async def _viewed(lists: AsyncRecommendationClient, shopper: str, item_id: str) -> bool:
    request = messages.RecommendRequest(placement=_VIEWED, user_id=shopper, page_size=_PAGE)
    return await _holds(lists, request, item_id)


async def _evidence(lists: AsyncRecommendationClient, shopper: str, item_ids: Collection[str]) -> dict[str, list[str]]:
    """By which of the shopper's items the home page explains each of these that it shows; at most a page of them."""
    only = messages.Filter(include_item_ids=sorted(item_ids), strict=True, allow_sensitive=True)
    request = messages.RecommendRequest(
        placement=FOR_YOU, user_id=shopper, page_size=len(item_ids), filter=only, explain=True
    )
    results = (await lists.recommend(request)).results
    return {result.item_id: list(result.explanation.evidence_item_ids) for result in results}


async def _new_item(clients: Clients, shop: Shop, item: NewItem, number: int) -> tuple[float, float]:
    """Seconds from the reply to the upsert until both lists hold the item."""
    shopper = f"of the taste of {item.item_id}"
    liked = [shop.id_of(row) for row in item.neighbours[:TASTE_CLICKS]]
    await _write_clicks(clients.events, shopper, liked, f"taste-{number}")
    await _until(lambda: _viewed(clients.lists, shopper, liked[-1]), f"the taste of {item.item_id}")
    request = catalog.UpsertItemsRequest(
        items=[catalog.Item(item_id=item.item_id, title=item.title, description=item.description)]
    )
    reply = await clients.catalog.UpsertItems(request, timeout=_CALL_SECONDS)
    if [result.status for result in reply.results] != [catalog.ITEM_STATUS_UPSERTED]:
        raise RuntimeError(f"{item.item_id}: {reply.results}")
    neighbour = shop.id_of(item.neighbours[0])
    alike = messages.RecommendRequest(placement=_SIMILAR, context_item_ids=[neighbour], page_size=_PAGE)
    home = messages.RecommendRequest(placement=FOR_YOU, user_id=shopper, page_size=_PAGE)
    similar, wanted = await asyncio.gather(
        _until(lambda: _holds(clients.lists, alike, item.item_id), f"{item.item_id} among those like {neighbour}"),
        _until(lambda: _holds(clients.lists, home, item.item_id), f"{item.item_id} for {shopper}"),
    )
    return similar, wanted


async def _holds(lists: AsyncRecommendationClient, request: messages.RecommendRequest, item_id: str) -> bool:
    return item_id in {result.item_id for result in (await lists.recommend(request)).results}


async def _write_clicks(stub: EventServiceStub, shopper: str, item_ids: Sequence[str], name: str) -> None:
    """Acknowledged on return."""
    clicks = [
        events.Event(
            event_id=f"{name}-{place}-{time.time_ns()}",
            event_type=events.EVENT_TYPE_CLICK,
            user_id=shopper,
            item_id=item_id,
        )
        for place, item_id in enumerate(item_ids)
    ]
    # One call each: within one, the order of equal times would be that of their ids.
    for click in clicks:
        reply = await stub.WriteEvents(events.WriteEventsRequest(events=[click]), timeout=_CALL_SECONDS)
        if reply.accepted_count != 1:
            raise RuntimeError(f"{click.event_id}: {reply.results}")


async def _until(condition: Callable[[], Awaitable[bool]], what: str) -> float:
    """Seconds until it is so; LONGEST_SECONDS, and a line that says so, where it never is."""
    started = time.monotonic()
    while not await condition():
        if time.monotonic() - started > LONGEST_SECONDS:
            print(f"never: {what}", flush=True)
            return LONGEST_SECONDS
        await asyncio.sleep(_PAUSE_SECONDS)
    return time.monotonic() - started
