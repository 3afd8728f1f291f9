"""The serving clock: the one place that says what "now" is.

Historical data ends years ago; measured against the wall clock every recency feature would be that far off. `bundle`
time starts at the bundle's `as_of` when the process starts and runs on from there; `wall` is the machine's UTC clock;
`as-of` stands still, so that a served list can be compared with an evaluated one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

ClockMode: TypeAlias = Literal["bundle", "wall", "as-of"]


def to_us(instant: datetime) -> int:
    """Microseconds since 1970 of an aware datetime, exactly (no float on the way).

    Raises:
        ValueError: if `instant` carries no time zone.
    """
    if instant.tzinfo is None:
        raise ValueError(f"{instant!r} has no time zone")
    delta = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def parse_instant(text: str) -> datetime:
    """An aware datetime from ISO 8601; UTC where it names no zone.

    Raises:
        ValueError: if it is not of that form.
    """
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """Microseconds since 1970, UTC, on the chosen time line."""

    offset_us: int
    """Added to what `source` says."""
    source: Callable[[], int]
    """Microseconds of a clock that only goes forward."""

    def now_us(self) -> int:
        """The current instant, microseconds since 1970, UTC."""
        return self.offset_us + self.source()


def open_clock(mode: ClockMode, as_of: datetime) -> Clock:
    """Start a clock: `bundle` continues from `as_of`, `wall` is the machine's, `as-of` stands still at `as_of`."""
    if mode == "as-of":
        return Clock(to_us(as_of), lambda: 0)
    if mode == "wall":
        return Clock(0, lambda: time.time_ns() // 1000)
    started_us = time.monotonic_ns() // 1000
    return Clock(to_us(as_of) - started_us, lambda: time.monotonic_ns() // 1000)
