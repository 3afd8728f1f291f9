"""Line 6: nothing behind the ranking service can turn a reply into an error, nor make it late."""

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import grpc
import psutil
from aisle.v1 import recommendation_service_pb2 as messages

from services.client import AsyncRecommendationClient
from services.stack import Stack
from tests.acceptance.calls import Outcome, at_a_rate, one_after_another, under_way
from tests.acceptance.chain_serving import kill
from tests.acceptance.ranking_stack import (
    FOR_YOU,
    READY_SECONDS,
    home_pages,
    is_serving,
    pinned_stack,
    restart_pinned,
    shoppers,
)
from tests.acceptance.rows import Row, at_least, at_most, holds, told

DEADLINE_SECONDS = 0.02
STALLED_CALLS = 500
PAUSE_SECONDS = 10.0
"""Before each part is killed, and after the last is back: with the outages a minute and more under load."""
DOWN_SECONDS = 8.0
"""How long each part stays away."""
LONGEST_SECONDS = 600.0
RECOVERY_SECONDS = 5.0
PARTS = {
    "triton": messages.DEGRADATION_INTEREST_FALLBACK,
    "valkey": messages.DEGRADATION_USER_FEATURES_FALLBACK,
    "retrieval": messages.DEGRADATION_RETRIEVAL_FALLBACK,
}
"""What is killed, and what replies say they did without."""


def faults() -> list[Row]:
    """A stalled Triton under a short deadline; every back end killed under load; a start without Triton."""
    with pinned_stack(back_ends_anywhere=True, remote_index=True) as stack:
        rows = asyncio.run(_stalled(stack))
        rows += _killed(stack)
        kill(stack, "triton")
        kill(stack, "ranking")
        restart_pinned(stack, "ranking")
        stack.processes["ranking"].wait_ready(lambda: is_serving(stack.addresses["ranking"]), READY_SECONDS)
        reply = asyncio.run(_ask_once(stack.addresses["ranking"]))
    return [
        *rows,
        holds("ranking_comes_up_serving_without_triton", value=len(reply.results) == 20),
    ]


async def _stalled(stack: Stack) -> list[Row]:
    requests = home_pages(shoppers())
    async with AsyncRecommendationClient(stack.addresses["ranking"], timeout_seconds=5.0) as client:

        async def ask() -> messages.RecommendResponse:
            return await client.recommend(next(requests))

        await one_after_another(ask, 300)
        named, outcome = Counter[str](), Outcome()

        async def hurried() -> messages.RecommendResponse:
            return await client.recommend(next(requests), timeout_seconds=DEADLINE_SECONDS)

        with _stopped(stack, "triton"):
            for _ in range(STALLED_CALLS):
                await outcome.one(hurried, lambda reply: named.update(map(_name, reply.degradations)))
    return [
        at_most("stalled_triton_calls_not_answered_within_20_ms", STALLED_CALLS - outcome.codes["OK"], 0),
        told("stalled_triton_p99_ms", round(outcome.quantile_ms(0.99), 2)),
        at_least("stalled_triton_share_that_names_it", round(named["INTEREST_FALLBACK"] / STALLED_CALLS, 3), 0.95),
    ]


def _killed(stack: Stack) -> list[Row]:
    """Each part in turn, under half of the load that can be answered."""
    address, down = stack.addresses["ranking"], dict[str, tuple[float, float]]()
    half = asyncio.run(_capacity(address)) / 2
    with under_way(partial(_shoppers_come, address, half)) as found:
        for name in PARTS:
            time.sleep(PAUSE_SECONDS)
            killed = time.monotonic()
            kill(stack, name)
            time.sleep(DOWN_SECONDS)
            restart_pinned(stack, name, anywhere=name != "retrieval")
            stack.processes[name].wait_ready(partial(_is_up, stack, name), READY_SECONDS)
            down[name] = (killed, time.monotonic())
        time.sleep(PAUSE_SECONDS)
    outcome = found()
    rows = []
    for name, degradation in PARTS.items():
        killed, restarted = down[name]
        degraded = [at for at, steps in outcome.replies if degradation in steps and at >= killed]
        rows.append(holds(f"{name}_killed_is_named", value=any(at < restarted for at in degraded)))
        recovery = max(max(degraded, default=restarted) - restarted, 0.0)
        rows.append(at_most(f"{name}_recovery_seconds", round(recovery, 2), RECOVERY_SECONDS))
    return [
        told("killed_seconds", round(outcome.seconds, 1)),
        told("killed_calls", outcome.codes.total()),
        at_most("killed_calls_failed", outcome.codes.total() - outcome.codes["OK"], 0),
        told("killed_calls_by_code", json.dumps(outcome.codes)),
        told("killed_p99_ms", round(outcome.quantile_ms(0.99), 2)),
        *rows,
    ]


async def _capacity(address: str) -> float:
    requests = home_pages(shoppers())
    async with AsyncRecommendationClient(address, timeout_seconds=5.0) as client:
        return (await one_after_another(lambda: client.recommend(next(requests)), 2000, 4)).answered_per_second


async def _shoppers_come(address: str, per_second: float, over: Callable[[], bool]) -> Outcome:
    requests = home_pages(shoppers())
    async with AsyncRecommendationClient(address) as client:
        return await at_a_rate(
            lambda: client.recommend(next(requests)),
            per_second,
            LONGEST_SECONDS,
            keep=lambda reply: list(reply.degradations),
            until=over,
        )


async def _ask_once(address: str) -> messages.RecommendResponse:
    async with AsyncRecommendationClient(address, timeout_seconds=5.0) as client:
        return await client.recommend(messages.RecommendRequest(placement=FOR_YOU, user_id="1", page_size=20))


@contextmanager
def _stopped(stack: Stack, name: str) -> Iterator[None]:
    """The part and its children held still: connections stay open, and nothing answers."""
    process = psutil.Process(stack.processes[name].pid)
    family = [process, *process.children(recursive=True)]
    for member in family:
        member.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for member in reversed(family):
            member.send_signal(signal.SIGCONT)


def _is_up(stack: Stack, name: str) -> bool:
    """Whether the restarted process itself says that it is ready."""
    if name == "valkey":
        return True  # its start waits until it has read its file
    if name == "retrieval":
        return is_serving(stack.addresses[name])
    with grpc.insecure_channel(stack.addresses[name]) as channel:
        ready = channel.unary_unary("/inference.GRPCInferenceService/ServerReady", lambda _: b"", lambda answer: answer)
        try:
            return bool(ready(None, timeout=1.0))
        except grpc.RpcError:
            return False


def _name(degradation: messages.Degradation) -> str:
    return messages.Degradation.Name(degradation).removeprefix("DEGRADATION_")
