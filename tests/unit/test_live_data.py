"""Live data over a data set: what is new is added, what changed is replaced, who opted out is gone everywhere."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features import event_log
from features.adapters import AdapterError, cache, load
from features.left_out import leave_out, leave_out_until
from features.live_data import CATALOGUE, read_catalogue, with_live, write_catalogue
from features.schema import EVENTS, ITEMS, TABLES, USERS, Calendar, Dataset, SchemaError, schema_of
from features.shopper_digest import KEY_FILE_VARIABLE, open_digest
from tests.logged import DAYS, entry_at, logged, logged_row


def instant(day: int) -> datetime:
    return datetime(2026, 1, day, tzinfo=UTC)


def event(event_id: str, user_id: str, day: int, **fields: Any) -> dict[str, Any]:
    plain = {"tenant": "default", "item_id": "kettle", "event_type": "view", "quantity": 1, "attributes": []}
    return plain | {"event_id": event_id, "user_id": user_id, "event_time": instant(day)} | fields


def item(item_id: str, title: str, **fields: Any) -> dict[str, Any]:
    plain = {"description": "", "category": [], "attributes": [], "in_stock": True, "sensitive": False}
    return plain | {"item_id": item_id, "title": title} | fields


@pytest.fixture
def data() -> Dataset:
    """Three events of ada and ben with two items."""
    events = [event("e1", "ada", 1), event("e2", "ben", 5), event("e3", "ada", 9)]
    return Dataset(
        name="corner-shop",
        events=pl.DataFrame(events, schema=EVENTS),
        items=pl.DataFrame([item("kettle", "Kettle"), item("cup", "Cup")], schema=ITEMS),
        promotions=schema_of("promotions").to_frame(),
        users=pl.DataFrame([{"user_id": "ada", "attributes": []}, {"user_id": "ben", "attributes": []}], schema=USERS),
        calendar=Calendar(date(2025, 12, 29), "UTC"),
    )


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a key of its own."""
    monkeypatch.delenv(KEY_FILE_VARIABLE, raising=False)
    folder = tmp_path / "live"
    folder.mkdir()
    return folder


@pytest.fixture
def rejects(tmp_path: Path) -> Path:
    return tmp_path / "rejects"


def log(live: Path, *rows: dict[str, Any]) -> None:
    """Rows that arrived one second after the other."""
    entries = [entry_at(DAYS[0] + timedelta(seconds=at)) for at in range(len(rows))]
    frame = logged(*(logged_row(entry, **row) for entry, row in zip(entries, rows, strict=True)))
    event_log.write_part(live, 0, "0-0", entries[-1], frame)


def digests(live: Path, *shoppers: str) -> list[str]:
    return [open_digest(live, None)(shopper) for shopper in shoppers]


def catalogue(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{"deleted": False} | row for row in rows], schema=CATALOGUE)


def test_live_events_are_added_by_time_and_known_ones_stay_as_they_are(
    data: Dataset, live: Path, rejects: Path
) -> None:
    log(
        live,
        {"event_id": "e4", "user_id": "eve", "event_time": instant(7)},
        {"event_id": "e2", "user_id": "mallory", "event_time": instant(8)},
        {"event_id": "e2", "user_id": "ada", "event_time": instant(6), "tenant": "other"},
        {"event_id": "e5", "user_id": None, "visitor_id": "visitor-1", "event_time": instant(5)},
    )
    merged = with_live(data, live, rejects)
    assert merged.events.select("event_id", "user_id").rows() == [
        ("e1", "ada"),
        ("e2", "ben"),
        ("e5", "visitor-1"),
        ("e2", "ada"),
        ("e4", "eve"),
        ("e3", "ada"),
    ]
    assert merged.users["user_id"].to_list() == ["ada", "ben", "eve", "visitor-1"]
    assert not (rejects / "live-events.rejects.jsonl").exists()


def test_nothing_live_changes_nothing(data: Dataset, live: Path, rejects: Path) -> None:
    merged = with_live(data, live, rejects)
    for table in TABLES:
        assert_frame_equal(getattr(merged, table), getattr(data, table))
    assert replace(merged, **{table: getattr(data, table) for table in TABLES}) == data


def test_bad_live_rows_go_to_the_side_file(data: Dataset, live: Path, rejects: Path) -> None:
    log(live, {"event_id": "e4", "price": -1.0}, {"event_id": "e5"}, {"event_id": "e5", "user_id": "ben"})
    merged = with_live(data, live, rejects)
    assert merged.events["event_id"].to_list()[3:] == ["e5"]
    found = pl.read_ndjson(rejects / "live-events.rejects.jsonl")
    assert found.select("row", "column").rows() == [(0, "price"), (2, "event_id")]


def test_live_items_replace_are_added_and_are_taken_out_while_events_stay(
    data: Dataset, live: Path, rejects: Path
) -> None:
    write_catalogue(
        live,
        catalogue(
            item("cup", "Blue cup", price=3.0),
            item("kettle", "") | {"deleted": True},
            item("spoon", "Spoon", in_stock=False),
            item("fork", "Fork", price=-1.0),
        ),
    )
    merged = with_live(data, live, rejects)
    assert merged.items.select("item_id", "title", "price", "in_stock").rows() == [
        ("cup", "Blue cup", 3.0, True),
        ("spoon", "Spoon", None, False),
    ]
    assert merged.events.equals(data.events)
    assert pl.read_ndjson(rejects / "live-items.rejects.jsonl")["column"].to_list() == ["price"]


def test_a_bad_live_row_leaves_the_item_as_the_data_has_it(data: Dataset, live: Path, rejects: Path) -> None:
    write_catalogue(live, catalogue(item("cup", " ")))
    assert_frame_equal(with_live(data, live, rejects).items, data.items)


def test_who_opted_out_is_in_no_table_and_in_no_side_file(data: Dataset, live: Path, rejects: Path) -> None:
    log(
        live,
        {"event_id": "e4", "user_id": "ada"},
        {"event_id": "e5", "user_id": "ada", "price": -1.0},
        {"event_id": "e6", "user_id": "eve", "visitor_id": "visitor-1"},
        {"event_id": "e7", "user_id": "eve", "price": -1.0},
        {"event_id": "e8", "user_id": None, "visitor_id": "visitor-1"},
    )
    leave_out(live, digests(live, "ada", "visitor-1"))
    merged = with_live(data, live, rejects)
    assert merged.events["user_id"].to_list() == ["ben"]
    assert merged.users["user_id"].to_list() == ["ben"]
    side_file = (rejects / "live-events.rejects.jsonl").read_text()
    assert "ada" not in side_file
    assert "eve" in side_file


def test_who_was_forgotten_begins_again_with_what_arrives_afterwards(data: Dataset, live: Path, rejects: Path) -> None:
    log(live, {"event_id": "e4"}, {"event_id": "e5"}, {"event_id": "e6", "user_id": "eve", "visitor_id": "ada"})
    second = event_log.read(live)["arrival_time"][1]
    leave_out_until(live, digests(live, "ada"), second, keep_opted_out=False)
    merged = with_live(data, live, rejects)
    assert merged.events["event_id"].to_list() == ["e2", "e5", "e6"]
    assert merged.users["user_id"].to_list() == ["ben", "ada", "eve"]


BAD_LINE = '{"event_id":"%s","user_id":"%s","item_id":"kettle","event_type":"look","event_time":"2026-01-01T12:00:00Z"}'


def test_nobody_who_is_left_out_comes_back_into_side_files_and_prepared_copies(
    data: Dataset, live: Path, tmp_path: Path
) -> None:
    """Of ada there are good rows and bad ones, of eve a bad one only; zoe was forgotten and lives on."""
    shop, built = tmp_path / "shop", tmp_path / "built"
    shop.mkdir()
    lines = [BAD_LINE % ("b1", "ada"), "ada,kettle", BAD_LINE % ("b2", "eve"), BAD_LINE % ("b3", "ben"), "ben,kettle"]
    good = [line.replace("look", "view") for line in (BAD_LINE % ("g1", "ada"), BAD_LINE % ("g2", "ben"))]
    (shop / "events.jsonl").write_text("\n".join([*lines, *good]) + "\n")
    data.items.write_parquet(shop / "items.parquet")
    cache.keep(data, built / "complete-journey-1")
    log(live, {"event_id": "l1", "user_id": "zoe", "price": -1.0})
    leave_out(live, digests(live, "eve"))
    leave_out_until(live, digests(live, "ada", "zoe"), DAYS[0], keep_opted_out=True)
    merged = load(f"parquet:{shop}+live:{live}", built)
    assert merged.users["user_id"].to_list() == ["ben"]
    originals = pl.read_ndjson(built / "rejects" / "events.rejects.jsonl")["original"]
    assert originals.to_list() == lines[3:]
    kept = cache.recall(built / "complete-journey-1")
    assert kept.events["event_id"].to_list() == ["e2"]
    assert kept.users["user_id"].to_list() == ["ben"]
    assert kept.items.equals(data.items)
    assert "zoe" in (built / "rejects" / "live-events.rejects.jsonl").read_text()


def test_a_side_file_that_cannot_be_read_is_an_error_that_names_it(data: Dataset, live: Path, rejects: Path) -> None:
    rejects.mkdir()
    (rejects / "events.rejects.jsonl").write_bytes('{"original": "Ä'.encode()[:-1])
    leave_out(live, digests(live, "ada"))
    with pytest.raises(SchemaError, match=r"events\.rejects\.jsonl: .*utf-8"):
        with_live(data, live, rejects)


def test_the_catalogue_reads_back_and_is_replaced_whole(live: Path) -> None:
    assert_frame_equal(read_catalogue(live), catalogue())
    write_catalogue(live, catalogue(item("kettle", "Kettle")))
    write_catalogue(live, catalogue(item("cup", "Cup", category=["Kitchen"])))
    assert_frame_equal(read_catalogue(live), catalogue(item("cup", "Cup", category=["Kitchen"])))
    assert [path.name for path in live.iterdir()] == ["catalogue.parquet"]


def test_a_live_file_that_cannot_be_used_is_an_error_that_names_it(data: Dataset, live: Path, rejects: Path) -> None:
    with pytest.raises(ValueError, match="items: found"):
        write_catalogue(live, catalogue().drop("deleted"))
    (live / "catalogue.parquet").write_bytes(b"PAR1")
    with pytest.raises(SchemaError, match=r"catalogue\.parquet"):
        with_live(data, live, rejects)
    pl.DataFrame({"item_id": ["kettle"]}).write_parquet(live / "catalogue.parquet")
    with pytest.raises(SchemaError, match=r"catalogue\.parquet: found"):
        with_live(data, live, rejects)
    with pytest.raises(SchemaError, match="no such folder"):
        with_live(data, live / "elsewhere", rejects)


def test_a_data_spec_names_the_live_folder_after_its_source(live: Path, tmp_path: Path) -> None:
    log(live, {"event_id": "e4", "user_id": "eve", "item_id": "spoon"})
    write_catalogue(live, catalogue(item("spoon", "Spoon")))
    source = "synthetic:user_count=7,weeks=1"
    plain, merged = load(source, tmp_path), load(f"{source}+live:{live}", tmp_path)
    assert merged.events.height == plain.events.height + 1
    assert set(merged.users["user_id"]) - set(plain.users["user_id"]) == {"eve"}
    assert merged.items["item_id"][-1] == "spoon"
    assert (merged.name, merged.synthetic, merged.calendar) == (plain.name, plain.synthetic, plain.calendar)
    assert load(f"synthetic+live:{live}", tmp_path).events["event_id"].is_in(["e4"]).any()


def test_a_live_folder_alone_or_without_a_name_is_no_data(live: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="adapter 'live' is none of"):
        load(f"live:{live}", tmp_path)
    with pytest.raises(AdapterError, match=r"write synthetic\+live:DIR"):
        load("synthetic+live:", tmp_path)
