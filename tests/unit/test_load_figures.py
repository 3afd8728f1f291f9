"""What CALLS amount to, counted again by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.figures import ALL, OUTSIDE, bundles_of, figures_of, grouped, stage_times, steady
from loadtest.recording import FRESHNESS, Mark
from loadtest.series import degraded_over_time, series_of, width_of
from tests.unit.load_calls import call, frame

Row = dict[str, Any]
CODES = ("OK", "OK", "OK", "INTERNAL", "UNAVAILABLE", "DEFERRED", "LOST")
ROWS = st.lists(
    st.builds(
        call,
        st.floats(0, 100),
        st.floats(0.01, 5_000),
        method=st.sampled_from(["Recommend/HOME", "Recommend/CART", "Rank", "WriteEvents", FRESHNESS]),
        code=st.sampled_from(CODES),
        degradations=st.lists(st.sampled_from(["STALE_FEATURES", "INTEREST_FALLBACK"]), max_size=2, unique=True),
        stages=st.dictionaries(st.sampled_from(["total", "ranking", "queue"]), st.floats(0, 50), max_size=3),
        bundle=st.sampled_from([None, "shop-w49"]),
    ),
    max_size=40,
)


def recounted(rows: Sequence[Row], method: str) -> Row:
    """The row of a method, counted one by one."""
    those = [row for row in rows if row["method"] != FRESHNESS]
    those = [row for row in those if method == ALL or row["method"] == method or row["method"].startswith(f"{method}/")]
    answered = [row for row in those if row["code"] == "OK"]
    ranked = [row for row in answered if row["bundle"] is not None]
    waited = sorted((row["done_s"] - row["due_s"]) * 1e3 for row in answered)

    def quantile(share: float) -> float | None:
        return next((ms for place, ms in enumerate(waited, 1) if place >= share * len(waited) - 1e-9), None)

    return {
        "calls": len(those),
        "errors": sum(row["code"] not in {"OK", "DEFERRED"} for row in those),
        "deferred": sum(row["code"] == "DEFERRED" for row in those),
        "ranked": len(ranked),
        "degraded": sum(bool(row["degradations"]) for row in ranked),
        "p50_ms": quantile(0.5),
        "p99_ms": quantile(0.99),
        "p999_ms": quantile(0.999),
    }


@settings(deadline=None, max_examples=60)
@given(ROWS, ROWS)
def test_figures_of_two_workers_together_are_those_of_a_recount(mine: list[Row], theirs: list[Row]) -> None:
    both = pl.concat([frame(theirs), frame(mine)])
    for row in figures_of(both).filter(stage="").to_dicts():
        expected = recounted(mine + theirs, row["method"])
        assert {name: row[name] for name in expected} == pytest.approx(expected)


@settings(deadline=None, max_examples=60)
@given(ROWS)
def test_figures_over_time_add_up_to_those_of_the_run(rows: list[Row]) -> None:
    calls = frame(rows)
    series, figures = series_of(calls, width_of(calls)), figures_of(calls).row(0, named=True)
    assert series["errors"].sum() == figures["errors"]
    assert series["deferred"].sum() == figures["deferred"]
    assert series["due"].sum() * width_of(calls) == pytest.approx(figures["calls"])
    assert series["second"].to_list() == [place * width_of(calls) for place in range(series.height)]


def test_an_rpc_with_several_methods_is_told_as_a_whole_too() -> None:
    rows = [call(0, method=name) for name in ("Recommend/HOME", "Recommend/CART", "Rank/SEARCH", "WriteEvents")]
    assert list(grouped(frame(rows))) == ["Rank/SEARCH", "Recommend", "Recommend/CART", "Recommend/HOME", "WriteEvents"]


def test_outside_is_what_the_caller_waited_beyond_the_service() -> None:
    calls = frame([call(0, 12, stages={"total": 7, "ranking": 4}), call(1, 5), call(2, 9, code="INTERNAL")])
    times = stage_times(calls)
    assert dict(zip(times["stage"], times["ms"], strict=True)) == pytest.approx({"total": 7, "ranking": 4, OUTSIDE: 5})
    assert times["call"].unique().to_list() == [0]


def test_a_call_is_part_of_a_fault_if_any_of_it_lies_within() -> None:
    mark = Mark(at_s=10, until_s=12, what="kill triton", recovered_s=3)
    rows = [call(due, 1_500) for due in (8, 9, 11, 14.9, 15.1)]
    assert steady(frame(rows), [mark], 10)["due_s"].to_list() == [8, 15.1]
    unknown = Mark(at_s=10, until_s=12, what="kill triton")
    assert steady(frame(rows), [unknown], 2.95)["due_s"].to_list() == [8, 15.1]


def test_degradations_are_shares_of_the_replies_of_their_second() -> None:
    stale = ["STALE_FEATURES"]
    rows = [call(0.1), call(1.1, degradations=stale), call(1.2), call(1.3, bundle=None), call(2.1, degradations=stale)]
    assert degraded_over_time(frame(rows), 1) == {"STALE_FEATURES": [(0, 0), (1, 0.5), (2, 1)]}


def test_bundles_are_told_in_the_order_in_which_they_answered() -> None:
    assert bundles_of(frame([call(0, bundle="b"), call(1, bundle="a"), call(2, bundle="b")])) == ["b", "a"]


def test_a_long_run_is_drawn_in_few_stretches() -> None:
    rows = [call(float(second)) for second in np.arange(0, 3_600, 7)]
    assert 250 <= series_of(frame(rows), width_of(frame(rows))).height <= 300
