"""Arrivals follow the profile's rate, and nothing but the seed."""

import numpy as np
import pytest

from loadtest.arrivals import arrival_times
from loadtest.profiles import PROFILES, Profile, Stage, constant

STEPS = Profile(
    name="steps", stages=(Stage(100, 1.0), Stage(50, 0.0), Stage(100, 3.0)), warm_up_seconds=0, think_seconds=1
)


def test_the_number_in_each_stage_is_that_of_its_rate() -> None:
    times = arrival_times(STEPS, 20.0, np.random.default_rng(0))
    counts, _ = np.histogram(times, [0, 100, 150, 250])
    assert counts[1] == 0
    for count, mean in ((counts[0], 2000), (counts[2], 6000)):
        assert abs(count - mean) < 5 * np.sqrt(mean)


def test_they_rise_and_lie_within_the_run() -> None:
    times = arrival_times(STEPS, 20.0, np.random.default_rng(0))
    assert (np.diff(times) >= 0).all()
    assert times[0] >= 0
    assert times[-1] < STEPS.seconds


def test_gaps_at_a_constant_rate_are_exponential() -> None:
    gaps = np.diff(arrival_times(constant(2000), 10.0, np.random.default_rng(1)))
    shares = [(gaps > multiple * 0.1).mean() for multiple in (0.5, 1.0, 2.0, 4.0)]
    assert shares == pytest.approx(np.exp([-0.5, -1.0, -2.0, -4.0]), abs=0.01)


def test_numbers_in_equal_times_vary_as_those_of_a_poisson_process() -> None:
    counts, _ = np.histogram(arrival_times(constant(2000), 10.0, np.random.default_rng(2)), 2000)
    assert counts.var() == pytest.approx(counts.mean(), rel=0.15)


def test_several_workers_make_the_whole_rate() -> None:
    parts = [arrival_times(constant(1000), 20.0 / 4, np.random.default_rng([0, worker])) for worker in range(4)]
    together = np.sort(np.concatenate(parts))
    assert len(together) == pytest.approx(20_000, rel=0.05)
    assert (np.diff(together) > 1 / 20).mean() == pytest.approx(np.exp(-1), abs=0.02)


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_a_seed_decides_all(name: str) -> None:
    first, again, other = (arrival_times(PROFILES[name], 5.0, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (first == again).all()
    assert len(first) != len(other) or (first != other).any()


@pytest.mark.parametrize("rate", [-1.0, np.inf, np.nan])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="visits_per_second"):
        arrival_times(STEPS, rate, np.random.default_rng(0))


def test_no_rate_means_no_arrivals() -> None:
    assert arrival_times(STEPS, 0.0, np.random.default_rng(0)).tolist() == []
