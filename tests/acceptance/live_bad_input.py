"""Line 5: events that are wrong in every way, each amid a batch of good ones.

Every fault must be told for its own event, by the field, and the rest of the batch be kept. What repeats is a
duplicate, however it repeats. A thousand such batches, of which one event has a text of ten million characters, must
leave the process as large as it was.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import grpc.aio
from aisle.v1 import event_service_pb2 as messages
from aisle.v1 import recommendation_service_pb2 as shared

from features.bundle import Bundle, open_bundle, serving_path
from tests.acceptance.folders import emptied
from tests.acceptance.live_parts import Folders, pinned_parts
from tests.acceptance.live_traffic import item_ids
from tests.acceptance.rows import Row, at_least, at_most, told

BATCHES = 1000
WARM_UP = 100
LARGE = 10_000_000
"""Characters of the text that is too long."""
GROWTH_MB_MAX = 64.0
"""What the process may grow by over BATCHES; the text alone is a sixth of it."""
CONCURRENT = 10
_METHOD = "/aisle.v1.EventService/WriteEvents"
_CALL_SECONDS = 60.0
_BAD_UTF8 = b"\xff\xfe\xfd\xfc"
_PLACE = "@bad"
"""Stands for _BAD_UTF8 until the event is encoded."""

_ACCEPTED, _DUPLICATE, _INVALID = (
    messages.EVENT_STATUS_ACCEPTED,
    messages.EVENT_STATUS_DUPLICATE,
    messages.EVENT_STATUS_INVALID,
)


@dataclass(frozen=True, slots=True)
class Case:
    """An event, and what must become of it."""

    name: str
    event: messages.Event
    status: int
    field: str = ""
    """Path, with INVALID and where an accepted event is remarked on."""
    has_bad_utf8: bool = False

    @property
    def encoded(self) -> bytes:
        """The event's bytes."""
        raw = self.event.SerializeToString()
        return raw.replace(_PLACE.encode(), _BAD_UTF8) if self.has_bad_utf8 else raw


def bad_input() -> list[Row]:
    """A thousand batches, over the default bundle."""
    return measured(Folders(emptied("live/bad-input"), Path("bundles")), BATCHES, LARGE)


def measured(folders: Folders, batches: int, large: int) -> list[Row]:
    """So many batches with a text of `large` characters each."""
    bundle = open_bundle(serving_path(folders.bundles))
    with pinned_parts(folders, append_fsync="everysec", updater=False, settings={"CLOCK": "as-of"}) as stack:
        address, pid = stack.addresses["ingest"], stack.processes["ingest"].pid
        return asyncio.run(_measured(address, pid, bundle, batches, large))


async def _measured(address: str, pid: int, bundle: Bundle, batches: int, large: int) -> list[Row]:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        write = channel.unary_unary(_METHOD, lambda raw: raw, messages.WriteEventsResponse.FromString)

        async def send(encoded: Sequence[bytes]) -> messages.WriteEventsResponse:
            reply: messages.WriteEventsResponse = await write(_request(encoded), timeout=_CALL_SECONDS)
            return reply

        wrong, kinds = Counter[str](), 0
        for number in range(WARM_UP if batches >= BATCHES else batches // 10):
            wrong.update(await _batch(send, bundle, f"warm-{number}", large))
        before = _proportional_mb(pid)
        for number in range(batches):
            cases = cases_of(bundle, f"batch-{number}", large)
            kinds = len(cases)
            wrong.update(await _judged(send, cases))
        growth = _proportional_mb(pid) - before
        once = await _repeated(send, bundle)
    return [
        told("kinds_of_events_in_a_batch", kinds),
        at_least("batches", batches, batches),
        at_most("events_judged_otherwise", wrong.total(), 0),
        told("of_these_kinds", str(dict(wrong))),
        *(at_most(f"wrong_about_{name}", count, 0) for name, count in once.items()),
        told("process_mb_before", round(before, 1)),
        at_most("process_grew_mb", round(growth, 1), GROWTH_MB_MAX),
    ]


Send = Callable[[Sequence[bytes]], Any]


async def _batch(send: Send, bundle: Bundle, prefix: str, large: int) -> Counter[str]:
    return await _judged(send, cases_of(bundle, prefix, large))


async def _judged(send: Send, cases: Sequence[Case]) -> Counter[str]:
    """Name of each case that was not judged as it must be."""
    reply = await send([case.encoded for case in cases])
    if len(reply.results) != len(cases):
        return Counter({"results that are missing": abs(len(reply.results) - len(cases))})
    wrong = [
        case.name
        for case, result in zip(cases, reply.results, strict=True)
        if (result.status, result.field) != (case.status, case.field) or bool(result.description) != bool(case.field)
    ]
    accepted = sum(case.status == _ACCEPTED for case in cases)
    return Counter(wrong + ["accepted_count"] * (reply.accepted_count != accepted))


def cases_of(bundle: Bundle, prefix: str, large: int) -> list[Case]:
    """One batch: all that can be wrong, and good events before, between and after."""
    now, item = bundle.as_of, item_ids(bundle, 1)[0]

    def event(name: str, **fields: Any) -> messages.Event:
        known: dict[str, Any] = {
            "event_type": messages.EVENT_TYPE_VIEW,
            "user_id": f"{prefix}'s shopper",
            "item_id": item,
        }
        return messages.Event(event_id=f"{prefix}-{name}", **(known | fields))

    def at(name: str, moment: datetime) -> messages.Event:
        happened = event(name)
        happened.event_time.FromDatetime(moment)
        return happened

    def at_seconds(name: str, seconds: int, nanos: int = 0) -> messages.Event:
        happened = event(name)
        happened.event_time.seconds, happened.event_time.nanos = seconds, nanos
        return happened

    impression: Mapping[str, Any] = {"event_type": messages.EVENT_TYPE_IMPRESSION, "item_id": ""}
    hour = timedelta(hours=1)
    good = [Case("good", event(f"good-{place}"), _ACCEPTED) for place in range(3)]
    judged = [
        Case("out of order", at("late", now - timedelta(days=40)), _ACCEPTED),
        Case("out of order", at("early", now - timedelta(days=400)), _ACCEPTED),
        Case("a little ahead", at("ahead", now + hour / 2), _ACCEPTED),
        Case("future", at("future", now + 2 * hour), _INVALID, "event_time"),
        Case("far future", at_seconds("far-future", 10**15), _INVALID, "event_time"),
        Case("ancient", at("ancient", now.replace(year=1970)), _INVALID, "event_time"),
        Case("before all time", at_seconds("before-time", -(10**15)), _INVALID, "event_time"),
        Case("nanos below 0", at_seconds("nanos", 1_500_000_000, -1), _INVALID, "event_time"),
        Case("type not given", event("no-type", event_type=0), _INVALID, "event_type"),
        Case("type unknown", event("type-99", event_type=99), _INVALID, "event_type"),
        Case("item unknown", event("item", item_id="nobody sells this"), _ACCEPTED, "item_id"),
        Case("item missing", event("no-item", item_id=""), _INVALID, "item_id"),
        Case(
            "id missing",
            messages.Event(event_type=messages.EVENT_TYPE_VIEW, user_id="x", item_id=item),
            _INVALID,
            "event_id",
        ),
        Case("shopper missing", event("nobody", user_id=""), _INVALID, "user_id"),
        Case("search without words", event("search", event_type=messages.EVENT_TYPE_SEARCH), _INVALID, "search_query"),
        Case("impression of nothing", event("nothing", **impression), _INVALID, "impression_item_ids"),
        Case(
            "impression of unknown items",
            event("unknown", **impression, impression_item_ids=[item, "or this"]),
            _ACCEPTED,
            "impression_item_ids",
        ),
        Case(
            "more than was shown",
            event("shown", **impression, impression_item_ids=[item], impression_propensities=[0.5, 0.5]),
            _INVALID,
            "impression_propensities",
        ),
        Case("price below 0", event("price", price=-1.0), _INVALID, "price"),
        Case("price not a number", event("nan", price=float("nan")), _INVALID, "price"),
        Case("too many pieces", event("pieces", quantity=1_000_001), _INVALID, "quantity"),
        Case("six stars", event("stars", rating=6.0), _INVALID, "rating"),
        Case("placement known", event("place", placement=shared.PLACEMENT_TRENDING), _ACCEPTED),
        Case("long text", event("long", search_query="x" * large), _INVALID, "search_query"),
        Case(
            "long id",
            messages.Event(event_id="y" * 129, event_type=messages.EVENT_TYPE_VIEW, user_id="x", item_id=item),
            _INVALID,
            "event_id",
        ),
        Case("not UTF-8", event("utf8", search_query=_PLACE), _INVALID, "search_query", has_bad_utf8=True),
        Case("id not UTF-8", event("utf8-id", user_id=_PLACE), _INVALID, "user_id", has_bad_utf8=True),
        Case("line break in id", event("line", session_id="two\nlines"), _INVALID, "session_id"),
    ]
    twice = Case("same batch twice", event("good-0"), _DUPLICATE)
    return [good[0], *judged[:14], good[1], *judged[14:], twice, good[2]]


async def _repeated(send: Send, bundle: Bundle) -> dict[str, int]:
    """How many events were not accepted exactly once: in a later batch, and in many batches at the same time."""
    item = item_ids(bundle, 1)[0]

    def views(prefix: str) -> list[bytes]:
        return [
            messages.Event(
                event_id=f"{prefix}-{number}", event_type=messages.EVENT_TYPE_VIEW, user_id=f"u{number}", item_id=item
            ).SerializeToString()
            for number in range(100)
        ]

    first, later = await send(views("later")), await send(views("later"))
    wrong_later = sum(result.status != _ACCEPTED for result in first.results)
    wrong_later += sum(result.status != _DUPLICATE for result in later.results)
    replies = await asyncio.gather(*(send(views("at once")) for _ in range(CONCURRENT)))
    accepted = Counter(result.event_id for reply in replies for result in reply.results if result.status == _ACCEPTED)
    others = {result.status for reply in replies for result in reply.results} - {_ACCEPTED, _DUPLICATE}
    wrong_at_once = sum(accepted[f"at once-{number}"] != 1 for number in range(100)) + len(others)
    return {"a_later_batch": wrong_later, "batches_at_once": wrong_at_once}


def _request(encoded: Sequence[bytes]) -> bytes:
    """A WriteEventsRequest of encoded events, whatever is in them."""
    return b"".join(b"\x12" + _varint(len(raw)) + raw for raw in encoded)


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _proportional_mb(pid: int) -> float:
    """PSS of a process, megabytes."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(rollup.split("\nPss:")[1].split()[0]) * 1024 / 1e6
