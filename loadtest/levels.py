"""Service levels: what a run must keep to, one TOML file per environment in levels/.

Choices: what a method has no level of its own for is looked up under its rpc, then under `default`; a level that is
left out is not judged; a key that nobody knows is an error, since a typing mistake would judge nothing.
"""

import math
import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

DEFAULT = "default"
_FOLDER = Path(__file__).parent / "levels"

Quantile: TypeAlias = Literal["p50", "p99", "p99.9"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class LevelsError(ValueError):
    """A file of levels that cannot be used; names file and key."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Latency(_Table):
    """Most that a quantile of the waiting time may be, milliseconds from when a call was due."""

    p50_ms: Positive | None = None
    p99_ms: Positive | None = None
    p999_ms: Positive | None = None

    def of(self, quantile: Quantile) -> float | None:
        """The level of one quantile."""
        return {"p50": self.p50_ms, "p99": self.p99_ms, "p99.9": self.p999_ms}[quantile]


class Tolerance(_Table):
    """A quantile regressed if it is surely `ratio` times the accepted run's and has risen by `rise_ms`."""

    ratio: Annotated[float, Field(ge=1)]
    rise_ms: Annotated[float, Field(ge=0)]


class Generator(_Table):
    """Beyond these the generator is what was measured."""

    cpu_share: Share
    """Of one core, by the busiest worker."""
    late_p99_ms: Positive
    """By how much calls may be sent later than they were due."""
    waiting_share: Share
    """Of the median wait, the median of what passed before calls were sent."""


class Levels(_Table):
    """Everything that a run is judged by."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    """Of the intervals; refused is what lies beyond its bound with the whole interval."""
    beyond: Annotated[int, Field(ge=1)]
    """A quantile is judged if so many calls are expected beyond it: 10 make p99 need 1,000 calls."""
    error_share: Share
    throughput_share: Share
    """Least share of the calls that fell due that come to an end before the run does."""
    freshness_p99_s: Positive | None = None
    """From an event's acknowledgement until a list shows it, seconds."""
    recovery_s: Positive
    """From the end of a fault until the last reply that was the poorer for it, seconds."""
    latency: dict[str, Latency]
    degraded: dict[str, Share]
    """Kind of degradation → most of the ranked replies that may name it; DEFERRED: of the calls that write events."""
    regression: dict[Quantile, Tolerance]
    generator: Generator

    def latency_of(self, method: str, quantile: Quantile) -> float | None:
        """Of `Recommend/HOME`: its own, or that of `Recommend`, or the default; milliseconds."""
        tables = [self.latency.get(name) for name in (method, method.partition("/")[0], DEFAULT)]
        return next((level for table in tables if table and (level := table.of(quantile)) is not None), None)

    def degraded_of(self, kind: str) -> float | None:
        """Of one kind, or the default."""
        return self.degraded.get(kind, self.degraded.get(DEFAULT))

    def calls_needed(self, share_beyond: float) -> int:
        """The least count of calls by which a quantile with such a share of calls beyond it is judged."""
        return math.ceil(round(self.beyond / share_beyond, 6))


def levels_file(environment: str) -> Path:
    """The file of an environment.

    Raises:
        LevelsError: there is none; names those that there are.
    """
    path = _FOLDER / f"{environment}.toml"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in _FOLDER.glob("*.toml")))
        raise LevelsError(f"no service levels for environment {environment!r}; there are {known}")
    return path


def read_levels(path: Path) -> Levels:
    """Read a file.

    Raises:
        LevelsError: it is missing, is not TOML, lacks a key or holds one that is unknown or out of its range.
    """
    try:
        with path.open("rb") as opened:
            return Levels.model_validate(tomllib.load(opened))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise LevelsError(f"{path}: {error}") from error
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors()]
        raise LevelsError(f"{path}: {'; '.join(wrong)}") from error
