"""The share of the time in which something was under way."""

import pytest

from services.common.occupancy import Occupancy


def test_what_was_never_busy_has_no_share() -> None:
    assert Occupancy().share(1000.0) == 0.0


def test_a_busy_time_fills_it_by_the_memory() -> None:
    occupancy = Occupancy(memory_seconds=2.0)
    occupancy.becomes(100.0, busy=True)
    assert occupancy.share(102.0) == pytest.approx(1 - 1 / 2.718281828)
    assert occupancy.share(150.0) == pytest.approx(1.0)


def test_an_idle_time_empties_it() -> None:
    occupancy = Occupancy(memory_seconds=2.0)
    occupancy.becomes(0.0, busy=True)
    occupancy.becomes(100.0, busy=False)
    assert occupancy.share(100.0) == pytest.approx(1.0)
    assert occupancy.share(102.0) == pytest.approx(1 / 2.718281828)


def test_half_of_the_time_is_a_half_however_it_is_cut() -> None:
    occupancy = Occupancy(memory_seconds=1.0)
    now = 0.0
    for _ in range(2000):
        occupancy.becomes(now, busy=True)
        occupancy.becomes(now + 0.005, busy=False)
        now += 0.01
    assert occupancy.share(now) == pytest.approx(0.5, abs=0.01)


def test_saying_again_what_holds_changes_nothing() -> None:
    once, often = Occupancy(), Occupancy()
    once.becomes(0.0, busy=True)
    for tenth in range(10):
        often.becomes(tenth / 100, busy=True)
    assert often.share(0.1) == pytest.approx(once.share(0.1))
