"""Tables in files: Parquet, CSV and JSON Lines in; good rows out, bad ones into a side file.

Choices: a text file is read cell by cell as text, so that one bad line costs that line and not the file; side files are
JSON Lines, one line per bad cell, so that a shop can mend and resend the rows.

Knows nothing of what a good row is (validation.py).
"""

import logging
from collections.abc import Callable
from pathlib import Path

import polars as pl

from features.atomic import write_atomically
from features.rejects import SUFFIX
from features.schema import TABLES, SchemaError
from features.validation import ORIGINAL, PROBLEM, Checked, validate

SUFFIXES = (".parquet", ".csv", ".jsonl")
_OVERFLOW = "_overflow"

_log = logging.getLogger(__name__)


def read_table(path: Path, table: str, rejects_dir: Path) -> Checked:
    """Read and validate one file, and write its rejected rows to a side file.

    Args:
        path: File ending in .parquet, .csv (with a header line) or .jsonl (one object a line).
        table: "events", "items", "promotions" or "users".
        rejects_dir: Folder for `<stem>.rejects.jsonl`; made when there is something to write.

    Raises:
        SchemaError: The file cannot be read, or lacks a required column; names the file and the column.
    """
    frame = _read(path, table)
    ignored = set(frame.columns) - set(TABLES[table]) - {PROBLEM, ORIGINAL, _OVERFLOW}
    if ignored:
        _log.info("%s: columns left out: %s", path, ", ".join(sorted(ignored)))
    checked = validate(frame, table, path)
    write_rejects(checked, rejects_dir, path.stem)
    return checked


def read_parquet(path: Path) -> pl.DataFrame:
    """Read a Parquet file as it is.

    Raises:
        SchemaError: The file cannot be read; names it.
    """
    return _readable(path, lambda: pl.read_parquet(path))


def write_rejects(checked: Checked, rejects_dir: Path, stem: str) -> None:
    """Write the rejects to `<stem>.rejects.jsonl` and log their count; with none, remove an older side file."""
    side_file = rejects_dir / f"{stem}{SUFFIX}"
    if checked.rejects.is_empty():
        side_file.unlink(missing_ok=True)
        _log.info("%s", checked.summary())
        return
    write_atomically(side_file, checked.rejects.write_ndjson)
    _log.warning("%s; all of them in %s", checked.summary(), side_file)


def _read(path: Path, table: str) -> pl.DataFrame:
    if path.suffix == ".parquet":
        return read_parquet(path)
    if path.suffix == ".csv":
        return _readable(path, lambda: _read_csv(path))
    if path.suffix == ".jsonl":
        return _readable(path, lambda: _read_json_lines(path, table))
    raise SchemaError(f"{path}: suffix {path.suffix!r} is none of {', '.join(SUFFIXES)}")


def _readable(path: Path, read: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    try:
        return read()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SchemaError(f"{path}: cannot be read: {error}") from error


def _read_csv(path: Path) -> pl.DataFrame:
    names = pl.read_csv(path, n_rows=0, infer_schema=False).columns
    # A column of our own after the last one catches what a line has too much.
    frame = pl.read_csv(
        path,
        has_header=False,
        skip_rows=1,
        schema=dict.fromkeys([*names, _OVERFLOW], pl.String),
        truncate_ragged_lines=True,
        missing_columns="insert",
    )
    too_long = pl.when(pl.col(_OVERFLOW).is_not_null()).then(pl.lit("has more fields than the header"))
    return frame.with_columns(too_long.alias(PROBLEM))


def _read_json_lines(path: Path, table: str) -> pl.DataFrame:
    line = pl.col("line")
    is_object = line.str.json_path_match("$").str.starts_with("{")
    cells = (
        pl.scan_lines(path)
        .select(
            line.alias(ORIGINAL),
            pl.when(~is_object.fill_null(False)).then(pl.lit("is not a JSON object")).alias(PROBLEM),
            *(line.str.json_path_match(f"$.{name}").alias(name) for name in TABLES[table]),
        )
        .collect()
    )
    if cells[PROBLEM].null_count() == 0:
        return cells
    # A key that no object has is a missing column, not a column of nulls.
    return cells.drop(name for name in TABLES[table] if cells[name].null_count() == cells.height)
