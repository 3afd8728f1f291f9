"""Lines 2 and 3: how long a call takes and what it costs, beside a call of gRPC that does nothing."""

import asyncio
import itertools

import psutil
from aisle.v1 import recommendation_service_pb2 as messages

from services.client import AsyncRecommendationClient
from tests.acceptance.calls import Ask, at_a_rate, one_after_another
from tests.acceptance.ranking_stack import cpu_seconds, home_pages, pinned_stack, reference_server, shoppers
from tests.acceptance.rows import Row, at_most, told

CALLS = 5000
WARM_UP = 300
CALLERS = 4
"""As many at a time keep the one core of the servers busy."""
HALF_LOAD_SECONDS = 60.0
RANK_ITEMS = 500
_TIMEOUT_SECONDS = 5.0


def latency() -> list[Row]:
    """Line 2: Recommend of twenty out of 300 candidates against an empty call, and its tail at half of saturation."""
    with pinned_stack(back_ends_anywhere=True) as stack, reference_server("empty") as (empty_address, _):
        return asyncio.run(_latency(stack.addresses["ranking"], empty_address))


def cost() -> list[Row]:
    """Line 3: what the ranking process computes per call."""
    with pinned_stack() as stack:
        process = psutil.Process(stack.processes["ranking"].pid)
        return asyncio.run(_cost(stack.addresses["ranking"], process))


async def _latency(ranking: str, empty: str) -> list[Row]:
    requests = home_pages(shoppers())
    async with _client(ranking) as client, _client(empty) as empty_client:

        async def recommend() -> messages.RecommendResponse:
            return await client.recommend(next(requests))

        async def nothing() -> messages.RecommendResponse:
            return await empty_client.recommend(next(requests))

        for ask in (recommend, nothing):
            await one_after_another(ask, WARM_UP)
        quiet, floor = [], []
        for _ in range(CALLS // 500):  # in turn, so that both meet the same machine
            quiet.append(await one_after_another(recommend, 500))
            floor.append(await one_after_another(nothing, 500))
        capacity = (await one_after_another(recommend, CALLS // 2, CALLERS)).answered_per_second
        half = await at_a_rate(recommend, capacity / 2, HALF_LOAD_SECONDS)
    p50 = _median_ms(list(itertools.chain.from_iterable(run.latencies for run in quiet)))
    floor_p50 = _median_ms(list(itertools.chain.from_iterable(run.latencies for run in floor)))
    return [
        told("recommend_p50_ms", round(p50, 3)),
        told("empty_call_p50_ms", round(floor_p50, 3)),
        at_most("recommend_p50_over_empty_call", round(p50 / floor_p50, 2), 8.0),
        told("capacity_per_second_on_half_of_the_cores", round(capacity, 1)),
        told("half_load_p50_ms", round(half.quantile_ms(0.5), 3)),
        told("half_load_p99_ms", round(half.quantile_ms(0.99), 3)),
        at_most("half_load_p99_over_p50", round(half.quantile_ms(0.99) / half.quantile_ms(0.5), 2), 4.0),
        at_most("half_load_calls_not_answered", half.codes.total() - half.codes["OK"], 0),
    ]


async def _cost(address: str, process: psutil.Process) -> list[Row]:
    user_ids = shoppers()
    requests = home_pages(user_ids)
    async with _client(address) as client:

        async def recommend() -> messages.RecommendResponse:
            return await client.recommend(next(requests))

        found: dict[str, None] = {}
        while len(found) < RANK_ITEMS:  # items that come into question, as in a shop's search results
            found |= dict.fromkeys(item.item_id for item in (await recommend()).results)
        item_ids, ranked = list(found)[:RANK_ITEMS], itertools.cycle(user_ids)

        async def rank() -> messages.RankResponse:
            return await client.rank(messages.RankRequest(user_id=next(ranked), item_ids=item_ids))

        recommend_ms = await _milliseconds_per_call(process, recommend, CALLS)
        rank_ms = await _milliseconds_per_call(process, rank, CALLS // 5)
    return [
        at_most("cpu_ms_per_recommend", round(recommend_ms, 2), 3.0),
        at_most("cpu_ms_per_rank_of_500", round(rank_ms, 2), 4.0),
    ]


async def _milliseconds_per_call(process: psutil.Process, ask: Ask, count: int) -> float:
    await one_after_another(ask, WARM_UP)
    before = cpu_seconds(process)
    outcome = await one_after_another(ask, count)
    assert outcome.codes["OK"] == count, outcome.codes
    return (cpu_seconds(process) - before) / count * 1e3


def _client(address: str) -> AsyncRecommendationClient:
    return AsyncRecommendationClient(address, timeout_seconds=_TIMEOUT_SECONDS)


def _median_ms(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) // 2] * 1e3
