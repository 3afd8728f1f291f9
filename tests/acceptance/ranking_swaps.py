"""Line 8: ten bundle swaps under load.

A second bundle is made of the serving one, each of whose parts answers otherwise: other vectors and index, the rankers
exchanged, an interest tower that says less. A reply that used any part of the other bundle than the one it names would
then be neither bundle's list.
"""

import asyncio
import itertools
import json
import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import numpy as np
import psutil
from aisle.v1 import recommendation_service_pb2 as messages

from features import bundle as files
from features.adapters import load
from features.bundle import open_bundle, promote, serving_path
from services.client import AsyncRecommendationClient, RecommendationClient
from services.retrieval.index import build_index
from services.stack import StackConfig, running_stack
from tests.acceptance.calls import Ask, Outcome, at_a_rate, one_after_another, under_way
from tests.acceptance.rows import Row, at_most, holds
from tests.second_bundle import quieten, rewritten

DATA = "complete-journey"
SWAPS = 10
SHOPPERS = 150
STRANGERS = 10
PAGE = 20
QUIET_SECONDS = 5.0
SWAP_SECONDS = 120.0
LONGEST_SECONDS = 1800.0
LOAD_SHARE = 0.5
CONNECTIONS = 4
CAPACITY_CALLERS = 4
CAPACITY_CALLS = 1000
SCORE_TOLERANCE = 1e-4
"""Towers that answer several shoppers at once add up in another order."""

Listed = tuple[tuple[str, float, float], ...]
"""Item id, score and interest score of each place."""
Expected = dict[tuple[str, int], Listed]
"""Bundle version and number of the request → its list."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reply under load said."""

    request: int
    version: str
    listed: Listed
    degraded: bool


def swaps() -> list[Row]:
    """Ten promotions, back and forth, while shoppers ask at half of what the service can do."""
    requests = _requests()
    with tempfile.TemporaryDirectory(dir="build", prefix="swaps-") as folder:
        bundles = Path(folder) / "bundles"
        first, second = _two_bundles(serving_path(Path("bundles")), bundles)
        config = StackConfig(data=DATA, bundles=bundles, ranking_port=0, live=False, clock="as-of")
        with running_stack(config) as stack:
            address, process = stack.addresses["ranking"], psutil.Process(stack.processes["ranking"].pid)
            capacity = asyncio.run(_capacity(address, requests))
            expected = _quiet_lists(address, requests)
            _swap(address, bundles, second)
            expected |= _quiet_lists(address, requests)
            _swap(address, bundles, first)
            seconds, memory = [], []
            with _load(address, requests, LOAD_SHARE * capacity) as outcome:
                for number in range(SWAPS):
                    seconds.append(_swap(address, bundles, (second, first)[number % 2]))
                    memory.append(_resident_mb(process))
    return _rows(outcome(), expected, seconds, memory, capacity)


def _rows(
    outcome: Outcome, expected: Expected, seconds: list[float], memory: list[float], capacity: float
) -> list[Row]:
    answers: list[Answer] = [answer for _, answer in outcome.replies]
    whole = [answer for answer in answers if not answer.degraded]
    mixed = [answer for answer in whole if not _alike(answer.listed, expected[answer.version, answer.request])]
    failed = {code: count for code, count in outcome.codes.items() if code != "OK"}
    told = {
        "calls": outcome.codes.total(),
        "failed": failed,
        "degraded": len(answers) - len(whole),
        "capacity, calls/s": round(capacity),
        "p50, p99, longest ms": [round(outcome.quantile_ms(q), 1) for q in (0.5, 0.99, 1.0)],
        "seconds a swap, median, longest": [round(statistics.median(seconds), 1), round(max(seconds), 1)],
        "MB after each": [round(mb) for mb in memory],
    }
    return [
        at_most("failed_calls", sum(failed.values()), 0),
        at_most("replies_mixing_versions", len(mixed), 0),
        at_most("memory_after_ten_swaps_over_after_two", round(memory[-1] / memory[1], 3), 1.1),
        holds("both_versions_answered", value={answer.version for answer in whole} == {key[0] for key in expected}),
        Row("told", json.dumps(told), "-", None),
    ]


def _requests() -> list[messages.RecommendRequest]:
    """Lists of known shoppers, of strangers, and of products like one that a shopper looks at."""
    data = load(DATA, Path("build/data"))
    known = data.users["user_id"].sample(SHOPPERS, seed=1).to_list()
    items = data.items["item_id"].sample(STRANGERS, seed=1).to_list()
    for_you = [*known, *(f"stranger {number}" for number in range(STRANGERS))]
    return [
        *(
            messages.RecommendRequest(placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU, user_id=user_id, page_size=PAGE)
            for user_id in for_you
        ),
        *(
            messages.RecommendRequest(
                placement=messages.PLACEMENT_SIMILAR_ITEMS, context_item_ids=[item_id], page_size=PAGE
            )
            for item_id in items
        ),
    ]


def _two_bundles(root: Path, bundles: Path) -> tuple[str, str]:
    """A folder with the serving bundle, promoted, and one made of it; their versions."""
    shutil.copytree(root, bundles / root.name)
    first = open_bundle(bundles / root.name)
    second = rewritten(first, bundles, f"{first.version}-other", _otherwise)
    promote(bundles, first.version, "acceptance", datetime.now(UTC))
    return first.version, second.version


def _otherwise(root: Path) -> None:
    """Other vectors and another index, the rankers exchanged, a quieter interest tower."""
    vectors = np.load(root / files.ITEM_VECTORS, allow_pickle=False).astype(np.float32)
    other = (0.7 * vectors + 0.3 * np.roll(vectors, 1, axis=0)).astype(np.float16)
    np.save(root / files.ITEM_VECTORS, other)
    build_index(other.astype(np.float32)).save(root / files.INDEX)
    ranker, new_ranker = ((root / name).read_text() for name in (files.RANKER, files.NEW_RANKER))
    (root / files.RANKER).write_text(new_ranker)
    (root / files.NEW_RANKER).write_text(ranker)
    quieten(root)


def _swap(address: str, bundles: Path, version: str) -> float:
    """Promote, and wait until a reply names the version; seconds that took."""
    started = time.monotonic()
    promote(bundles, version, "acceptance", datetime.now(UTC))
    with RecommendationClient(address, timeout_seconds=QUIET_SECONDS) as client:
        _until(lambda: _version(client) == version, SWAP_SECONDS)
    return time.monotonic() - started


def _version(client: RecommendationClient) -> str:
    """The version that answers now; none where this call is one too many."""
    request = messages.RecommendRequest(placement=messages.PLACEMENT_BEST_SELLERS, validate_only=True)
    try:
        return client.recommend(request).bundle_version
    except grpc.RpcError:
        return ""


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.1)


def _resident_mb(process: psutil.Process) -> float:
    """The least within the five seconds that a release has to leave, megabytes."""
    least, deadline = math.inf, time.monotonic() + 5.0
    while time.monotonic() < deadline:
        least = min(least, process.memory_info().rss / 1e6)
        time.sleep(0.1)
    return least


def _quiet_lists(address: str, requests: list[messages.RecommendRequest]) -> Expected:
    """What the version that serves answers one caller."""
    lists: Expected = {}
    with RecommendationClient(address, timeout_seconds=QUIET_SECONDS) as client:
        for number, request in enumerate(requests):
            reply = client.recommend(request)
            while reply.degradations:
                reply = client.recommend(request)
            lists[reply.bundle_version, number] = _listed(reply)
    return lists


def _listed(reply: messages.RecommendResponse) -> Listed:
    return tuple((item.item_id, item.score, item.interest_score) for item in reply.results)


def _alike(found: Listed, expected: Listed) -> bool:
    if [place[0] for place in found] != [place[0] for place in expected]:
        return False
    return np.allclose([place[1:] for place in found], [place[1:] for place in expected], atol=SCORE_TOLERANCE)


async def _capacity(address: str, requests: list[messages.RecommendRequest]) -> float:
    """Calls a second that a few callers who never pause get answered."""
    async with AsyncRecommendationClient(address, channel_count=CONNECTIONS, timeout_seconds=QUIET_SECONDS) as client:
        outcome = await one_after_another(_asking(client, requests), CAPACITY_CALLS, CAPACITY_CALLERS)
    return outcome.answered_per_second


def _load(
    address: str, requests: list[messages.RecommendRequest], per_second: float
) -> AbstractContextManager[Callable[[], Outcome]]:
    """Shoppers who come at a steady rate while the block runs."""

    async def arrivals(over: Callable[[], bool]) -> Outcome:
        async with AsyncRecommendationClient(address, channel_count=CONNECTIONS) as client:
            ask, keep = _asking(client, requests), lambda answer: answer
            return await at_a_rate(ask, per_second, LONGEST_SECONDS, keep=keep, until=over)

    return under_way(arrivals)


def _asking(client: AsyncRecommendationClient, requests: list[messages.RecommendRequest]) -> Ask:
    """One request after another, for ever; each call answers with the request's number and what was answered."""
    numbers = itertools.cycle(range(len(requests)))

    async def ask() -> Answer:
        number = next(numbers)
        reply = await client.recommend(requests[number])
        return Answer(number, reply.bundle_version, _listed(reply), bool(reply.degradations))

    return ask
