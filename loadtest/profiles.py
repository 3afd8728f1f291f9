"""How the rate of arrivals changes while a load test runs, by name. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

_WARM_UP_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Stage:
    """A time in which the rate stands still."""

    seconds: float
    share: float
    """The rate, as a share of the base rate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """One run's rate over time."""

    name: str
    stages: tuple[Stage, ...]
    """One after the other."""
    warm_up_seconds: float
    """How much of them is not judged."""
    think_seconds: float
    """Mean time that a shopper looks at a page."""
    seconds: float = field(init=False)
    """From the first to the last arrival, warm-up included."""

    def __post_init__(self) -> None:
        """Check the figures.

        Raises:
            ValueError: no stage, one that lasts no time or has a negative rate, or a warm-up as long as all of them.
        """
        object.__setattr__(self, "seconds", sum(stage.seconds for stage in self.stages))
        for number, stage in enumerate(self.stages):
            if stage.seconds <= 0 or stage.share < 0:
                raise ValueError(f"{self.name}: stage {number} {stage}: seconds must be above 0, share at least 0")
        if not 0 <= self.warm_up_seconds < self.seconds:
            raise ValueError(f"{self.name}: a warm-up of {self.warm_up_seconds} s in a run of {self.seconds} s")

    def rate_at(self, t: float, base: float) -> float:
        """Arrivals per second at `t` seconds; 0 outside the run."""
        began = 0.0
        for stage in self.stages:
            if began <= t < began + stage.seconds:
                return stage.share * base
            began += stage.seconds
        return 0.0

    def mean_rate(self, base: float) -> float:
        """Arrivals per second after the warm-up, in the mean."""
        began, judged = 0.0, 0.0
        for stage in self.stages:
            began += stage.seconds
            judged += stage.share * min(stage.seconds, max(began - self.warm_up_seconds, 0.0))
        return base * judged / (self.seconds - self.warm_up_seconds)


def constant(seconds: float, think_seconds: float = 1.0) -> Profile:
    """The base rate all the time; the first tenth is the warm-up."""
    stages, warm_up = (Stage(seconds, 1.0),), _WARM_UP_SHARE * seconds
    return Profile(name="constant", stages=stages, warm_up_seconds=warm_up, think_seconds=think_seconds)


PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(name="smoke", stages=(Stage(60, 1.0),), warm_up_seconds=10, think_seconds=1.0),
        Profile(
            name="release",
            stages=(Stage(10, 0.25), Stage(10, 0.5), Stage(160, 1.0)),
            warm_up_seconds=30,
            think_seconds=2.0,
        ),
        Profile(
            name="soak",
            stages=(Stage(60, 0.5), Stage(3540, 1.0)),
            warm_up_seconds=120,
            think_seconds=5.0,
        ),
        Profile(
            name="spike",
            stages=(Stage(40, 1.0), Stage(20, 3.0), Stage(60, 1.0)),
            warm_up_seconds=10,
            think_seconds=1.0,
        ),
    )
}
"""smoke: a minute, for every change. release: three minutes at the rate that a release must stand, after a ramp. soak:
an hour, for what leaks. spike: three times the rate for twenty seconds, and whether the deployment gets over it."""
