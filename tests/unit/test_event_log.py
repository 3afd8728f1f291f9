"""The live log: every row once whatever is merged, dropped, purged or killed, and a position that never goes back."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features import atomic, event_log
from features.event_log import files, upkeep
from features.schema import EVENTS
from features.validation import validate
from tests.logged import DAYS, arrival_of, entry_at, logged, logged_row
from tests.strategies import unhurried

FIRST, SECOND, THIRD = (day.date() for day in DAYS)
SHOPPERS = ("ada", "ben", "visitor-1", None)
Row = tuple[int, str]


def rows_of(folder: Path) -> list[Row]:
    return event_log.read(folder).select("shard", "entry").rows()


def write(folder: Path, *entries: str, shard: int = 0, after: str = "0-0", last: str = "", **fields: Any) -> Path:
    rows = logged(*(logged_row(entry, shard=shard, **fields) for entry in entries))
    return event_log.write_part(folder, shard, after, last or entries[-1], rows)


@pytest.fixture
def three_parts(tmp_path: Path) -> Path:
    """Three files of one shard and day, and what an owner who came late wrote once more; two rows are ben's."""
    folder = tmp_path / "live"
    one, two, three, four = (entry_at(DAYS[0], sequence) for sequence in (1, 9, 10, 11))
    write(folder, one)
    write(folder, two, after=one, user_id="ben")
    write(folder, three, four, after=two)
    late = [logged_row(two, user_id="ben"), logged_row(three), logged_row(four)]
    event_log.write_part(folder, 0, one, four, logged(*late))
    return folder


# Writing


def test_a_part_reads_back_as_it_was_from_a_file_named_by_day_shard_and_ids(tmp_path: Path) -> None:
    rows = logged(
        logged_row(
            entry_at(DAYS[0], 3),
            shard=5,
            visitor_id="visitor-1",
            price=2.5,
            rating=4.0,
            placement="home",
            search_query="tea",
            impression_item_ids=["kettle", "cup"],
            impression_propensities=[0.25, 0.5],
            attributes=[{"key": "colour", "value": "red"}],
        )
    )
    last = entry_at(DAYS[0], 4)
    path = event_log.write_part(tmp_path, 5, "7-1", last, rows)
    assert path == tmp_path / "events" / "date=2026-03-01" / f"s5-7-1-{last}.parquet"
    assert_frame_equal(event_log.read(tmp_path), rows)


def test_rows_that_do_not_belong_to_a_part_are_refused(tmp_path: Path) -> None:
    first, second = entry_at(DAYS[0], 1), entry_at(DAYS[1])
    with pytest.raises(ValueError, match="rows of 2 days"):
        write(tmp_path, first, second)
    with pytest.raises(ValueError, match=f"entry {first} is not in"):
        write(tmp_path, first, after=first, last=second)
    with pytest.raises(ValueError, match=f"entry {second} is not in"):
        write(tmp_path, second, last=first)
    with pytest.raises(ValueError, match="not before"):
        write(tmp_path, first, after=entry_at(DAYS[0], 10), last=entry_at(DAYS[0], 9))
    with pytest.raises(ValueError, match="another shard than 1"):
        event_log.write_part(tmp_path, 1, "0-0", first, logged(logged_row(first)))
    with pytest.raises(ValueError, match="expected"):
        event_log.write_part(tmp_path, 0, "0-0", first, logged(logged_row(first)).drop("rating"))
    assert rows_of(tmp_path) == []


def test_a_full_disk_is_an_error_of_the_system_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = atomic.write_atomically
    full = Path("/dev/full")
    monkeypatch.setattr(files, "write_atomically", lambda path, fill: written(path, lambda _: fill(full)))
    with pytest.raises(OSError, match=r"s0-0-0-.*\.parquet: .*No space left"):
        write(tmp_path, entry_at(DAYS[0]))
    assert rows_of(tmp_path) == []
    assert leftovers(tmp_path) == []


def test_how_far_a_shard_is_compares_ids_as_numbers_and_counts_files_without_rows(tmp_path: Path) -> None:
    assert event_log.logged_until(tmp_path, 0) == "0-0"
    write(tmp_path, "999-0")
    write(tmp_path, "1000-9", after="999-0")
    event_log.write_part(tmp_path, 0, "1000-9", "1000-10", logged())
    write(tmp_path, "5000-0", shard=1)
    assert event_log.logged_until(tmp_path, 0) == "1000-10"
    assert event_log.logged_until(tmp_path, 1) == "5000-0"
    assert event_log.logged_until(tmp_path, 2) == "0-0"
    assert rows_of(tmp_path) == [(0, "999-0"), (0, "1000-9"), (1, "5000-0")]


def test_a_row_in_two_files_is_read_once(three_parts: Path) -> None:
    assert rows_of(three_parts) == [(0, entry_at(DAYS[0], sequence)) for sequence in (1, 9, 10, 11)]


def test_a_log_that_is_not_there_has_no_rows_and_can_be_kept_up(tmp_path: Path) -> None:
    assert_frame_equal(event_log.read(tmp_path), logged())
    assert event_log.compact(tmp_path, FIRST) == 0
    assert event_log.drop_before(tmp_path, FIRST) == 0
    assert event_log.rewrite_without(tmp_path, ["ada"]) == event_log.count_of(tmp_path, ["ada"]) == 0


# What is kept: against an oracle of rows in memory

moments = st.tuples(st.integers(0, 3 * 86_400_000 - 1), st.integers(0, 12))


@st.composite
def logs(draw: st.DrawFn) -> dict[int, list[dict[str, Any]]]:
    """Rows of up to three shards over three days, several in one millisecond, in the stream's order."""
    shards: dict[int, list[dict[str, Any]]] = {}
    for shard in draw(st.sets(st.integers(0, 2), min_size=1)):
        found = draw(st.sets(moments, min_size=1, max_size=8))
        ids = [entry_at(DAYS[0] + timedelta(milliseconds=ms), seq) for ms, seq in sorted(found)]
        people = st.sampled_from(SHOPPERS)
        shards[shard] = [logged_row(entry, shard=shard, user_id=draw(people), visitor_id=draw(people)) for entry in ids]
    return shards


def write_all(folder: Path, shard: int, rows: list[dict[str, Any]], cut: int) -> None:
    """In two batches; the second is also written by a stale owner who began a row earlier."""
    cut = min(cut, len(rows) - 1)
    for start in {0, cut, max(cut - 1, 0)}:
        batch = rows[start:] if start else rows[: cut or len(rows)]
        after = rows[start - 1]["entry"] if start else "0-0"
        for part in event_log.split_by_day(after, batch[-1]["entry"], logged(*batch)):
            event_log.write_part(folder, shard, *part)


upkeeps = st.one_of(
    st.tuples(st.just("compact"), st.sampled_from([FIRST, SECOND, THIRD])),
    st.tuples(st.just("drop"), st.sampled_from([FIRST, SECOND, THIRD])),
    st.tuples(st.just("purge"), st.sets(st.sampled_from(("ada", "ben", "visitor-1", "nobody")))),
)


@settings(unhurried, max_examples=30)
@given(shards=logs(), cut=st.integers(0, 8), steps=st.lists(upkeeps, max_size=4))
def test_upkeep_in_any_order_keeps_exactly_the_rows_it_should(
    shards: dict[int, list[dict[str, Any]]], cut: int, steps: list[tuple[str, Any]]
) -> None:
    kept = [row for rows in shards.values() for row in rows]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for shard, rows in shards.items():
            write_all(folder, shard, rows, cut)
        for step, argument in steps:
            if step == "compact":
                event_log.compact(folder, argument)
            elif step == "drop":
                event_log.drop_before(folder, argument)
                kept = [row for row in kept if row["arrival_time"].date() >= argument]
            else:
                theirs = [row for row in kept if {row["user_id"], row["visitor_id"]} & argument]
                assert set(event_log.rows_of(folder, argument)["event_id"]) == {row["event_id"] for row in theirs}
                count = event_log.count_of(folder, argument)
                assert event_log.rewrite_without(folder, argument) == count
                assert event_log.count_of(folder, argument) == 0
                kept = [row for row in kept if not {row["user_id"], row["visitor_id"]} & argument]
            found = event_log.read(folder)
            assert sorted(found.select("shard", "entry").rows()) == sorted((row["shard"], row["entry"]) for row in kept)
            for shard, rows in shards.items():
                assert event_log.logged_until(folder, shard) == rows[-1]["entry"]
        order = ["shard", "entry"]
        assert_frame_equal(event_log.read(folder).sort(order), logged(*kept).sort(order))


@settings(unhurried)
@given(shards=logs(), beyond=st.integers(0, 3))
def test_a_split_holds_every_row_once_by_day_and_without_gaps(
    shards: dict[int, list[dict[str, Any]]], beyond: int
) -> None:
    [(_, rows), *_] = shards.items()
    last = entry_at(DAYS[2] + timedelta(days=beyond), 99)
    parts = event_log.split_by_day("0-0", last, logged(*reversed(rows)))
    assert [entry for _, _, part in parts for entry in part["entry"]] == [row["entry"] for row in rows]
    assert [after for after, _, _ in parts] == ["0-0", *(end for _, end, _ in parts[:-1])]
    assert parts[-1][1] == last
    days = [{arrival_of(entry).date() for entry in part["entry"]} for _, _, part in parts]
    assert [len(day) for day in days] == [1] * len(days)
    assert len(set.union(*days)) == len(days)


def test_a_split_without_rows_is_one_part_that_marks_progress(tmp_path: Path) -> None:
    [(after, last, rows)] = event_log.split_by_day("7-0", "9-0", logged())
    assert (after, last, rows.height) == ("7-0", "9-0", 0)
    path = event_log.write_part(tmp_path, 0, after, last, rows)
    assert path.parent.name == "date=1970-01-01"


def test_compaction_leaves_one_file_per_shard_in_the_streams_order(three_parts: Path) -> None:
    write(three_parts, entry_at(DAYS[1]), after=entry_at(DAYS[0], 11))
    assert event_log.days(three_parts) == [FIRST, SECOND]
    assert event_log.compact(three_parts, FIRST) == 3
    [whole] = (three_parts / "events" / "date=2026-03-01").iterdir()
    assert whole.name == f"s0-0-0-{entry_at(DAYS[0], 11)}.parquet"
    assert pl.read_parquet(whole)["entry"].to_list() == [entry_at(DAYS[0], sequence) for sequence in (1, 9, 10, 11)]
    assert event_log.compact(three_parts, FIRST) == 0


def test_retention_keeps_the_newest_file_of_a_silent_shard_without_its_rows(tmp_path: Path) -> None:
    write(tmp_path, entry_at(DAYS[0]))
    silent = write(tmp_path, entry_at(DAYS[1]), after=entry_at(DAYS[0]))
    assert event_log.drop_before(tmp_path, THIRD) == 2
    assert [path.name for path in (tmp_path / "events").iterdir()] == ["date=2026-03-02"]
    assert pl.read_parquet(silent).is_empty()
    assert event_log.logged_until(tmp_path, 0) == entry_at(DAYS[1])


def test_a_purge_takes_users_and_visitors_and_only_rewrites_files_that_name_them(tmp_path: Path) -> None:
    theirs = write(tmp_path, entry_at(DAYS[0]), user_id=None, visitor_id="ben")
    both = write(tmp_path, entry_at(DAYS[0], 1), after=entry_at(DAYS[0]), visitor_id="ben")
    other = write(tmp_path, entry_at(DAYS[0], 2), after=entry_at(DAYS[0], 1), user_id=None)
    written = {path: path.stat().st_ino for path in (theirs, both, other)}
    assert event_log.rewrite_without(tmp_path, {"ben"}) == 2
    assert rows_of(tmp_path) == [(0, entry_at(DAYS[0], 2))]
    assert [path.stat().st_ino == inode for path, inode in written.items()] == [False, False, True]


def test_a_copy_of_a_day_is_passed_over_and_said(three_parts: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows, until = rows_of(three_parts), event_log.logged_until(three_parts, 0)
    day_folder = three_parts / "events" / "date=2026-03-01"
    copy = day_folder.with_name("date=2026-03-01.bak")
    shutil.copytree(day_folder, copy)
    (three_parts / "events" / "date=2026-03-01.tar.gz").touch()
    assert (rows_of(three_parts), event_log.logged_until(three_parts, 0)) == (rows, until)
    assert event_log.compact(three_parts, FIRST) == 3
    assert event_log.drop_before(three_parts, THIRD) == 4
    assert len(list(copy.iterdir())) == 4
    said = {getattr(record, "path", None) for record in caplog.records}
    assert said == {str(copy), str(copy.with_name("date=2026-03-01.tar.gz"))}


# Kills, and others at work


class Killed(BaseException):
    """The process is gone; nothing cleans up."""


@contextmanager
def dying_before(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Death before the step-th change to a folder: from then on no change happens any more."""
    left = [step]

    def mortal(act: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return act(*arguments, **options)

        return wrapped

    with monkeypatch.context() as patch:
        for name in ("replace", "unlink", "mkdir", "rmdir"):
            patch.setattr(Path, name, mortal(getattr(Path, name)))
        yield


def deaths(
    folder: Path, act: Callable[[Path], object], check: Callable[[Path], object], patch: pytest.MonkeyPatch
) -> int:
    """Let `act` die one step later each time, on a copy of the folder, until it survives; `check` the copy after each
    death, and again after a whole repetition, which also clears up. Returns the number of deaths."""
    for step in range(100):
        copy = folder.parent / f"killed before step {step}"
        shutil.copytree(folder, copy)
        try:
            with dying_before(step, patch):
                act(copy)
        except Killed:
            check(copy)
            act(copy)
            check(copy)
            event_log.compact(copy, THIRD)
            assert leftovers(copy) == []
            continue
        return step
    raise AssertionError("it never ends")


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob("*.tmp"))


def test_a_kill_while_compacting_loses_and_doubles_nothing(three_parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, until = rows_of(three_parts), event_log.logged_until(three_parts, 0)

    def check(folder: Path) -> None:
        assert rows_of(folder) == rows
        assert event_log.logged_until(folder, 0) == until

    assert deaths(three_parts, lambda folder: event_log.compact(folder, FIRST), check, monkeypatch) > 4


def test_a_kill_while_purging_loses_nobody_else_and_can_be_finished(
    three_parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = set(event_log.read(three_parts).filter(pl.col("user_id") != "ben")["entry"])
    until = event_log.logged_until(three_parts, 0)

    def purge(folder: Path) -> None:
        event_log.rewrite_without(folder, ["ben"])
        assert event_log.count_of(folder, ["ben"]) == 0

    def check(folder: Path) -> None:
        assert others <= set(event_log.read(folder)["entry"])
        assert event_log.logged_until(folder, 0) == until

    assert deaths(three_parts, purge, check, monkeypatch) > 2


def test_a_kill_while_dropping_never_takes_a_shard_back(three_parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    until = event_log.logged_until(three_parts, 0)

    def drop(folder: Path) -> None:
        event_log.drop_before(folder, SECOND)
        assert rows_of(folder) == []

    def check(folder: Path) -> None:
        assert event_log.logged_until(folder, 0) == until

    assert deaths(three_parts, drop, check, monkeypatch) > 4


def test_a_kill_while_writing_leaves_rows_and_progress_together(
    three_parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, after = entry_at(DAYS[1]), entry_at(DAYS[0], 11)

    def check(folder: Path) -> None:
        assert ((0, entry) in rows_of(folder)) == (event_log.logged_until(folder, 0) == entry)

    assert deaths(three_parts, lambda folder: write(folder, entry, after=after), check, monkeypatch) > 2


def test_a_file_is_on_disk_before_it_has_its_name_and_its_name_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        did.append(f"flush {Path(f'/proc/self/fd/{descriptor}').readlink().name.rpartition('.')[2]}")
        fsync(descriptor)

    def noted_replace(path: Path, target: Path) -> Path:
        did.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    atomic.write_atomically(tmp_path / "new" / "file", lambda path: path.write_text("whole"))
    assert did == [f"flush {tmp_path.name}", "flush tmp", "rename", "flush new"]


def is_free(folder: Path, way: int) -> bool:
    """Whether the folder's lock could be had right now, alone (LOCK_EX) or with others (LOCK_SH)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, way | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def test_nobody_clears_up_a_file_that_is_being_written(tmp_path: Path) -> None:
    seen: list[bool] = []

    def slow(path: Path) -> None:
        seen.append(is_free(tmp_path, fcntl.LOCK_EX))
        path.write_text("whole")

    atomic.write_atomically(tmp_path / "file", slow)
    assert (seen, is_free(tmp_path, fcntl.LOCK_EX)) == ([False], True)


def test_a_purge_and_a_merge_wait_for_each_other_but_writers_do_not(
    three_parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def noted(path: Path, fill: Callable[[Path], object]) -> Path:
        seen.append(is_free(three_parts / "events", fcntl.LOCK_SH))
        write(three_parts, entry_at(DAYS[0], 50), after=entry_at(DAYS[0], 49))
        return atomic.write_atomically(path, fill)

    monkeypatch.setattr(upkeep, "write_atomically", noted)
    event_log.rewrite_without(three_parts, ["ben"])
    event_log.compact(three_parts, FIRST)
    assert seen
    assert not any(seen)
    assert (0, entry_at(DAYS[0], 50)) in rows_of(three_parts)


def test_a_reader_whose_files_are_merged_underneath_looks_again(
    three_parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, listed = rows_of(three_parts), files.parts_of
    stale = event_log.scan(three_parts)

    def merged_underneath(folder: Path) -> list[files.Part]:
        found = listed(folder)
        event_log.compact(folder, FIRST)
        return found

    monkeypatch.setattr(files, "parts_of", merged_underneath)
    assert rows_of(three_parts) == rows
    with pytest.raises(FileNotFoundError):
        stale.collect()


def test_a_listing_that_came_between_the_old_files_and_the_new_one_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, entry_at(DAYS[0]))
    listed = files._listing
    missed: list[list[files.Part]] = [[]]  # the race itself cannot be brought about from outside
    monkeypatch.setattr(files, "_listing", lambda folder: missed.pop() if missed else listed(folder))
    assert rows_of(tmp_path) == [(0, entry_at(DAYS[0]))]


# As events


def test_a_click_becomes_its_shoppers_event() -> None:
    click = logged_row(
        "5-0",
        event_id="c1",
        event_type="click",
        visitor_id="visitor-1",
        session_id="",
        recommendation_id="list-1",
        quantity=0,
        price=2.5,
        attributes=[{"key": "position", "value": "mine"}],
    )
    anonymous = logged_row("6-0", user_id="", visitor_id="visitor-1", session_id="visit", quantity=None)
    events = event_log.events_of(logged(click, anonymous))
    assert events.schema == EVENTS
    assert events.select("user_id", "session_id", "recommendation_id", "quantity", "price").rows() == [
        ("ada", None, "list-1", 1, 2.5),
        ("visitor-1", "visit", None, 1, None),
    ]
    assert events["event_id"].to_list() == ["c1", "event-6-0"]
    assert events["attributes"][0].to_list() == [{"key": "position", "value": "mine"}]
    assert validate(events, "events", "log").rejects.is_empty()


def test_a_list_that_was_shown_becomes_a_row_per_item_in_its_place_and_a_search_none() -> None:
    shown = {"event_type": "impression", "item_id": None, "impression_item_ids": ["kettle", "cup"]}
    own = [{"key": "page", "value": "1"}, {"key": "position", "value": "left"}]
    told = {"impression_propensities": [0.25, 1.0], "placement": "home", "attributes": own}
    events = event_log.events_of(
        logged(
            logged_row("1-0", event_id="a"),
            logged_row("2-0", event_id="b", **shown, **told),
            logged_row("3-0", event_id="c", event_type="search", item_id=None, search_query="tea"),
            logged_row("4-0", event_id="d", **shown, impression_propensities=None, attributes=None),
        )
    )
    assert events.select("event_id", "item_id").rows() == [
        ("a", "kettle"),
        ("b#0", "kettle"),
        ("b#1", "cup"),
        ("d#0", "kettle"),
        ("d#1", "cup"),
    ]
    pairs = [{pair["key"]: pair["value"] for pair in row} for row in events["attributes"].to_list()]
    assert pairs[1:4] == [
        {"page": "1", "position": "0", "placement": "home", "propensity": "0.25"},
        {"page": "1", "position": "1", "placement": "home", "propensity": "1.0"},
        {"position": "0"},
    ]
    assert [len(row) for row in events["attributes"]] == [0, 4, 4, 1, 1]


def test_a_list_without_items_is_not_lost_in_silence() -> None:
    empty = logged_row("1-0", event_type="impression", item_id=None)
    checked = validate(event_log.events_of(logged(empty)), "events", "log")
    assert checked.rejected_count == 1
