"""The load generator as its users meet it: processes, files, and what happens when something ends too early."""

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import polars as pl
import psutil
import pytest
from aisle.v1 import event_service_pb2 as events
from aisle.v1.event_service_pb2_grpc import EventServiceServicer, add_EventServiceServicer_to_server

from loadtest.arrivals import arrival_times
from loadtest.profiles import constant
from loadtest.recording import CALLS, read_run
from services.common.process import ManagedProcess, free_port
from tests.generator_runs import LATENCY_S, closed_loop, command, generated, stalling_server
from tests.waiting import wait_until

NEVER = 10**9
P999 = 0.999
START_SECONDS = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that answers at once."""
    with stalling_server(tmp_path_factory.mktemp("server") / "log", NEVER, 0.0) as address:
        yield address


def drawn(rate: float, seconds: float, seed: int, worker: int, workers: int) -> list[float]:
    """When visits of a worker are due."""
    rng = np.random.default_rng([seed, worker, 1])
    return [float(each) for each in arrival_times(constant(seconds), rate / workers, rng)]


def began(process: ManagedProcess) -> bool:
    return '{"began"' in process.log()


def test_one_call_per_arrival_is_written(server: str, tmp_path: Path) -> None:
    asked = command(server, tmp_path, "--rate-seconds", 100, 2, "--seed", 7)
    run = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout).keys() == {"began"}, "all that it prints"
    calls, facts, _ = read_run(tmp_path)
    assert calls.schema == CALLS
    assert sorted(calls["due_s"]) == drawn(100, 2, seed=7, worker=0, workers=1)
    assert calls["done_s"].is_sorted()
    assert calls.select((pl.col("due_s") <= pl.col("sent_s")) & (pl.col("sent_s") < pl.col("done_s"))).to_series().all()
    kinds = calls.select("method", "journey", "code", "bundle", "worker").unique().rows()
    assert kinds == [("Recommend/HOME", "home", "OK", "none", "worker-0")]
    assert (facts.target, facts.seconds, facts.warm_up_seconds, facts.visits_per_second) == (server, 2.0, 0.2, 100.0)
    assert 0 < facts.generator_cpu_share < 1


def test_two_workers_fill_one_file(server: str, tmp_path: Path) -> None:
    calls, facts = generated(server, tmp_path, "--rate-seconds", 100, 2, "--workers", 2)
    for worker in range(2):
        due = calls.filter(pl.col("worker") == f"worker-{worker}")["due_s"]
        assert sorted(due) == drawn(100, 2, seed=0, worker=worker, workers=2)
    assert (facts.workers, calls["worker"].n_unique()) == (2, 2)


def test_a_stall_shows_at_an_open_rate_and_hides_from_callers_who_wait(tmp_path: Path) -> None:
    with stalling_server(tmp_path / "log", 150, 1.0) as address:
        calls, _ = generated(address, tmp_path, "--rate-seconds", 100, 3, "--timeout", 10)
    with stalling_server(tmp_path / "closed", 1500, 1.0) as address:
        waited = closed_loop(address, callers=2, calls=3000)
    assert np.quantile(calls.select(LATENCY_S), P999) > 0.9
    assert np.quantile(waited, P999) < 0.1
    assert waited.to_numpy().max() > 0.9


def test_a_generator_that_is_asked_for_too_much_says_so(server: str, tmp_path: Path) -> None:
    _, calm = generated(server, tmp_path / "calm", "--rate-seconds", 50, 0.5)
    _, swamped = generated(server, tmp_path / "swamped", "--rate-seconds", 6000, 0.5, "--timeout", 30)
    assert swamped.late_p99_ms > 10 * calm.late_p99_ms


def test_a_run_that_is_told_to_end_writes_what_it_has(server: str, tmp_path: Path) -> None:
    port = free_port()

    def answered() -> int:
        stats = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/stats/requests"))
        return sum(each["num_requests"] for each in stats["stats"] if each["name"] != "Aggregated")

    options = ("--rate-seconds", 50, 600, "--web-ui", port)
    with ManagedProcess("generator", command(server, tmp_path / "run", *options), log_path=tmp_path / "log") as process:
        process.wait_ready(lambda: began(process), START_SECONDS)
        wait_until(lambda: answered() > 0, 10.0)
        shown = answered()
        assert process.stop(grace_seconds=30.0) == 0
    calls, facts, marks = read_run(tmp_path / "run")
    assert (calls["code"] == "OK").all()
    assert calls["due_s"].to_numpy().max() <= facts.seconds < 600
    assert calls.height >= shown, "a page of Locust's knows of calls that the file lacks"
    assert marks == []


class Moody(EventServiceServicer):
    """Takes no event in until it has been asked so often."""

    def __init__(self, refusals: int) -> None:
        self._left = refusals
        self.seen, self.accepted = set[str](), list[str]()

    def WriteEvents(self, request: events.WriteEventsRequest, context: Any) -> events.WriteEventsResponse:  # noqa: N802 - the rpc's name
        ids = [event.event_id for event in request.events]
        self.seen.update(ids)
        self._left -= 1
        if self._left >= 0:
            context.abort(grpc.StatusCode.UNAVAILABLE, "later")
        self.accepted += ids
        results = [events.EventResult(event_id=each, status=events.EVENT_STATUS_ACCEPTED) for each in ids]
        return events.WriteEventsResponse(results=results)


def test_events_that_are_refused_for_a_while_are_sent_again_by_the_worker_and_none_is_lost(
    server: str, tmp_path: Path
) -> None:
    """Every visit is one page, so that none of them sends anything again; the refusals outlast the visits."""
    moody, ingest = Moody(refusals=30), grpc.server(ThreadPoolExecutor(1))
    add_EventServiceServicer_to_server(moody, ingest)
    port = ingest.add_insecure_port("127.0.0.1:0")
    ingest.start()
    try:
        calls, _ = generated(server, tmp_path, "--rate-seconds", 50, 0.5, "--ingest", f"127.0.0.1:{port}")
    finally:
        ingest.stop(None)
    written = calls.filter(method="WriteEvents")
    assert set(written["code"]) == {"OK", "DEFERRED"}
    assert written.filter(code="DEFERRED").height == 30
    assert "outbox" in set(written.filter(code="OK")["journey"])
    assert sorted(moody.accepted) == sorted(moody.seen)
    assert len(moody.seen) == calls.filter(method="Recommend/HOME").height


def test_workers_die_with_their_master_and_a_lost_worker_ends_the_run(server: str, tmp_path: Path) -> None:
    def started(name: str) -> tuple[ManagedProcess, list[psutil.Process]]:
        asked = command(server, tmp_path / name, "--rate-seconds", 50, 600, "--workers", 2)
        process = ManagedProcess(name, asked, log_path=tmp_path / f"{name}.log")
        process.wait_ready(lambda: began(process), START_SECONDS)
        return process, psutil.Process(process.pid).children()

    headless, orphans = started("headless")
    maimed, (victim, _) = started("maimed")
    with headless, maimed:
        psutil.Process(headless.pid).send_signal(signal.SIGKILL)
        wait_until(lambda: not any(orphan.is_running() for orphan in orphans), 10.0)
        victim.kill()
        assert maimed.wait(30.0) == 1
    assert "lost on the way" in maimed.log()
    calls, _, _ = read_run(tmp_path / "maimed")
    assert calls["worker"].n_unique() == 1


def test_a_target_that_nobody_answers_at_is_named(tmp_path: Path) -> None:
    asked = command(f"127.0.0.1:{free_port()}", tmp_path / "run", "--rate-seconds", 10, 1)
    run = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "UNAVAILABLE" in run.stderr
    assert asked[4] in run.stderr
    assert not (tmp_path / "run").exists()
