"""Line 7: twice and five times as many calls as can be answered."""

import asyncio

import psutil

from services.client import AsyncRecommendationClient
from tests.acceptance.calls import Outcome, at_a_rate, one_after_another
from tests.acceptance.ranking_stack import cpu_seconds, home_pages, pinned_stack, reference_server, shoppers
from tests.acceptance.rows import Row, at_least, at_most, holds, told

WARM_UP = 500
CALLERS = 4
CAPACITY_CALLS = 3000
SECONDS = 20.0
REFUSALS = 4000
_TIMEOUT_SECONDS = 5.0
_CONNECTIONS = 4


def overload() -> list[Row]:
    """Goodput against capacity, the tail of what was let in, and how soon the rest was told."""
    with reference_server("full") as (address, process):
        refusal_ms = asyncio.run(_refusal_cpu_ms(address, process))
    with pinned_stack() as stack:
        return asyncio.run(_overload(stack.addresses["ranking"], refusal_ms))


async def _overload(address: str, refusal_ms: float) -> list[Row]:
    requests = home_pages(shoppers())
    async with AsyncRecommendationClient(
        address, timeout_seconds=_TIMEOUT_SECONDS, channel_count=_CONNECTIONS
    ) as client:

        async def ask() -> object:
            return await client.recommend(next(requests))

        await one_after_another(ask, WARM_UP, CALLERS)
        alone = await one_after_another(ask, WARM_UP * 2)
        capacity = (await one_after_another(ask, CAPACITY_CALLS, CALLERS)).answered_per_second
        twice = await at_a_rate(ask, 2 * capacity, SECONDS)
        five = await at_a_rate(ask, 5 * capacity, SECONDS)
    refused_per_second = five.codes["RESOURCE_EXHAUSTED"] / five.seconds
    left = capacity * max(1.0 - refused_per_second * refusal_ms / 1e3, 0.0)
    return [
        told("capacity_per_second", round(capacity, 1)),
        told("unloaded_p99_ms", round(alone.quantile_ms(0.99), 2)),
        told("refusals_per_cpu_ms", round(1 / refusal_ms, 2)),
        *_told("twice", twice),
        at_least("twice_goodput_over_capacity", round(twice.answered_per_second / capacity, 3), 0.8),
        *_told("five_times", five),
        at_least("five_times_goodput_over_what_refusals_leave", round(five.answered_per_second / left, 3), 0.85),
        *(
            at_most(f"{name}_p99_over_unloaded", round(run.quantile_ms(0.99) / alone.quantile_ms(0.99), 2), 3.0)
            for name, run in (("twice", twice), ("five_times", five))
        ),
        holds("all_others_resource_exhausted", value={*twice.codes, *five.codes} == {"OK", "RESOURCE_EXHAUSTED"}),
        *(
            at_most(f"{name}_refusal_p50_over_unloaded_p50", round(_refusal_ms(run) / alone.quantile_ms(0.5), 2), 1.0)
            for name, run in (("twice", twice), ("five_times", five))
        ),
    ]


def _told(name: str, run: Outcome) -> list[Row]:
    return [
        told(f"{name}_offered_per_second", round(run.codes.total() / run.seconds, 1)),
        told(f"{name}_answered_per_second", round(run.answered_per_second, 1)),
        told(f"{name}_p99_ms", round(run.quantile_ms(0.99), 2)),
        told(f"{name}_refusal_p50_ms", round(_refusal_ms(run), 2)),
    ]


def _refusal_ms(run: Outcome) -> float:
    return sorted(run.refusal_latencies)[len(run.refusal_latencies) // 2] * 1e3


async def _refusal_cpu_ms(address: str, process: psutil.Process) -> float:
    """What a refusal costs the server, CPU milliseconds."""
    requests = home_pages(["1"])
    async with AsyncRecommendationClient(address, timeout_seconds=_TIMEOUT_SECONDS) as client:

        async def ask() -> object:
            return await client.recommend(next(requests))

        await one_after_another(ask, WARM_UP, CALLERS)
        before = cpu_seconds(process)
        outcome = await one_after_another(ask, REFUSALS, CALLERS)
        spent = cpu_seconds(process) - before
    assert outcome.codes["RESOURCE_EXHAUSTED"] == REFUSALS, outcome.codes
    return spent / REFUSALS * 1e3
