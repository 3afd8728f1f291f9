"""Runs of the load generator as processes of their own, which importing Locust makes necessary, and what they wrote."""

import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from aisle.v1 import recommendation_service_pb2 as messages

from loadtest.recording import RunFacts, read_run
from services.client import RecommendationClient
from services.common.process import ManagedProcess, free_port

LATENCY_S = pl.col("done_s") - pl.col("due_s")
_READY_SECONDS = 60.0


def command(address: str, out: Path, *options: object) -> list[str]:
    """A generator of home pages alone, for shoppers that nobody knows."""
    asked = ["--ranking", address, "--out", str(out), "--journeys", "home", "--bundle", "none", *map(str, options)]
    return [sys.executable, "-m", "loadtest.generator", *asked]


def generated(
    address: str, out: Path, *options: object, cores: Collection[int] | None = None
) -> tuple[pl.DataFrame, RunFacts]:
    """CALLS and facts of a whole run; on these cores where they are named."""
    with _on(cores):
        subprocess.run(command(address, out, *options), check=True, stdout=subprocess.DEVNULL)
    calls, facts, _ = read_run(out)
    return calls, facts


@contextmanager
def stalling_server(log: Path, at_call: int, seconds: float, cores: Collection[int] | None = None) -> Iterator[str]:
    """A server that stops answering once, for so long, at the call of that number: its address."""
    port = free_port()
    module = [sys.executable, "-m", "tests.stalling_server", str(port), str(at_call), str(seconds)]
    with _on(cores):
        process = ManagedProcess("stalling", module, log_path=log)
    with process:
        process.wait_ready(lambda: "up" in process.log(), _READY_SECONDS)
        yield f"127.0.0.1:{port}"


def closed_loop(address: str, callers: int, calls: int) -> pl.Series:
    """So many callers, each of which waits for its answer before it asks again: latencies of all calls, seconds."""
    request = messages.RecommendRequest(placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU, user_id="1", page_size=20)

    def caller(count: int) -> list[float]:
        latencies = []
        for _ in range(count):
            sent = time.perf_counter()
            client.recommend(request)
            latencies.append(time.perf_counter() - sent)
        return latencies

    with RecommendationClient(address, timeout_seconds=10.0) as client, ThreadPoolExecutor(callers) as threads:
        return pl.Series([each for some in threads.map(caller, [calls // callers] * callers) for each in some])


@contextmanager
def _on(cores: Collection[int] | None) -> Iterator[None]:
    """What is started meanwhile runs on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before if cores is None else cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
