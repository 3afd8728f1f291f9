"""When visits arrive: a Poisson process whose rate changes with time. Pure.

Choices: an open model. The times are drawn before the run begins, so nothing that the deployment does can hold an
arrival up. Several workers draw independently at a part of the rate each: together they are a Poisson process of the
whole rate.
"""

import numpy as np
from numpy.typing import NDArray

from loadtest.profiles import Profile


def arrival_times(profile: Profile, visits_per_second: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw one run's arrivals.

    Args:
        profile: the rate over time, as a share of
        visits_per_second: the base rate, at least 0.
        rng: the only source of chance.

    Returns:
        [arrivals] seconds since the run began, rising, all before its end.

    Raises:
        ValueError: the base rate is negative or not finite.
    """
    if not 0 <= visits_per_second < np.inf:
        raise ValueError(f"visits_per_second: {visits_per_second}, must be at least 0 and finite")
    stages, began = [np.empty(0)], 0.0
    for stage in profile.stages:
        count = rng.poisson(stage.share * visits_per_second * stage.seconds)
        # Given their number, the arrivals of a Poisson process lie uniformly in the time.
        stages.append(np.sort(rng.uniform(began, began + stage.seconds, count)))
        began += stage.seconds
    return np.concatenate(stages)
