"""The check at the door: valid rows pass unchanged, bad cells are found exactly where they are."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.schema import EVENTS, ITEMS, PROMOTIONS, TABLES, USERS, Calendar, Dataset, SchemaError
from features.tables import read_table
from features.validation import validate
from tests.strategies import BAD_CELLS, Row, frame_of, frames, rows, unhurried

NEW_YORK = Calendar(date(2016, 12, 26), "America/New_York")
A_VIEW: Row = {
    "event_id": "e1",
    "user_id": "ada",
    "item_id": "kettle",
    "event_type": "view",
    "event_time": datetime(2024, 3, 1, 12, tzinfo=UTC),
}


@pytest.mark.parametrize("table", list(TABLES))
@unhurried
@given(st.data())
def test_validating_a_valid_frame_is_the_identity(table: str, data: st.DataObject) -> None:
    frame = data.draw(frames(table))
    checked = validate(frame, table, "shop")
    assert_frame_equal(checked.frame, frame)
    assert checked.rejects.is_empty()


@pytest.mark.parametrize("table", list(TABLES))
@unhurried
@given(st.data())
def test_planted_bad_cells_are_found_at_their_row_and_column_and_good_rows_are_kept(
    table: str, data: st.DataObject
) -> None:
    good = data.draw(rows(table, min_size=1))
    spots = st.dictionaries(st.integers(0, len(good) - 1), st.sampled_from(BAD_CELLS[table]))
    planted = data.draw(spots)
    frame = frame_of(table, [row | dict([planted[at]]) if at in planted else row for at, row in enumerate(good)])
    checked = validate(frame, table, "shop")
    found = checked.rejects.select("row", "column").rows()
    assert found == [(at, planted[at][0]) for at in sorted(planted)]
    assert_frame_equal(checked.frame, frame_of(table, [row for at, row in enumerate(good) if at not in planted]))
    assert checked.rejected_count == len(planted)


@pytest.mark.parametrize("table", ["events", "items", "users"])
@unhurried
@given(st.data())
def test_of_rows_with_one_key_the_first_good_one_stays(table: str, data: st.DataObject) -> None:
    good = data.draw(rows(table, min_size=2, max_size=4))
    checked = validate(frame_of(table, [*good, good[0], good[1]]), table, "shop")
    assert_frame_equal(checked.frame, frame_of(table, good))
    assert checked.rejects["row"].to_list() == [len(good), len(good) + 1]


def test_a_bad_row_does_not_take_the_key_of_a_good_one() -> None:
    bad, good = A_VIEW | {"event_type": "look"}, A_VIEW
    checked = validate(frame_of("events", [bad, good]), "events", "shop")
    assert checked.rejects.select("row", "column").rows() == [(0, "event_type")]
    assert checked.frame["event_type"].to_list() == ["view"]


def test_missing_optional_columns_and_cells_get_their_defaults() -> None:
    event = validate(pl.DataFrame([A_VIEW]), "events", "shop").frame.row(0, named=True)
    assert (event["tenant"], event["quantity"], event["price"], event["attributes"]) == ("default", 1, None, [])
    frame = pl.DataFrame({"item_id": ["a"], "title": ["Kettle"], "in_stock": pl.Series([None], dtype=pl.Boolean)})
    item = validate(frame, "items", "shop").frame.row(0, named=True)
    assert (item["description"], item["category"], item["in_stock"], item["sensitive"]) == ("", [], True, False)


def test_a_missing_required_column_is_an_error_that_names_source_and_column() -> None:
    frame = pl.DataFrame([A_VIEW]).drop("item_id")
    with pytest.raises(SchemaError, match=r"shop/events\.parquet: column item_id is missing"):
        validate(frame, "events", Path("shop/events.parquet"))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("event_time", [1709294400]),
        ("item_id", [12.0]),
        ("attributes", [["red"]]),
        ("attributes", [[{"name": "color", "value": "red"}]]),
        ("attributes", [[{"key": "color", "value": ["red"]}]]),
        ("quantity", [["1"]]),
        ("price", [date(2024, 1, 1)]),
    ],
)
def test_a_column_that_could_not_hold_such_values_is_an_error(column: str, values: list[Any]) -> None:
    frame = pl.DataFrame([A_VIEW]).with_columns(pl.Series(column, values))
    with pytest.raises(SchemaError, match=f"shop: column {column}: .* cannot be read as"):
        validate(frame, "events", "shop")


@pytest.mark.parametrize(
    ("column", "cell", "read"),
    [
        ("item_id", 12, "12"),
        ("item_id", b"kettle", "kettle"),
        ("quantity", 2.0, 2),
        ("quantity", "3", 3),
        ("price", "1.5", 1.5),
        ("event_time", "2024-03-01T12:00:00Z", A_VIEW["event_time"]),
        ("event_time", "2024-03-01 13:00:00.5+01:00", A_VIEW["event_time"] + timedelta(milliseconds=500)),
        ("event_time", "2024-03-01", datetime(2024, 3, 1, tzinfo=UTC)),
        ("event_time", datetime(2024, 3, 1, 12), A_VIEW["event_time"]),  # noqa: DTZ001
        ("event_time", date(2024, 3, 1), datetime(2024, 3, 1, tzinfo=UTC)),
        ("attributes", [{"value": 41, "key": "size", "unit": "EU"}], [{"key": "size", "value": "41"}]),
        ("attributes", [], []),
        ("attributes", '[{"value":"red","key":"color"}]', [{"key": "color", "value": "red"}]),
    ],
)
def test_other_types_are_read_when_their_meaning_is_certain(column: str, cell: object, read: object) -> None:
    frame = pl.DataFrame([A_VIEW]).with_columns(pl.Series(column, [cell]))
    assert validate(frame, "events", "shop").frame[column].to_list() == [read]


def test_flags_are_read_from_words_and_digits() -> None:
    for flags in (["true", "FALSE", "1", "0"], [1, 0, 1, 0]):
        frame = pl.DataFrame({"item_id": ["a", "b", "c", "d"], "title": "Kettle", "in_stock": flags})
        assert validate(frame, "items", "shop").frame["in_stock"].to_list() == [True, False, True, False]


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("quantity", 2.5),
        ("quantity", "two"),
        ("price", "1,50"),
        ("event_time", "01/03/2024"),
        ("attributes", '{"color":"red"}'),
        ("attributes", "[{"),
    ],
)
def test_a_cell_that_cannot_be_read_rejects_its_row_and_is_never_changed(column: str, cell: object) -> None:
    frame = pl.DataFrame([A_VIEW]).with_columns(pl.Series(column, [cell]))
    checked = validate(frame, "events", "shop")
    assert checked.rejects.select("row", "column").rows() == [(0, column)]
    assert "cannot be read as" in checked.rejects["reason"][0]
    assert json.loads(checked.rejects["original"][0])[column] == cell


@pytest.mark.parametrize("table", list(TABLES))
@unhurried
@given(st.data())
def test_a_json_lines_file_reads_back_as_the_frame_it_was_written_from(
    tmp_path_factory: pytest.TempPathFactory, table: str, data: st.DataObject
) -> None:
    frame = data.draw(frames(table))
    path = tmp_path_factory.mktemp("shop") / f"{table}.jsonl"
    frame.write_ndjson(path)
    checked = read_table(path, table, path.parent)
    assert checked.rejects.is_empty()
    assert_frame_equal(checked.frame, frame, rel_tol=1e-14)


def test_a_week_ends_at_midnight_of_the_shops_own_clock() -> None:
    assert NEW_YORK.week_end(1) == datetime(2017, 1, 2, 5, tzinfo=UTC)
    assert NEW_YORK.week_end(11) == datetime(2017, 3, 13, 4, tzinfo=UTC)  # summer time has begun


@unhurried
@given(st.integers(1, 60))
def test_a_week_ends_where_the_next_one_begins(week: int) -> None:
    end = NEW_YORK.week_end(week)
    assert NEW_YORK.week_of(end - timedelta(microseconds=1)) == week
    assert NEW_YORK.week_of(end) == week + 1


@unhurried
@given(st.datetimes(datetime(2010, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_the_week_expression_agrees_with_week_of(moment: datetime) -> None:
    frame = pl.DataFrame({"at": [moment]}, schema={"at": EVENTS["event_time"]})
    assert frame.select(NEW_YORK.week_expr("at")).item() == NEW_YORK.week_of(moment)


def test_a_calendar_refuses_other_days_than_monday_and_times_without_a_zone() -> None:
    with pytest.raises(ValueError, match="not a Monday"):
        Calendar(date(2017, 1, 1), "UTC")
    with pytest.raises(ValueError, match="no time zone"):
        NEW_YORK.week_of(datetime(2017, 1, 1))  # noqa: DTZ001


def test_a_dataset_refuses_a_frame_in_another_schema_and_names_the_table() -> None:
    events, items, promotions, users = (schema.to_frame() for schema in (EVENTS, ITEMS, PROMOTIONS, USERS))
    assert Dataset("shop", events, items, promotions, users, NEW_YORK).synthetic is False
    swapped = items.select(reversed(ITEMS.names()))
    with pytest.raises(SchemaError, match="table items"):
        Dataset("shop", events, swapped, promotions, users, NEW_YORK)
