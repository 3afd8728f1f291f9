"""The log's files: what they hold, what they are called, who writes and reads them.

    <live folder>/events/date=YYYY-MM-DD/s<shard>-<after>-<last>.parquet

Choices:
- A file holds what became of the entries in (after, last] of one shard's stream, by UTC day of arrival. Its name is the
  log's position: what is logged and how far the log is are one rename. A file without rows marks progress all the same.
- Whoever owned a shard before may have written the same entries too: a reader takes each (shard, entry) once.
- Writers and readers wait for nobody. A reader whose files were replaced underneath looks again.

Knows nothing of streams, nor of what a feature is. Ids are as they stand in the files, pseudonyms where those are used.
"""

import logging
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import polars as pl

from features.atomic import write_atomically
from features.schema import ATTRIBUTES, INSTANT

logger = logging.getLogger(__name__)

LOGGED = pl.Schema(
    {
        "shard": pl.Int32(),
        "entry": pl.String(),
        "arrival_time": INSTANT,
        "tenant": pl.String(),
        "event_id": pl.String(),
        "event_type": pl.String(),
        "event_time": INSTANT,
        "user_id": pl.String(),
        "visitor_id": pl.String(),
        "session_id": pl.String(),
        "recommendation_id": pl.String(),
        "item_id": pl.String(),
        "quantity": pl.Int64(),
        "price": pl.Float64(),
        "search_query": pl.String(),
        "impression_item_ids": pl.List(pl.String()),
        "impression_propensities": pl.List(pl.Float64()),
        "placement": pl.String(),
        "rating": pl.Float64(),
        "attributes": ATTRIBUTES,
    }
)
"""A row is one accepted event; `entry` is its stream id, `<ms>-<seq>`; a text that was not given is null or empty."""
BEGINNING = "0-0"
"""The id before every entry."""
ENTRY = ("shard", "entry")
"""What no two rows share."""

_FILE_NAME = re.compile(r"s(\d+)-(\d+-\d+)-(\d+-\d+)\.parquet")
_ATTEMPTS = 10

Id = tuple[int, int]
"""An entry's id as numbers: milliseconds, sequence."""
Result = TypeVar("Result")


class Part(NamedTuple):
    """A file, as its name tells; in reading order."""

    day: date
    shard: int
    after: Id
    last: Id
    path: Path


def write_part(folder: Path, shard: int, after: str, last: str, frame: pl.DataFrame) -> Path:
    """Write what became of a shard's entries; repeating it is harmless.

    Args:
        folder: The live folder; made if absent.
        shard: The entries' shard.
        after: Id of the entry before the first.
        last: Id of the last entry, whether or not it has a row.
        frame: LOGGED, rows of (after, last] that arrived on one UTC day (see `split_by_day`); may be empty.

    Raises:
        ValueError: an id is not `<ms>-<seq>`, `after` is not before `last`, or rows are not as above.
        OSError: the file cannot be written, for instance because the disk is full.
    """
    first_id, last_id = _id(after), _id(last)
    if first_id >= last_id:
        raise ValueError(f"after: {after} is not before {last}")
    if frame.schema != LOGGED:
        raise ValueError(f"frame: found {dict(frame.schema)}, expected {dict(LOGGED)}")
    if (frame["shard"] != shard).any():
        raise ValueError(f"frame: rows of another shard than {shard}")
    if strange := [entry for entry in frame["entry"] if not first_id < _id(entry) <= last_id]:
        raise ValueError(f"frame: entry {strange[0]} is not in ({after}, {last}]")
    arrived = frame["arrival_time"].dt.date().unique().to_list() or [_day(last_id)]
    if len(arrived) > 1:
        raise ValueError(f"frame: rows of {len(arrived)} days of arrival")
    path = path_of(folder, arrived[0], shard, first_id, last_id)
    try:
        return write_atomically(path, frame.write_parquet)
    except pl.exceptions.PolarsError as error:  # what Polars makes of the system's error once the file is open
        raise OSError(f"{path}: {error}") from error


def split_by_day(after: str, last: str, frame: pl.DataFrame) -> list[tuple[str, str, pl.DataFrame]]:
    """The parts to write for (after, last]: `after`, `last` and rows of each day of arrival, in the stream's order.

    One part without rows where `frame` has none.
    """
    dated = in_stream_order(frame).with_columns(day=pl.col("arrival_time").dt.date())
    parts = dated.partition_by("day", maintain_order=True, include_key=False) or [frame]
    ends = [*(str(part["entry"][-1]) for part in parts[:-1]), last]
    return list(zip([after, *ends[:-1]], ends, parts, strict=True))


def logged_until(folder: Path, shard: int) -> str:
    """Id of the last entry of a shard that the log has dealt with; "0-0" without any."""
    ends = (part.last for part in parts_of(folder) if part.shard == shard)
    return "-".join(map(str, max(ends, default=_id(BEGINNING))))


def days(folder: Path) -> list[date]:
    """The days of arrival that have a file, oldest first."""
    return sorted({part.day for part in parts_of(folder)})


def scan(folder: Path) -> pl.LazyFrame:
    """Every row once, LOGGED, by day and shard in the stream's order.

    Collecting raises FileNotFoundError when a file was replaced in the meantime; `read` then begins again.
    """
    return _all_rows(folder).unique(ENTRY, keep="first", maintain_order=True)


def read(folder: Path) -> pl.DataFrame:
    """What `scan` finds, also while files are being replaced."""
    return _settled(lambda: scan(folder).collect())


def rows_of(folder: Path, shoppers: Collection[str]) -> pl.DataFrame:
    """Shoppers' rows, each once, LOGGED; also while files are being replaced."""
    theirs = of_shoppers(shoppers)
    return _settled(lambda: _all_rows(folder).filter(theirs).collect()).unique(ENTRY, keep="first", maintain_order=True)


def of_shoppers(shoppers: Collection[str]) -> pl.Expr:
    """Whether a row's user or visitor is one of the shoppers; never null."""
    ids = pl.Series(sorted(shoppers), dtype=pl.String).implode()
    return pl.any_horizontal(pl.col("user_id", "visitor_id").is_in(ids).fill_null(False))


def count_of(folder: Path, shoppers: Collection[str]) -> int:
    """How many rows `rewrite_without` would remove now."""
    return _settled(lambda: count(_all_rows(folder).filter(of_shoppers(shoppers))))


def in_stream_order(rows: pl.DataFrame) -> pl.DataFrame:
    """One shard's rows sorted by id: as numbers, not as text."""
    halves = pl.col("entry").str.split_exact("-", 1).struct
    return rows.sort(halves.field("field_0").cast(pl.Int64), halves.field("field_1").cast(pl.UInt64))


def path_of(folder: Path, day: date, shard: int, after: Id, last: Id) -> Path:
    """Where a part stands."""
    ids = "-".join(map(str, (*after, *last)))
    return folder / "events" / f"date={day.isoformat()}" / f"s{shard}-{ids}.parquet"


def parts_of(folder: Path) -> list[Part]:
    """Every file, in reading order. Listed until two listings agree: while files are being replaced, a single one may
    come too early for the new file and too late for the old ones."""
    listing = _listing(folder)
    while (again := _listing(folder)) != listing:
        listing = again
    return listing


def day_folders(folder: Path) -> Iterator[tuple[date, Path]]:
    """The folder of each day; others, such as somebody's copy of one, are passed over."""
    for path in (folder / "events").glob("date=*"):
        if day := _day_of(path):
            yield day, path


def count(rows: pl.LazyFrame) -> int:
    """How many rows there are."""
    total: int = rows.select(pl.len()).collect().item()
    return total


def _all_rows(folder: Path) -> pl.LazyFrame:
    paths = [part.path for part in parts_of(folder)]
    return pl.scan_parquet(paths, hive_partitioning=False, glob=False) if paths else LOGGED.to_frame().lazy()


def _listing(folder: Path) -> list[Part]:
    found = []
    for day, day_folder in day_folders(folder):
        with suppress(FileNotFoundError):  # just dropped
            for path in day_folder.iterdir():
                if match := _FILE_NAME.fullmatch(path.name):
                    shard, after, last = match.groups()
                    found.append(Part(day, int(shard), _id(after), _id(last), path))
    return sorted(found)


@cache
def _day_of(day_folder: Path) -> date | None:
    """The day that a folder's name says; None, and a line in the log, where it says none."""
    try:
        return date.fromisoformat(day_folder.name.removeprefix("date="))
    except ValueError:
        logger.warning("passed over what is no day of the log", extra={"path": str(day_folder)})
        return None


def _settled(look: Callable[[], Result]) -> Result:
    """Look again where a file was replaced between finding and reading it."""
    for _ in range(_ATTEMPTS - 1):
        with suppress(FileNotFoundError):
            return look()
    return look()


def _id(text: str) -> Id:
    milliseconds, _, sequence = text.partition("-")
    return int(milliseconds), int(sequence)


def _day(entry: Id) -> date:
    return datetime.fromtimestamp(entry[0] / 1000, UTC).date()
