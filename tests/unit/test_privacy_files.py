"""Files that are rewritten without a shopper while others rewrite or write them, too; real files, real locks."""

import asyncio
import fcntl
import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import numpy as np
import polars as pl
import pytest
from aisle.v1 import event_service_pb2 as messages

from features import rejects
from features.atomic import write_atomically
from features.event_log import write_part
from features.offline import offline_folder, write_offline
from services.common.streams import Unavailable
from services.ingest.privacy import files
from services.ingest.privacy.export import Exports
from services.ingest.privacy.files import EventFiles, Tables
from services.ingest.privacy.shopper import Shopper, Shoppers
from tests.frames import random_user_frame
from tests.logged import DAYS, entry_at, logged, logged_row

AS_OF = datetime(2026, 5, 1, tzinfo=UTC)
PATIENCE_SECONDS = 60.0


def shopper(name: str) -> Shopper:
    return Shoppers(str).of(messages.PurgeUserRequest(user_id=name))


def tables(folder: Path) -> Tables:
    return Tables("offline_files", folder / "offline", folder / "live")


def remove(folder: Path, name: str) -> int:
    """A purge's part, as of a process of its own."""
    return asyncio.run(tables(folder).remove(shopper(name)))


def write_table(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"user_id": names}).write_parquet(path)
    return path


@pytest.fixture
def waited_for(monkeypatch: pytest.MonkeyPatch) -> defaultdict[str, threading.Event]:
    """By the name of a file or folder: set as soon as anybody asks to be alone there."""
    asked, flock = defaultdict[str, threading.Event](threading.Event), fcntl.flock

    def noted(descriptor: int, way: int) -> None:
        if way == fcntl.LOCK_EX:
            asked[Path(f"/proc/self/fd/{descriptor}").readlink().name].set()
        flock(descriptor, way)

    monkeypatch.setattr(fcntl, "flock", noted)
    return asked


@pytest.mark.parametrize("suffix", ["parquet", "rejects.jsonl"])
def test_two_purges_at_once_do_not_bring_back_each_others_shopper(
    tmp_path: Path, waited_for: defaultdict[str, threading.Event], monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """The second begins when the first has read the file and not yet put it back."""
    path = write_table(tmp_path / "offline" / "rows.parquet", "ada", "ben", "eve")
    if suffix != "parquet":
        rows = pl.read_parquet(path)
        rows.write_ndjson(path := path.rename(path.with_name(f"rows.{suffix}")))
    others, waits_or_is_done = list[threading.Thread](), waited_for["rewriting.lock"]

    def second() -> None:
        try:
            remove(tmp_path, "ben")
        finally:
            waits_or_is_done.set()

    def noted(target: Path, fill: Callable[[Path], object]) -> Path:
        if not others:
            waits_or_is_done.clear()
            others.append(threading.Thread(target=second))
            others[0].start()
            assert waits_or_is_done.wait(PATIENCE_SECONDS)
        return write_atomically(target, fill)

    for module in (files, rejects):
        monkeypatch.setattr(module, "write_atomically", noted)
    remove(tmp_path, "ada")
    others[0].join(PATIENCE_SECONDS)
    left = pl.read_parquet(path) if suffix == "parquet" else pl.read_ndjson(path)
    assert left["user_id"].to_list() == ["eve"]


def test_a_purge_waits_for_a_table_that_is_being_written_and_looks_at_what_became_of_it(
    tmp_path: Path, waited_for: defaultdict[str, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, waits = threading.Event(), waited_for[offline_folder("user", tmp_path).name]
    frame, write_parquet = random_user_frame(2, np.random.default_rng(1)), pl.DataFrame.write_parquet

    def slow(rows: pl.DataFrame, unfinished: Path) -> None:
        unfinished.write_bytes(b"PAR1 and not finished")
        begun.set()
        assert waits.wait(PATIENCE_SECONDS)
        write_parquet(rows, unfinished)

    written: list[Path] = []
    with monkeypatch.context() as patched:
        patched.setattr(pl.DataFrame, "write_parquet", slow)
        offline = tmp_path / "offline"
        job = threading.Thread(target=lambda: written.append(write_offline(frame, "user", AS_OF, offline)))
        job.start()
        assert begun.wait(PATIENCE_SECONDS)
        patched.setattr(pl.DataFrame, "write_parquet", write_parquet)  # the purge's own
        assert remove(tmp_path, "user-0") == 1
        job.join(PATIENCE_SECONDS)
    assert pl.read_parquet(*written)["user_id"].to_list() == ["user-1"]
    assert asyncio.run(tables(tmp_path).count(shopper("user-0"))) == 0


@pytest.mark.parametrize("name", ["rows.parquet", "events.rejects.jsonl"])
def test_what_a_killed_writer_left_counts_as_a_record_and_goes(tmp_path: Path, name: str) -> None:
    """Also where it could be read, and names somebody else: whose the missing part was nobody knows."""
    leftover = write_table(tmp_path / "offline" / f".{name}.0123456789abcdef.tmp", "somebody else")
    assert asyncio.run(tables(tmp_path).count(shopper("ada"))) == 1
    assert remove(tmp_path, "ada") == 1
    assert not leftover.exists()


@pytest.mark.parametrize("removing", [False, True])
async def test_a_side_file_that_ends_within_a_character_is_named(tmp_path: Path, removing: bool) -> None:
    path = write_table(tmp_path / "offline" / "rows.parquet", "ada").with_name("events.rejects.jsonl")
    path.write_bytes('{"original": "Ä'.encode()[:-1])
    work = tables(tmp_path).remove if removing else tables(tmp_path).count
    with pytest.raises(Unavailable, match=rf"{path}: .*utf-8"):
        await work(shopper("ada"))


async def test_a_disk_that_is_full_is_said_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_table(tmp_path / "offline" / "rows.parquet", "ada")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full_disk)
    with pytest.raises(Unavailable, match=rf"{path}: .*No space left"):
        await tables(tmp_path).remove(shopper("ada"))


async def test_a_damaged_file_of_the_log_is_named_to_who_counts_removes_and_exports(tmp_path: Path) -> None:
    paths = []
    for number, day in enumerate(DAYS[:2]):
        entry = entry_at(day)
        before = entry_at(DAYS[0]) if number else "0-0"
        paths.append(write_part(tmp_path, 0, before, entry, logged(logged_row(entry, event_id=f"e{number}"))))
    paths[1].write_bytes(b"PAR1 and not finished PAR1")
    log, nothing = EventFiles(tmp_path), AsyncMock(return_value={})
    exports = Exports(tmp_path, Mock(states=nothing, events=nothing), Mock())
    for work in (log.count, log.remove, exports.events):
        with pytest.raises(Unavailable, match=f"{paths[1]}: "):
            await work(shopper("ada"))
