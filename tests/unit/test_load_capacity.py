"""The search for the knee finds that of queues whose knee is known, whatever kind of server they stand for."""

import heapq
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from loadtest.capacity import Health, Knee, Step, find_knee, step_of
from loadtest.recording import CALLS

SERVICE_SECONDS = 0.005
SECONDS = 20.0
WARM_UP = 4.0
HEALTH = Health()


def simulated(rate: float, rng: np.random.Generator, servers: int, places: float, service: float) -> Step:
    """A run against `servers` of exactly `service` seconds a call, in front of which `places` calls may be."""
    free_at, under_way, rows = [0.0] * servers, list[float](), []
    for due in np.cumsum(rng.exponential(1.0 / rate, int(rate * SECONDS * 1.3) + 20)).tolist():
        if due > SECONDS:
            break
        under_way = [done for done in under_way if done > due]
        if len(under_way) >= places:
            rows.append((due, due + 0.0005, "RESOURCE_EXHAUSTED"))
            continue
        done = max(heapq.heappop(free_at), due) + service
        heapq.heappush(free_at, done)
        if math.isfinite(places):
            under_way.append(done)
        rows.append((due, done, "OK"))
    return step_of(calls_of(rows), rate, WARM_UP, SECONDS, generator_is_the_limit=False)


def calls_of(rows: list[tuple[float, float, str]]) -> pl.DataFrame:
    """CALLS of (due, done, code)."""
    shared = {"method": "Recommend/HOME", "journey": "home", "degradations": [], "stages": [], "worker": "0"}
    calls = [{"due_s": due, "sent_s": due, "done_s": done, "code": code, **shared} for due, done, code in rows]
    return pl.DataFrame(calls, schema=CALLS)


def knee_of(
    servers: int = 1, places: float = math.inf, service: float = SERVICE_SECONDS, first_rate: float = 5.0, seed: int = 0
) -> Knee:
    rng = np.random.default_rng(seed)
    return find_knee(lambda rate: simulated(rate, rng, servers, places, service), first_rate, health=HEALTH)


def md1_p99_seconds(load: float, service: float) -> float:
    """p99 of the time in an M/D/1 queue by the Cramér-Lundberg asymptote of the wait, which is exact to the third digit
    in its tail: P(W > t) ~ C exp(-eta t), eta the root of lambda (exp(eta D) - 1) = eta."""
    arrivals, low, high = load / service, 1e-9, 1e6
    for _ in range(200):
        eta = (low + high) / 2
        low, high = (eta, high) if arrivals * math.expm1(min(eta * service, 500.0)) < eta else (low, eta)
    scale = (1 - load) / (arrivals * service * (1 + eta / arrivals) - 1)
    return service + max(math.log(scale / 0.01), 0.0) / eta


def load_where(too_slow: Callable[[float], bool]) -> float:
    low, high = 0.01, 0.9999
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if too_slow(middle) else (middle, high)
    return low


@pytest.mark.parametrize("seed", range(5))
def test_the_knee_of_one_server_is_where_the_formula_of_its_queue_has_it(seed: int) -> None:
    limit = HEALTH.p99_over_unloaded_p50_max * SERVICE_SECONDS
    load = load_where(lambda load: md1_p99_seconds(load, SERVICE_SECONDS) > limit)
    found = knee_of(seed=seed)
    assert found.rate == pytest.approx(load / SERVICE_SECONDS, rel=0.07)
    assert found.rate == pytest.approx(1 / SERVICE_SECONDS, rel=0.1)
    assert found.calls_per_second == pytest.approx(found.rate, rel=0.05)
    assert found.unhealthy_rate is not None
    assert found.rate < found.unhealthy_rate <= 1.05 * found.rate


@pytest.mark.parametrize(("servers", "service"), [(2, 0.005), (8, 0.04), (20, 0.2)])
def test_the_knee_of_several_servers_is_what_they_can_do_together(servers: int, service: float) -> None:
    assert knee_of(servers=servers, service=service).rate == pytest.approx(servers / service, rel=0.1)


def test_a_server_that_turns_calls_away_is_at_its_knee_where_it_begins_to() -> None:
    found = knee_of(places=7)
    assert "calls failed" in found.why
    assert 0.75 / SERVICE_SECONDS < found.rate < 1 / SERVICE_SECONDS


def test_a_first_rate_that_is_too_much_is_no_hindrance() -> None:
    assert knee_of(first_rate=900.0).rate == pytest.approx(1 / SERVICE_SECONDS, rel=0.1)


def step(rate: float, **changes: float) -> Step:
    facts = {"due": 1000, "answered": 1000, "failed": 0, "p50_ms": 5.0, "p99_ms": 9.0, "seconds": 10.0} | changes
    return Step(rate=rate, **facts)  # type: ignore[arg-type]


def test_the_highest_rate_asked_for_may_be_healthy() -> None:
    found = find_knee(step, 10.0, rate_max=75.0)
    assert (found.rate, found.unhealthy_rate) == (75.0, None)
    assert "highest rate" in found.why


def test_one_pause_of_the_machine_is_not_taken_for_the_knee() -> None:
    pauses = iter([False, False, True])

    def measure(rate: float) -> Step:
        return step(rate, p99_ms=9000.0 if next(pauses, False) else 9.0)

    assert find_knee(measure, 10.0, rate_max=200.0).rate == 200.0


def test_no_rate_is_healthy() -> None:
    found = find_knee(lambda rate: step(rate, failed=500), 10.0)
    assert (found.rate, found.calls_per_second) == (0.0, 0.0)
    assert "500 of 1000 calls failed" in found.why


def test_the_search_ends_where_the_generator_is_the_limit() -> None:
    def measure(rate: float) -> Step:
        return replace(step(rate), generator_is_the_limit=rate > 30)

    found = find_knee(measure, 10.0)
    assert (found.rate, found.unhealthy_rate) == (20.0, None)
    assert "more workers" in found.why


def test_answers_behind_questions_by_a_few_calls_are_no_complaint_at_a_low_rate() -> None:
    assert HEALTH.complaint(step(1.0, due=40, answered=38), 5.0) is None
    assert HEALTH.complaint(step(1.0, due=1000, answered=960), 5.0) == "960 answers to 1000 calls"


@pytest.mark.parametrize(("first_rate", "resolution"), [(0.0, 1.1), (1.0, 1.0)])
def test_a_search_that_could_not_end_is_refused(first_rate: float, resolution: float) -> None:
    with pytest.raises(ValueError, match="must be above"):
        find_knee(step, first_rate, resolution=resolution)
