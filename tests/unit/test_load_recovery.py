"""Recovery is the time from the end of a fault until the last reply that was the poorer for it."""

import numpy as np
import polars as pl
import pytest

from loadtest.recording import CALLS, FRESHNESS, Mark
from loadtest.recovery import with_recovery

END = 60.0


def calls_of(
    *poor: tuple[float, float, str],
    failed: tuple[float, ...] = (),
    swapped_s: float = END,
    probes: tuple[float, ...] = (),
) -> pl.DataFrame:
    """Ten replies a second until END; those in [from, to) name the degradation, those at the moments failed."""
    moments = np.arange(0.0, END, 0.1).round(1).tolist()
    rows = [
        {
            "due_s": at - 0.01,
            "done_s": at,
            "method": "Recommend/HOME",
            "code": "UNAVAILABLE" if at in failed else "OK",
            "degradations": [name for start, stop, name in poor if start <= at < stop],
            "bundle": None if at in failed else "old" if at < swapped_s else "new",
        }
        for at in moments
    ]
    rows += [{"due_s": at - 10, "done_s": at, "method": FRESHNESS, "code": "DEADLINE_EXCEEDED"} for at in probes]
    return pl.DataFrame(rows, schema=CALLS).sample(fraction=1.0, shuffle=True, seed=1)


def recovered(calls: pl.DataFrame, *marks: Mark) -> list[float | None]:
    return [mark.recovered_s for mark in with_recovery(marks, calls)]


KILL = Mark(at_s=20.0, until_s=28.0, what="kill triton")


@pytest.mark.parametrize(
    ("calls", "seconds"),
    [
        (calls_of((20.1, 29.4, "INTEREST_FALLBACK")), 1.3),
        (calls_of((20.1, 27.0, "INTEREST_FALLBACK")), 0.0),
        (calls_of((20.1, 29.4, "STALE_FEATURES")), 0.0),
        (calls_of(), 0.0),
        (calls_of((20.1, 28.0, "INTEREST_FALLBACK"), failed=(28.5, 29.7)), 1.7),
        (calls_of((20.1, 29.4, "INTEREST_FALLBACK"), (45.0, 45.1, "INTEREST_FALLBACK")), 1.3),
        (calls_of((20.1, 29.4, "INTEREST_FALLBACK"), probes=(31.0, 33.0)), 1.3),
        (calls_of((20.1, END, "INTEREST_FALLBACK")), None),
    ],
)
def test_the_last_poor_reply_counts(calls: pl.DataFrame, seconds: float | None) -> None:
    assert recovered(calls, KILL) == [None if seconds is None else pytest.approx(seconds, abs=0.01)]


def test_a_fault_is_not_blamed_for_the_next_one() -> None:
    calls = calls_of((20.1, 29.0, "INTEREST_FALLBACK"), (31.1, 36.0, "INTEREST_FALLBACK"))
    next_one = Mark(at_s=31.0, until_s=35.0, what="stall triton")
    assert recovered(calls, next_one, KILL) == [pytest.approx(0.9, abs=0.01), pytest.approx(0.9, abs=0.01)]


def test_a_swap_is_over_when_the_former_bundle_has_answered_for_the_last_time() -> None:
    swap = Mark(at_s=20.0, until_s=20.0, what="swap bundle")
    assert recovered(calls_of(swapped_s=24.0), swap) == [pytest.approx(3.9, abs=0.01)]


def test_a_run_in_which_nothing_was_done_has_no_marks() -> None:
    assert with_recovery([], calls_of()) == []


def test_where_nobody_asked_nothing_is_known() -> None:
    assert recovered(pl.DataFrame(schema=CALLS), KILL) == [None]
