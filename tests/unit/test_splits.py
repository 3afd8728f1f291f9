"""How a data set is cut: by weeks before an instant, or by each shopper's last events; the truth is never known."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.schema import Dataset
from tests.shop import dataset, day, day_us, event, events, item, items, promotion, promotions
from tests.strategies import Row
from training.queries import Window, open_window
from training.splits import LastOutSplit, TimeSplit, now_us, sequences_before, without_last

IDS = ["COW-MILK", "OAT-MILK", "RYE-BREAD", "TEA"]
CATALOGUE = items(*(item(name, "Food") for name in IDS))
AS_OF = 60.0
few_examples = settings(deadline=None, max_examples=12)
"""A window of features takes some hundredths of a second."""
PROMOTED = promotions(promotion("TEA", "coupon", AS_OF - 3, AS_OF + 7))

_happened = st.lists(
    st.builds(
        event,
        st.sampled_from(["household-1", "household-2", "household-3"]),
        st.sampled_from(IDS),
        st.integers(0, 140).map(lambda number: number / 2),
        st.sampled_from(["purchase", "click", "view"]),
    ),
    min_size=1,
    max_size=30,
).map(lambda rows: [row | {"event_id": f"event-{number:03d}"} for number, row in enumerate(rows)])


def shop(happened: list[Row]) -> Dataset:
    return dataset(events(*happened), CATALOGUE, PROMOTED)


def plain(window: Window) -> list[Any]:
    """A window as values that can be compared."""
    return [
        window.now_us,
        window.items.matrix.tolist(),
        [
            (
                query.user_id,
                query.now_us,
                query.truth.tolist(),
                query.seen.tolist(),
                query.shopper.history_rows.tolist(),
            )
            for query in window.queries
        ],
    ]


def ids(found: Dataset) -> set[str]:
    return set(found.events["event_id"])


# by weeks


@few_examples
@given(happened=_happened, back=st.integers(0, 3), weeks=st.integers(1, 3))
def test_a_window_of_weeks_is_the_one_opened_that_many_windows_before_the_end(
    happened: list[Row], back: int, weeks: int
) -> None:
    data = shop(happened)
    split = TimeSplit(data, day(AS_OF), weeks)
    assert split.instant(back) == day(AS_OF - 7 * weeks * back)
    opened = open_window(data, CATALOGUE, split.instant(back), weeks)
    assert plain(split.window(CATALOGUE, back)) == plain(opened)
    known = sequences_before(split, CATALOGUE, back)
    before = [row for row in happened if row["event_time"] < split.instant(back)]
    assert known.rows.size == len(before)
    assert known.times_us.max(initial=0) < now_us(split, back)


def test_windows_of_weeks_follow_one_another_without_gap_or_overlap() -> None:
    split = TimeSplit(shop([event("household-1", "TEA", on) for on in range(80)]), day(AS_OF), weeks=2)
    for back in range(1, 4):
        assert split.instant(back) + timedelta(weeks=2) == split.instant(back - 1)
    assert now_us(split, 1) == day_us(AS_OF - 14)


# by last events


def from_end(happened: list[Row]) -> dict[str, list[Row]]:
    """Each shopper's events, newest first."""
    ordered = sorted(happened, key=lambda row: (row["event_time"], row["event_id"]), reverse=True)
    return {user: [row for row in ordered if row["user_id"] == user] for user in {row["user_id"] for row in happened}}


def micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@few_examples
@given(happened=_happened, back=st.integers(1, 4))
def test_the_truth_is_the_event_of_that_number_from_the_end_and_only_older_ones_are_known(
    happened: list[Row], back: int
) -> None:
    split = LastOutSplit(shop(happened))
    window = split.window(CATALOGUE, back)
    of_user = {user: rows for user, rows in from_end(happened).items() if len(rows) > back}
    assert [query.user_id for query in window.queries] == sorted(of_user)
    for query in window.queries:
        newest_first = of_user[query.user_id]
        older = newest_first[back:]
        assert query.truth.tolist() == [IDS.index(newest_first[back - 1]["item_id"])]
        assert query.seen.tolist() == sorted({IDS.index(row["item_id"]) for row in older})
        assert query.now_us == query.shopper.last_event_us == micros(older[0]["event_time"])
        assert query.shopper.history_rows.tolist() == [IDS.index(row["item_id"]) for row in older[::-1]]


@few_examples
@given(happened=_happened, back=st.integers(0, 4))
def test_what_is_known_is_all_but_everyones_last_events(happened: list[Row], back: int) -> None:
    split = LastOutSplit(shop(happened))
    expected = {row["event_id"] for rows in from_end(happened).values() for row in rows[back:]}
    assert ids(split.known(back)) == expected
    assert sequences_before(split, CATALOGUE, back).rows.size == len(expected)
    assert split.known(back).events.columns == split.data.events.columns
    if back == 0:
        assert expected == ids(split.data)


@few_examples
@given(happened=_happened, other=st.sampled_from(IDS), back=st.integers(1, 3))
def test_nothing_of_the_truth_or_of_what_came_later_moves_what_is_known(
    happened: list[Row], other: str, back: int
) -> None:
    late = {row["event_id"] for rows in from_end(happened).values() for row in rows[:back]}
    changed = [row | {"item_id": other} if row["event_id"] in late else row for row in happened]
    before, after = (LastOutSplit(shop(rows)) for rows in (happened, changed))
    known = [sequences_before(split, CATALOGUE, back) for split in (before, after)]
    np.testing.assert_array_equal(known[0].rows, known[1].rows)
    windows = [split.window(CATALOGUE, back) for split in (before, after)]
    np.testing.assert_array_equal(windows[0].items.matrix, windows[1].items.matrix)
    for one, same in zip(windows[0].queries, windows[1].queries, strict=True):
        assert one.seen.tolist() == same.seen.tolist()
        assert one.shopper.history_rows.tolist() == same.shopper.history_rows.tolist()
        assert one.shopper.repeat_rows.tolist() == same.shopper.repeat_rows.tolist()


def test_of_two_events_at_one_instant_the_later_id_is_the_last() -> None:
    happened = [
        event("household-1", "TEA", 5, event_id="b"),
        event("household-1", "RYE-BREAD", 5, event_id="a"),
    ]
    for rows in (happened, happened[::-1]):
        (query,) = LastOutSplit(shop(rows)).window(CATALOGUE, 1).queries
        assert (query.truth.tolist(), query.seen.tolist()) == ([3], [2])


@pytest.mark.parametrize("count", [1, 2])
def test_leaving_the_last_out_twice_is_leaving_two_out(count: int) -> None:
    happened = [event(f"household-{user}", IDS[on % 4], on) for user in range(3) for on in range(user + 1)]
    data = shop(happened)
    left = data
    for _ in range(count):
        left = without_last(left)
    assert ids(left) == ids(LastOutSplit(data).known(count))
    assert left.items is data.items


def test_items_features_are_taken_just_after_the_last_event_of_all() -> None:
    data = shop([event("household-1", "TEA", 5), event("household-2", "TEA", 9)])
    split = LastOutSplit(data)
    assert split.instant(0) == split.instant(3) == day(9) + timedelta(microseconds=1)
    assert now_us(split, 1) == day_us(9) + 1
    assert data.events.filter(pl.col("event_time") >= split.instant(0)).is_empty()
