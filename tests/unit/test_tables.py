"""Tables in files: good rows come out, bad ones go to a side file, and what cannot be used is named."""

import json
import logging
from pathlib import Path

import polars as pl
import pytest

from features.schema import SchemaError
from features.tables import read_table

EVENT = '{"event_id":"%s","user_id":"ada","item_id":"kettle","event_type":"view","event_time":"2024-03-01T12:00:00Z"}'


def write(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def side_file(folder: Path, stem: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / f"{stem}.rejects.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_malformed_event_file_keeps_its_good_rows_and_puts_bad_ones_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = '{"event_id":"e3","user_id'
    path = write(tmp_path, "events.jsonl", EVENT % "e1", EVENT.replace("view", "look") % "e2", broken, EVENT % "e4")
    with caplog.at_level(logging.INFO):
        checked = read_table(path, "events", tmp_path / "rejects")
    assert checked.frame["event_id"].to_list() == ["e1", "e4"]
    rejects = side_file(tmp_path / "rejects", "events")
    assert [(line["row"], line["column"]) for line in rejects] == [(1, "event_type"), (2, "")]
    assert rejects[1]["original"] == broken
    assert f"{path}: 2 of 4 rows rejected; first: row 1, column event_type: is none of view" in caplog.text


def test_a_side_file_that_could_not_be_written_whole_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rejects = write(tmp_path, "events.jsonl", EVENT % "e1", "Ärger"), tmp_path / "rejects"
    read_table(path, "events", rejects)
    before = side_file(rejects, "events")

    def full_disk(_: pl.DataFrame, target: Path) -> None:
        target.write_bytes("Ä".encode()[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_ndjson", full_disk)
    with pytest.raises(OSError, match="No space left"):
        read_table(path, "events", rejects)
    assert side_file(rejects, "events") == before
    assert [found.name for found in rejects.iterdir()] == ["events.rejects.jsonl"]


def test_a_csv_file_is_read_cell_by_cell(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "items.csv",
        "item_id,title,category,price,in_stock,color",
        '1,"Kettle, steel",Kitchen > Kettles,19.90,true,grey',
        '2,Mug,"[""Kitchen"",""Mugs > cups""]",,0,blue',
        "3,Spoon",
        "4,Fork,Kitchen,cheap,maybe,",
        "5,Knife,Kitchen,3,true,grey,sharp,new",
    )
    checked = read_table(path, "items", tmp_path)
    assert checked.frame.select("item_id", "title", "category", "price", "in_stock").rows() == [
        ("1", "Kettle, steel", ["Kitchen", "Kettles"], 19.9, True),
        ("2", "Mug", ["Kitchen", "Mugs > cups"], None, False),
        ("3", "Spoon", [], None, True),
    ]
    assert checked.rejects.select("row", "column").rows() == [(3, "price"), (3, "in_stock"), (4, "")]
    assert "more fields than the header" in checked.rejects["reason"][2]


def test_columns_that_are_left_out_are_named_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "users.csv", "user_id,shoe_size", "ada,38")
    with caplog.at_level(logging.INFO):
        read_table(path, "users", tmp_path)
    assert f"{path}: columns left out: shoe_size" in caplog.text


def test_a_key_that_no_line_has_is_a_missing_column(tmp_path: Path) -> None:
    path = write(tmp_path, "events.jsonl", '{"event_id":"e1"}')
    with pytest.raises(SchemaError, match=r"events\.jsonl: column user_id is missing"):
        read_table(path, "events", tmp_path)


def test_an_older_side_file_goes_when_nothing_is_rejected_any_more(tmp_path: Path) -> None:
    read_table(write(tmp_path, "users.csv", "user_id", '" "'), "users", tmp_path)
    assert side_file(tmp_path, "users")
    read_table(write(tmp_path, "users.csv", "user_id", "ada"), "users", tmp_path)
    assert not (tmp_path / "users.rejects.jsonl").exists()


@pytest.mark.parametrize("content", [b"", b"not a table at all", b"PAR1" + bytes(40) + b"PAR1"])
def test_an_unreadable_parquet_file_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "events.parquet"
    path.write_bytes(content)
    with pytest.raises(SchemaError, match=r"events\.parquet: cannot be read"):
        read_table(path, "events", tmp_path)


def test_a_truncated_parquet_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "users.parquet"
    pl.DataFrame({"user_id": [f"user-{number}" for number in range(1000)]}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SchemaError, match=r"users\.parquet: cannot be read"):
        read_table(path, "users", tmp_path)


@pytest.mark.parametrize("name", ["events.parquet", "events.csv", "events.jsonl"])
def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(SchemaError, match=f"{name}: cannot be read"):
        read_table(tmp_path / name, "events", tmp_path)


def test_bytes_that_are_no_text_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "users.jsonl"
    path.write_bytes(b'{"user_id":"\xff"}\n')
    with pytest.raises(SchemaError, match=r"users\.jsonl: cannot be read"):
        read_table(path, "users", tmp_path)


def test_an_unknown_suffix_is_an_error_that_names_the_choices(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"'\.xlsx' is none of \.parquet, \.csv, \.jsonl"):
        read_table(tmp_path / "events.xlsx", "events", tmp_path)
