"""A shop's own data: a folder of tables in the schema of features/schema.py.

Choices: `events` and `items` are required, `promotions` and `users` optional; each may be Parquet, CSV or JSON Lines.
Weeks begin on Monday 00:00 UTC, week 1 is the week of the first event. Shoppers seen in events but not in `users` are
added to it.

Knows nothing of any particular shop.
"""

from datetime import UTC, date, timedelta
from pathlib import Path

import polars as pl

from features.schema import USERS, Calendar, Dataset, SchemaError, schema_of
from features.tables import SUFFIXES, read_table

NAME = "parquet"


def load(folder: Path, rejects_dir: Path) -> Dataset:
    """Read and validate the tables of a folder.

    Args:
        folder: Holds events.*, items.* and maybe promotions.*, users.*; suffixes .parquet, .csv, .jsonl.
        rejects_dir: Folder for the side files of rejected rows.

    Raises:
        SchemaError: A required file is missing, stands there twice, cannot be read or holds no good row.
    """
    events = _table(folder, "events", rejects_dir, required=True).sort("event_time", maintain_order=True)
    return Dataset(
        name=NAME,
        events=events,
        items=_table(folder, "items", rejects_dir, required=True),
        promotions=_table(folder, "promotions", rejects_dir),
        users=_with_seen(_table(folder, "users", rejects_dir), events),
        calendar=Calendar(_monday_before(events), "UTC"),
    )


def _table(folder: Path, table: str, rejects_dir: Path, *, required: bool = False) -> pl.DataFrame:
    paths = [folder / f"{table}{suffix}" for suffix in SUFFIXES if (folder / f"{table}{suffix}").exists()]
    if len(paths) > 1:
        raise SchemaError(f"{folder}: table {table} stands there twice: {', '.join(path.name for path in paths)}")
    if not paths:
        if required:
            raise SchemaError(f"{folder}: no {table} file with suffix {', '.join(SUFFIXES)}")
        return schema_of(table).to_frame()
    checked = read_table(paths[0], table, rejects_dir)
    if required and checked.frame.is_empty():
        raise SchemaError(f"{checked.summary()}; no good row left")
    return checked.frame


def _with_seen(users: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    seen = (
        events.select("user_id")
        .unique(maintain_order=True)
        .join(users, on="user_id", how="anti", maintain_order="left")
    )
    return pl.concat([users, seen.with_columns(pl.lit([], USERS["attributes"]).alias("attributes"))])


def _monday_before(events: pl.DataFrame) -> date:
    first: date = events["event_time"][0].astimezone(UTC).date()
    return first - timedelta(days=first.weekday())
