"""Profiles: rates over time, their mean, and what is no profile."""

import numpy as np
import pytest

from loadtest.profiles import PROFILES, Profile, Stage, constant


def profile(*stages: Stage, warm_up_seconds: float = 0.0) -> Profile:
    return Profile(name="mine", stages=stages, warm_up_seconds=warm_up_seconds, think_seconds=1.0)


def test_the_rate_is_that_of_the_stage_which_the_time_is_in() -> None:
    steps = profile(Stage(10, 0.5), Stage(20, 2.0))
    rates = [steps.rate_at(t, 100.0) for t in (-0.1, 0.0, 9.9, 10.0, 29.9, 30.0)]
    assert rates == [0.0, 50.0, 50.0, 200.0, 200.0, 0.0]
    assert steps.seconds == 30


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_the_mean_rate_is_the_integral_after_the_warm_up(name: str) -> None:
    one = PROFILES[name]
    times = np.arange(one.warm_up_seconds, one.seconds, 0.5) + 0.25
    assert one.mean_rate(7.0) == pytest.approx(np.mean([one.rate_at(float(t), 7.0) for t in times]))


def test_the_mean_rate_of_a_warm_up_that_ends_within_a_stage() -> None:
    assert profile(Stage(10, 1.0), Stage(10, 4.0), warm_up_seconds=5.0).mean_rate(10.0) == pytest.approx(30.0)


def test_the_smoke_profile_is_a_minute_and_the_release_profile_fits_into_five() -> None:
    assert PROFILES["smoke"].seconds == 60
    assert PROFILES["release"].seconds <= 240


def test_a_constant_rate_is_one_stage() -> None:
    assert constant(20.0).rate_at(19.0, 3.0) == constant(20.0).mean_rate(3.0) == 3.0


@pytest.mark.parametrize(
    ("stages", "warm_up_seconds", "message"),
    [
        ((), 0.0, "warm-up of 0.0 s in a run of 0 s"),
        ((Stage(1, 1.0), Stage(0, 1.0)), 0.0, "mine: stage 1"),
        ((Stage(1, -1.0),), 0.0, "mine: stage 0"),
        ((Stage(5, 1.0),), 5.0, "warm-up of 5.0 s in a run of 5"),
        ((Stage(5, 1.0),), -1.0, "warm-up"),
    ],
)
def test_what_is_no_profile_is_refused(stages: tuple[Stage, ...], warm_up_seconds: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        profile(*stages, warm_up_seconds=warm_up_seconds)
