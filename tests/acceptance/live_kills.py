"""Line 1: SIGKILL at random moments to all that an event passes, while events come in and are sent again.

Moments are drawn from a seed and counted in acknowledged events, so that each lies amid writing. Nobody waits for what
was killed to be ready before the next moment comes. The writer keeps each event until it is acknowledged, and sends
some of them once more after that.
"""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aisle.v1 import event_service_pb2 as messages

from features.bundle import Bundle, open_bundle, serving_path
from services.common import streams
from services.stack import Stack
from tests.acceptance.chain_serving import kill
from tests.acceptance.folders import emptied
from tests.acceptance.live_parts import Folders, drained, live_parts, until
from tests.acceptance.live_recount import feature_rows, log_rows, recounted
from tests.acceptance.live_sender import Milestones, Sender
from tests.acceptance.live_traffic import Traffic, item_ids
from tests.acceptance.ranking_stack import READY_SECONDS, is_serving
from tests.acceptance.rows import Row, at_least, at_most, told

VICTIMS = (("ingest",), ("updater",), ("valkey",), ("ingest", "updater", "valkey"))
BATCH = 10
SHOPPERS = 300
PATIENCE_SECONDS = 120.0
_AGAIN_SHARE = 0.1
_UNKNOWN_ITEMS = ("nobody sells this",)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it."""

    rounds: int = 50
    per_second: float = 200.0
    events_between: tuple[int, int] = (200, 1400)
    """Least and most acknowledged events from one moment to the next."""
    seed: int = 5


@dataclass(slots=True)
class _Delivery:
    """What the writer's thread shares."""

    milestones: Milestones
    acknowledged: set[str] = field(default_factory=set)
    sent: dict[str, messages.Event] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    failed_calls: Counter[str] = field(default_factory=Counter)
    anew: int = 0
    """Events that were accepted once more after they had been acknowledged."""
    undelivered: int = 0
    """Batches that were given up at the end."""


def kills() -> list[Row]:
    """Fifty rounds over the default bundle's items."""
    rows = killed_rounds(emptied("live/kills"), Path("bundles"), Plan())
    return [at_least("rounds", Plan().rounds, 50), at_least("events_per_second", Plan().per_second, 200), *rows]


def killed_rounds(folder: Path, bundles: Path, plan: Plan, settings: Mapping[str, object] | None = None) -> list[Row]:
    """The rounds of a plan, and what is left in the end. All files are under `folder`."""
    folders, bundle = Folders(folder, bundles), open_bundle(serving_path(bundles))
    traffic = _traffic(bundle, plan.seed)
    with live_parts(folders, append_fsync="always", settings=settings) as stack:
        with _coming_in(stack.addresses["ingest"], traffic, plan.per_second) as delivery:
            killed = _kill_in_turn(stack, plan, delivery.milestones)
            for name in ("ingest", "updater"):
                until(lambda name=name: is_serving(stack.addresses[name]), READY_SECONDS, name)  # type: ignore[misc]
        redis = stack.addresses["valkey"]
        asyncio.run(_until_drained(redis))
        rows = log_rows(folders.live, delivery.acknowledged, delivery.sent)
        shoppers = {event.user_id or event.visitor_id for event in delivery.sent.values()}
        expected = recounted(folders.live, bundle)
        rows += asyncio.run(feature_rows(expected, shoppers, folders.feast, folders.offline, redis))
        letters = asyncio.run(_dead_letters(redis))
    return [
        *(told(f"kills_of_{name}", count) for name, count in sorted(killed.items())),
        told("acknowledged_events", len(delivery.acknowledged)),
        told("answers_by_status", str(dict(delivery.statuses))),
        told("failed_calls", str(dict(delivery.failed_calls))),
        at_most("batches_never_acknowledged", delivery.undelivered, 0),
        at_most("accepted_twice", delivery.anew, 0),
        at_most("dead_letters", letters, 0),
        *rows,
    ]


def _traffic(bundle: Bundle, seed: int) -> Traffic:
    shoppers = [f"shopper {number}" for number in range(SHOPPERS)]
    items = [*item_ids(bundle, 2000), *_UNKNOWN_ITEMS]
    return Traffic("event", shoppers, items, bundle.as_of, seed)


def _kill_in_turn(stack: Stack, plan: Plan, milestones: Milestones) -> Counter[str]:
    """Kill and start again at each moment of the plan."""
    draw, killed = random.Random(plan.seed), Counter[str]()  # noqa: S311 - moments, no secret
    before = ""
    for victims in _in_any_order(plan.rounds, draw):
        milestones.wait_for(milestones.count + draw.randint(*plan.events_between), PATIENCE_SECONDS)
        if "updater" in victims:
            positions = asyncio.run(_positions(stack.addresses["valkey"]))
            killed["updater_that_had_come_further"] += positions != before
            before = positions
        for name in victims:
            kill(stack, name)
        for name in victims:
            stack.restart(name)
        killed.update(victims)
    return killed


def _in_any_order(rounds: int, draw: random.Random) -> Iterator[Sequence[str]]:
    """So many victims, each kind as often as the others."""
    order = [VICTIMS[number % len(VICTIMS)] for number in range(rounds)]
    draw.shuffle(order)
    return iter(order)


@contextmanager
def _coming_in(address: str, traffic: Traffic, per_second: float) -> Iterator[_Delivery]:
    """Events at a steady rate beside the block; after it, until every event is acknowledged."""
    delivery, over = _Delivery(Milestones()), threading.Event()

    def write() -> None:
        try:
            asyncio.run(_write(address, traffic, per_second, delivery, over))
        except BaseException as error:
            delivery.milestones.fail(error)
            raise

    thread = threading.Thread(target=write, name="writer")
    thread.start()
    try:
        yield delivery
    finally:
        over.set()
        thread.join()


async def _write(address: str, traffic: Traffic, per_second: float, delivery: _Delivery, over: threading.Event) -> None:
    draw, loop = random.Random(traffic.count), asyncio.get_running_loop()  # noqa: S311 - what is sent again, no secret
    async with Sender(address) as sender:
        sender.milestones = delivery.milestones
        tasks, start = list[asyncio.Task[None]](), loop.time()
        for number, batch in enumerate(traffic.batches(BATCH)):
            await asyncio.sleep(max(0.0, start + number * BATCH / per_second - loop.time()))
            if over.is_set() or any(task.done() and task.exception() for task in tasks):
                break
            delivery.sent |= {event.event_id: event for event in batch}
            task = asyncio.create_task(_deliver(sender, batch, delivery, again=draw.random() < _AGAIN_SHARE))
            tasks = [task for task in tasks if not task.done() or task.exception()] + [task]
        done, undone = await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)
        delivery.undelivered = len(undone)
        for task in undone:
            task.cancel()
        for task in done:
            task.result()
        delivery.acknowledged = sender.written.acknowledged
        delivery.statuses, delivery.failed_calls = sender.written.statuses, sender.written.failed_calls


async def _deliver(sender: Sender, batch: Sequence[messages.Event], delivery: _Delivery, *, again: bool) -> None:
    await sender.deliver(batch)
    if again:
        statuses = await sender.once(batch)
        delivery.anew += statuses.count(messages.EVENT_STATUS_ACCEPTED)


async def _until_drained(redis: str) -> None:
    client = streams.connect(redis)
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    try:
        while not (left := await drained(client)).everything:
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"not drained within {PATIENCE_SECONDS:g} s: {left}")
            await asyncio.sleep(0.1)
    finally:
        await client.aclose()


async def _positions(redis: str) -> str:
    """How far features have come, whatever that is."""
    client = streams.connect(redis)
    try:
        return str(
            [await client.hget(keys.progress, "features") for keys in streams.all_shards(streams.SHARDS_DEFAULT)]
        )
    finally:
        await client.aclose()


async def _dead_letters(redis: str) -> int:
    client = streams.connect(redis)
    try:
        return sum([await client.xlen(keys.dead) for keys in streams.all_shards(streams.SHARDS_DEFAULT)])
    finally:
        await client.aclose()
