"""The check at the door: good rows of a table parted from bad ones.

Choices: a row that breaks the schema is rejected with its row number, column and reason and handed back with its
original text, never dropped in silence; a table that lacks a required column, or whose column could not hold such
values at all, is an error. The first of several good rows with one key stays. No Python loop over rows.

Knows nothing of files: a text reader that could not take a line apart says so in the reserved column `PROBLEM`.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars import selectors as cs

from features.cells import reading
from features.schema import ATTRIBUTES, INSTANT, KEYS, TABLES, Column, SchemaError

PROBLEM = "_problem"
"""Reserved column (String): why a reader could not take a row apart; null where it could."""
ORIGINAL = "_original"
"""Reserved column (String): a row as it stood in its file, where that says more than the row's JSON."""
_WORDS: dict[pl.DataType, str] = {
    pl.String(): "text",
    pl.Int64(): "a whole number",
    pl.Float64(): "a number",
    pl.Boolean(): "true or false",
    INSTANT: "a time (ISO 8601)",
    pl.List(pl.String): "a list of names",
    ATTRIBUTES: "a list of {key, value}",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """What validation made of a table."""

    frame: pl.DataFrame
    """The good rows, in their order, in the table's schema."""
    rejects: pl.DataFrame
    """One line per bad cell: row (Int64, 0-based), column ("" for a whole row), reason, original (the row as JSON)."""
    source: str
    """The file or place the table came from."""

    @property
    def rejected_count(self) -> int:
        """Number of rows rejected."""
        return self.rejects["row"].n_unique()

    def summary(self) -> str:
        """One line: how many rows were rejected, and the first bad cell with source, row and column."""
        total = self.frame.height + self.rejected_count
        if self.rejects.is_empty():
            return f"{self.source}: {total} rows, none rejected"
        row, column, reason, _ = self.rejects.row(0)
        place = f"row {row}, column {column}" if column else f"row {row}"
        return f"{self.source}: {self.rejected_count} of {total} rows rejected; first: {place}: {reason}"


def validate(frame: pl.DataFrame, table: str, source: Path | str) -> Checked:
    """Read a table as its schema and part good rows from bad.

    Args:
        frame: The table as found; columns in any order, cells as cells.py reads them; further columns are left out.
        table: "events", "items", "promotions" or "users".
        source: File or place to name in errors.

    Raises:
        SchemaError: A required column is missing or its type cannot be read; names the source and the column.
    """
    columns = TABLES[table]
    typed = frame.select(_typed(frame, name, column, source) for name, column in columns.items())
    reasons = typed.select(_reason(frame, typed, name, column).alias(name) for name, column in columns.items())
    if PROBLEM in frame.columns:
        reasons = reasons.select(
            frame[PROBLEM].alias(""), pl.when(pl.lit(frame[PROBLEM]).is_null()).then(pl.all()).name.keep()
        )
    filled = typed.with_columns(
        pl.col(name).fill_null(column.default) for name, column in columns.items() if column.default is not None
    )
    if table in KEYS:
        reasons = reasons.with_columns(_repeats(filled, _is_good(reasons), KEYS[table], reasons))
    return Checked(filled.filter(_is_good(reasons)), _rejects(frame, reasons, table), str(source))


def _typed(frame: pl.DataFrame, name: str, column: Column, source: Path | str) -> pl.Expr:
    if name not in frame.columns:
        if column.required:
            raise SchemaError(f"{source}: column {name} is missing (found: {', '.join(frame.columns)})")
        return pl.lit(None, column.dtype).alias(name)
    have = frame.schema[name]
    value = reading(name, have, column.dtype)
    if value is None:
        raise SchemaError(f"{source}: column {name}: {have} cannot be read as {column.dtype}")
    return value.alias(name)


def _reason(frame: pl.DataFrame, typed: pl.DataFrame, name: str, column: Column) -> pl.Expr:
    """What is wrong with each cell of a column (String), null where nothing is."""
    value = pl.col(name)
    wrongs = []
    if name in frame.columns and frame.schema[name] != column.dtype:
        is_unread = frame[name].is_not_null() & typed[name].is_null()
        wrongs.append((pl.lit(is_unread), f"cannot be read as {_WORDS[column.dtype]}"))
    if column.required:
        wrongs.append((value.is_null(), "is missing"))
    if column.must is not None:
        wrongs.append((~column.must(value), column.rule))
    return pl.coalesce(pl.lit(None, pl.String), *(pl.when(is_bad).then(pl.lit(reason)) for is_bad, reason in wrongs))


def _is_good(reasons: pl.DataFrame) -> pl.Series:
    return reasons.select(~pl.any_horizontal(pl.all().is_not_null())).to_series()


def _repeats(filled: pl.DataFrame, is_good: pl.Series, key: tuple[str, ...], reasons: pl.DataFrame) -> pl.Series:
    """The reasons of a key's last column, with good rows added whose key an earlier good row has."""
    # A bad row carries its own number into the comparison, so that it takes no good row's key.
    own_number = pl.when(~pl.lit(is_good)).then(pl.int_range(pl.len()))
    is_repeat = ~filled.select(pl.struct(*key, own_number.alias("_row")).is_first_distinct()).to_series()
    repeated = pl.when(pl.lit(is_repeat)).then(pl.lit("repeats that of an earlier row")).otherwise(pl.col(key[-1]))
    return reasons.select(repeated.alias(key[-1])).to_series()


def _rejects(frame: pl.DataFrame, reasons: pl.DataFrame, table: str) -> pl.DataFrame:
    bad = reasons.with_columns(row=pl.int_range(pl.len())).filter(~_is_good(reasons))
    originals = frame[bad["row"]].select(_original(frame, table).alias("original")).with_columns(bad["row"])
    cells = bad.unpivot(index="row", variable_name="column", value_name="reason").drop_nulls("reason")
    return cells.sort("row", maintain_order=True).join(originals, on="row", how="left", maintain_order="left")


def _original(frame: pl.DataFrame, table: str) -> pl.Expr:
    if ORIGINAL in frame.columns:
        return pl.col(ORIGINAL)
    # Nested columns that are none of ours may hold types without a JSON form.
    shown = [name for name, dtype in frame.schema.items() if name in TABLES[table] or not dtype.is_nested()]
    is_plain = cs.by_name(shown) - cs.binary() - cs.by_name(PROBLEM, require_all=False)
    return pl.struct(is_plain, cs.binary().cast(pl.String, strict=False)).struct.json_encode()
