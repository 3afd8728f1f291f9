"""The circuit breaker: when it opens, how it probes, when it closes."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from services.common.breaker import Breaker, BreakerOpen, State, export_states


class BackEndError(Exception):
    """What a back end that fails raises."""


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(failures_max=3, pause_seconds=2.0, clock=clock)


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(BackEndError), breaker.attempt():
            raise BackEndError


def state_of(breaker: Breaker) -> State:
    return breaker.state


def test_stays_closed_while_failures_are_not_in_a_row(breaker: Breaker) -> None:
    for _ in range(4):
        fail(breaker, 2)
        with breaker.attempt():
            pass
    assert state_of(breaker) is State.CLOSED


def test_opens_after_failures_in_a_row_and_then_runs_nothing(breaker: Breaker) -> None:
    fail(breaker, 3)
    ran = False
    with pytest.raises(BreakerOpen), breaker.attempt():
        ran = True
    assert not ran
    assert state_of(breaker) is State.OPEN


def test_one_probe_at_a_time_after_the_pause(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 2.0
    assert state_of(breaker) is State.HALF_OPEN
    with breaker.attempt(), pytest.raises(BreakerOpen), breaker.attempt():
        pass
    assert state_of(breaker) is State.CLOSED


def test_a_failed_probe_starts_the_pause_again(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 2.0
    fail(breaker)
    assert state_of(breaker) is State.OPEN
    clock.now += 1.9
    assert state_of(breaker) is State.OPEN
    clock.now += 0.1
    with breaker.attempt():
        pass
    assert state_of(breaker) is State.CLOSED


async def test_giving_up_waiting_is_a_failure(clock: Clock) -> None:
    breaker = Breaker(failures_max=1, clock=clock)

    async def ask() -> None:
        with breaker.attempt():
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask(), 0.001)
    assert state_of(breaker) is State.OPEN


async def test_a_call_that_began_before_it_opened_is_no_probe(breaker: Breaker, clock: Clock) -> None:
    end_early, end_probe = asyncio.Event(), asyncio.Event()

    async def ask(end: asyncio.Event) -> None:
        with breaker.attempt():
            await end.wait()

    early = asyncio.create_task(ask(end_early))
    await asyncio.sleep(0)
    fail(breaker, 3)
    clock.now += 2.0
    probe = asyncio.create_task(ask(end_probe))
    await asyncio.sleep(0)
    early.cancel()
    await asyncio.wait([early])
    with pytest.raises(BreakerOpen), breaker.attempt():
        pass
    end_probe.set()
    await probe
    assert state_of(breaker) is State.CLOSED


def test_states_are_exported(breaker: Breaker, clock: Clock) -> None:
    registry = CollectorRegistry()
    export_states(registry, {"triton": breaker})

    def value() -> float | None:
        return registry.get_sample_value("aisle_breaker_state", {"back_end": "triton"})

    assert value() == 0
    fail(breaker, 3)
    assert value() == 2
    clock.now += 2.0
    assert value() == 1
