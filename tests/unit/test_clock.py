"""There is one "now": the machine's, or the bundle's own time, running on or standing still."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features.clock import Clock, open_clock, to_us

AS_OF = datetime(2017, 12, 4, 5, tzinfo=UTC)


@given(st.integers(-(10**15), 10**16), st.integers(-14 * 60, 14 * 60))
@example(1_512_363_600_000_001, -300)
def test_microseconds_are_exact_in_any_time_zone(us: int, offset_minutes: int) -> None:
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    assert to_us(instant.astimezone(timezone(timedelta(minutes=offset_minutes)))) == us


def test_an_instant_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        to_us(datetime(2017, 12, 4))  # noqa: DTZ001 - that is the point
    with pytest.raises(ValueError, match="has no time zone"):
        open_clock("bundle", datetime(2017, 12, 4))  # noqa: DTZ001


def test_a_clock_is_its_source_moved_by_its_offset() -> None:
    ticks = iter((5, 8))
    clock = Clock(100, lambda: next(ticks))
    assert [clock.now_us(), clock.now_us()] == [105, 108]


def test_bundle_time_starts_at_the_bundles_end_and_runs_with_the_monotonic_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "monotonic_ns", lambda: 7_000_000_123)
    clock = open_clock("bundle", AS_OF)
    assert clock.now_us() == to_us(AS_OF)
    monkeypatch.setattr(time, "monotonic_ns", lambda: 9_500_000_123)
    assert clock.now_us() == to_us(AS_OF) + 2_500_000


def test_time_as_of_the_bundle_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = open_clock("as-of", AS_OF)
    monkeypatch.setattr(time, "monotonic_ns", lambda: 10**18)
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)
    assert clock.now_us() == to_us(AS_OF)


def test_wall_time_is_the_machines_whatever_the_bundle_says(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = open_clock("wall", AS_OF)
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_123_456_789)
    assert clock.now_us() == 1_700_000_000_123_456
