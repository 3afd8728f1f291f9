"""Calls at a rate that the server cannot slow down, or one after the other, and what became of each.

An open loop (arrivals of a Poisson process, whatever is still under way) shows waiting that a closed one hides; a
closed one of a few callers finds capacity.
"""

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import numpy as np

Ask = Callable[[], Awaitable[Any]]


@dataclass(slots=True)
class Outcome:
    """All calls of one run."""

    seconds: float = 0.0
    """From the first to the last arrival."""
    latencies: list[float] = field(default_factory=list)
    """Of the calls that were answered, seconds."""
    refusal_latencies: list[float] = field(default_factory=list)
    """Of the calls that were not, seconds."""
    codes: Counter[str] = field(default_factory=Counter)
    replies: list[tuple[float, Any]] = field(default_factory=list)
    """Monotonic time of the answer, and what `keep` made of it."""

    @property
    def answered_per_second(self) -> float:
        """Throughput of answers."""
        return len(self.latencies) / self.seconds

    def quantile_ms(self, quantile: float) -> float:
        """Latency of the answered calls, milliseconds."""
        return float(np.quantile(self.latencies, quantile)) * 1e3

    async def one(self, ask: Ask, keep: Callable[[Any], Any] | None) -> None:
        """Make a call and write down what became of it."""
        started = time.perf_counter()
        try:
            reply = await ask()
        except grpc.aio.AioRpcError as error:
            self.codes[error.code().name] += 1
            self.refusal_latencies.append(time.perf_counter() - started)
        else:
            self.codes["OK"] += 1
            self.latencies.append(time.perf_counter() - started)
            if keep is not None:
                self.replies.append((time.monotonic(), keep(reply)))


async def one_after_another(ask: Ask, count: int, callers: int = 1) -> Outcome:
    """`count` calls by so many callers, each of which waits for its answer."""
    outcome, left = Outcome(), itertools.repeat(None, count)

    async def caller() -> None:
        for _ in left:
            await outcome.one(ask, None)

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    outcome.seconds = time.perf_counter() - started
    return outcome


async def at_a_rate(
    ask: Ask,
    per_second: float,
    seconds: float,
    *,
    seed: int = 0,
    keep: Callable[[Any], Any] | None = None,
    until: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Calls at Poisson arrivals, for so long or until `until`; waits for the last answer.

    Args:
        ask: makes one call.
        per_second: mean rate of arrivals.
        seconds: from the first to the last arrival, at most.
        seed: of the arrivals.
        keep: what to write down of each reply.
        until: ends it early.
    """
    outcome, under_way = Outcome(), set[asyncio.Task[None]]()
    started = time.perf_counter()
    for arrival in _arrivals(per_second, seconds, seed):
        wait = started + arrival - time.perf_counter()
        await asyncio.sleep(max(wait, 0.0))
        if until():
            break
        task = asyncio.create_task(outcome.one(ask, keep))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    outcome.seconds = time.perf_counter() - started
    while under_way:
        await asyncio.wait(under_way)
    return outcome


@contextmanager
def under_way(run: Callable[[Callable[[], bool]], Coroutine[Any, Any, Outcome]]) -> Iterator[Callable[[], Outcome]]:
    """A load beside the block, in a thread with an event loop of its own: what the block does cannot hold it up.

    Args:
        run: makes the calls until what it is given says True.

    Yields:
        What became of the calls, once the block has ended.
    """
    over, outcomes = threading.Event(), list[Outcome]()
    thread = threading.Thread(target=lambda: outcomes.append(asyncio.run(run(over.is_set))), name="load")
    thread.start()
    try:
        yield lambda: outcomes[0]
    finally:
        over.set()
        thread.join()


def _arrivals(per_second: float, seconds: float, seed: int) -> Iterator[float]:
    gaps = np.random.default_rng(seed).exponential(1.0 / per_second, int(per_second * seconds * 1.2) + 100)
    return itertools.takewhile(lambda arrival: arrival < seconds, np.cumsum(gaps).tolist())
