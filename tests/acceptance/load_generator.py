"""What the load generator can do, and that it tells the truth: its speed, its limits, and a stall."""

from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from loadtest.recording import RunFacts
from tests.acceptance.ranking_stack import halves, reference_server
from tests.acceptance.rows import Row, at_least, at_most, holds, told
from tests.generator_runs import LATENCY_S, closed_loop, generated, stalling_server

_CALLS_PER_SECOND = 2000.0
_OFFERED, _SECONDS = 2200.0, 20.0
_TOO_MUCH = 3.0
_BUSY = 0.9
_LATER = 10.0

_STALL_SECONDS = 1.0
_STALL_RATE, _STALL_RUN_SECONDS = 200.0, 20.0
_CALLERS, _CALLS = 4, 20_000
_P999 = 0.999


def generator_speed() -> list[Row]:
    """One worker against a server that does nothing, each on its own half of the cores; then asked for too much."""
    with reference_server("empty") as (address, _):
        calls, facts = _run(address, _OFFERED, _SECONDS)
        _, swamped = _run(address, _TOO_MUCH * _OFFERED, _SECONDS / 4)
    return [
        at_least("generator.calls_per_second", answered_per_second(calls, facts), _CALLS_PER_SECOND),
        told("generator.offered_per_second", _OFFERED),
        holds("generator.all_answered", value=bool((calls["code"] == "OK").all())),
        told("generator.cpu_share", facts.generator_cpu_share),
        told("generator.late_p99_ms", facts.late_p99_ms),
        at_least("generator.swamped_cpu_share", swamped.generator_cpu_share, _BUSY),
        at_least("generator.swamped_late_over_late", swamped.late_p99_ms / facts.late_p99_ms, _LATER),
    ]


def open_arrivals() -> list[Row]:
    """A server that stands still for a second once: by calls at an open rate, and by callers who wait their turn."""
    servers, _ = halves()
    with TemporaryDirectory() as folder:
        log, middle = Path(folder) / "log", int(_STALL_RATE * _STALL_RUN_SECONDS / 2)
        with stalling_server(log, middle, _STALL_SECONDS, servers) as address:
            calls, facts = _run(address, _STALL_RATE, _STALL_RUN_SECONDS)
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with stalling_server(log, _CALLS // 2, _STALL_SECONDS, servers) as address:
            waited = closed_loop(address, _CALLERS, _CALLS)
    judged = calls.filter(pl.col("due_s") >= facts.warm_up_seconds)
    return [
        at_least("arrivals.open_p999_over_stall", quantile(judged, _P999) / _STALL_SECONDS, 0.9),
        told("arrivals.open_p50_ms", quantile(judged, 0.5) * 1e3),
        at_most("arrivals.closed_p999_over_stall", _of(waited, _P999) / _STALL_SECONDS, 0.1),
        at_least("arrivals.closed_max_over_stall", _of(waited, 1.0) / _STALL_SECONDS, 0.9),
        told("arrivals.closed_calls_per_second", _CALLERS / _mean(waited)),
    ]


def answered_per_second(calls: pl.DataFrame, facts: RunFacts) -> float:
    """Throughput between warm-up and end, by when answers came."""
    between = calls.filter(pl.col("done_s").is_between(facts.warm_up_seconds, facts.seconds), pl.col("code") == "OK")
    return between.height / (facts.seconds - facts.warm_up_seconds)


def quantile(calls: pl.DataFrame, quantile: float) -> float:
    """Of what shoppers waited, seconds."""
    return _of(calls.select(LATENCY_S).to_series(), quantile)


def _mean(latencies: pl.Series) -> float:
    return float(latencies.to_numpy().mean())


def _of(latencies: pl.Series, quantile: float) -> float:
    value = latencies.quantile(quantile)
    assert value is not None, "no calls"
    return value


def _run(address: str, rate: float, seconds: float) -> tuple[pl.DataFrame, RunFacts]:
    _, caller = halves()
    with TemporaryDirectory() as folder:
        options = ("--rate-seconds", rate, seconds, "--timeout", 30)
        return generated(address, Path(folder), *options, cores=caller)
