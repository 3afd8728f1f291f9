"""What happens to the log's files after they were written: merged, dropped by age, cleared of a shopper.

Choices:
- Files are replaced one by one, each atomically, and what a merged file stands for is removed only when it stands: a
  reader finds every row at any moment, and `logged_until` never goes back.
- One at a time: or else a merge could bring back what a purge takes out.

Knows nothing of who asks, nor of what a shopper's other traces are.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

import polars as pl

from features.atomic import locked, make_folder, remove_files, remove_leftovers, write_atomically
from features.event_log.files import ENTRY, LOGGED, count, day_folders, in_stream_order, of_shoppers, parts_of, path_of


def compact(folder: Path, day: date) -> int:
    """Put one file per shard in the place of a past day's many.

    Returns:
        How many files fewer there are.
    """
    fewer = 0
    with _upkeep(folder):
        of_day = [part for part in parts_of(folder) if part.day == day]
        for shard in sorted({part.shard for part in of_day}):
            parts = [part for part in of_day if part.shard == shard]
            if len(parts) == 1:
                continue
            rows = pl.read_parquet([part.path for part in parts], hive_partitioning=False, glob=False)
            rows = in_stream_order(rows.unique(ENTRY, keep="first", maintain_order=True))
            after, last = min(part.after for part in parts), max(part.last for part in parts)
            whole = write_atomically(path_of(folder, day, shard, after, last), rows.write_parquet)
            merged = [part.path for part in parts if part.path != whole]
            remove_files(whole.parent, merged)
            fewer += len(parts) - 1
    return fewer


def drop_before(folder: Path, day: date) -> int:
    """Forget what arrived before a day; a shard's newest file stays, without rows if it is older than that.

    Returns:
        How many rows were removed; one that lies in two files counts twice.
    """
    dropped = 0
    with _upkeep(folder):
        parts = parts_of(folder)
        newest = {part.shard: part for part in sorted(parts, key=lambda part: part.last)}
        for part in parts:
            if part.day >= day:
                continue
            dropped += count(pl.scan_parquet(part.path, glob=False))
            if part is newest[part.shard]:
                write_atomically(part.path, LOGGED.to_frame().write_parquet)
            else:
                remove_files(part.path.parent, [part.path])
        for empty in {part.path.parent for part in parts if part.day < day}:
            with suppress(OSError):  # it still holds a shard's newest file
                empty.rmdir()
    return dropped


def rewrite_without(folder: Path, shoppers: Collection[str]) -> int:
    """Take shoppers' rows out of every file; names stay. Safe to repeat; what a kill interrupts, a repetition ends.

    A writer that holds such rows in memory can still write them afterwards: who purges stops those first.

    Args:
        folder: The live folder.
        shoppers: Ids of users or visitors, as they stand in the files; rows that name one as either go.

    Returns:
        How many rows were removed; one that lies in two files counts twice.
    """
    removed, theirs = 0, of_shoppers(shoppers)
    with _upkeep(folder):
        for part in parts_of(folder):
            rows = pl.scan_parquet(part.path, glob=False)
            if found := count(rows.filter(theirs)):
                write_atomically(part.path, rows.filter(~theirs).collect().write_parquet)
                removed += found
    return removed


@contextmanager
def _upkeep(folder: Path) -> Iterator[None]:
    """One at a time; begins with removing what killed processes left over."""
    events = folder / "events"
    make_folder(events)
    with locked(events):
        for _, day_folder in day_folders(folder):
            remove_leftovers(day_folder)
        yield
