"""Cells of a foreign table, read as the type our schema asks for.

Choices: a reading never changes a value (2.5 is not a quantity of 2) and never guesses (a number is not a time). A cell
that cannot be read becomes null, so that the caller can name its row. Text is accepted for every type, because CSV and
JSON Lines carry only text: times in ISO 8601 (UTC unless an offset is written), lists as JSON, a category path also as
`Sports > Running`.

Knows nothing of which columns a table has or which values are allowed in them.
"""

import polars as pl

_TEXTS = (pl.String, pl.Categorical, pl.Enum, pl.Binary)
_ISO_8601 = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d")
_JSON_STRING = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
_JSON_STRINGS = rf"^\s*\[\s*(?:{_JSON_STRING}\s*(?:,\s*{_JSON_STRING}\s*)*)?\]\s*$"
_JSON_PAIR = (
    rf'\{{\s*(?:"key"\s*:\s*{_JSON_STRING}\s*,\s*"value"\s*:\s*{_JSON_STRING}'
    rf'|"value"\s*:\s*{_JSON_STRING}\s*,\s*"key"\s*:\s*{_JSON_STRING})\s*\}}'
)
_JSON_PAIRS = rf"^\s*\[\s*(?:{_JSON_PAIR}\s*(?:,\s*{_JSON_PAIR}\s*)*)?\]\s*$"


def reading(column: str, have: pl.DataType, want: pl.DataType) -> pl.Expr | None:
    """Expression that reads a column as `want`, with null where a cell cannot be read.

    Args:
        column: Name of the column.
        have: Type the column has.
        want: One of String, Int64, Float64, Boolean, Datetime("us", "UTC"), List(String), List(Struct{key, value}).

    Returns:
        The expression, or None when no cell of type `have` could mean a `want`.
    """
    value = pl.col(column)
    if have == want:
        return value
    if have == pl.Null:
        return value.cast(want)
    if have in _TEXTS:
        return _read_text(value.cast(pl.String, strict=False), want)
    if isinstance(want, pl.List):
        return _read_list(value, have, want)
    return _read_plain(value, have, want)


def _read_plain(value: pl.Expr, have: pl.DataType, want: pl.DataType) -> pl.Expr | None:
    if want == pl.Datetime:
        return _read_time(value, have)
    if not have.is_numeric():
        return None
    if want == pl.Boolean:
        return pl.when(value == 1).then(True).when(value == 0).then(False)
    if want == pl.String:
        return value.cast(want) if have.is_integer() else None
    if want == pl.Int64 and not have.is_integer():
        value = pl.when(value == value.round()).then(value)
    return value.cast(want, strict=False)


def _read_time(value: pl.Expr, have: pl.DataType) -> pl.Expr | None:
    if isinstance(have, pl.Datetime) and have.time_zone is not None:
        return value.dt.cast_time_unit("us").dt.convert_time_zone("UTC")
    if have in (pl.Datetime, pl.Date):
        return value.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return None


def _read_list(value: pl.Expr, have: pl.DataType, want: pl.List) -> pl.Expr | None:
    if not isinstance(have, pl.List):
        return None
    inner = have.inner
    if inner == pl.Null or (want.inner == pl.String and inner in _TEXTS):
        return value.cast(want)
    if want.inner == pl.Struct and isinstance(inner, pl.Struct):
        types = {field.name: field.dtype for field in inner.fields}
        is_pair = {"key", "value"} <= types.keys() and not types["key"].is_nested() and not types["value"].is_nested()
        return value.list.eval(_read_pair()) if is_pair else None
    return None


def _read_pair() -> pl.Expr:
    # Fields are taken by name: a cast of the whole struct would take them by position.
    pair = pl.element().struct
    return pl.struct(pair.field(name).cast(pl.String, strict=False).alias(name) for name in ("key", "value"))


def _read_text(text: pl.Expr, want: pl.DataType) -> pl.Expr:
    if want == pl.Datetime:
        iso = text.str.replace(" ", "T", literal=True)
        forms = (iso.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False) for form in _ISO_8601)
        return pl.coalesce(forms)
    if want == pl.Boolean:
        words, flags = ["true", "1", "false", "0"], [True, True, False, False]
        return text.str.to_lowercase().replace_strict(words, flags, default=None, return_dtype=pl.Boolean)
    if want == pl.List(pl.String):
        path = text.str.split(">").list.eval(pl.element().str.strip_chars())
        return pl.when(text.str.starts_with("[")).then(_read_json(text, _JSON_STRINGS, want)).otherwise(path)
    if want == pl.List:
        return _read_json(text, _JSON_PAIRS, want)
    return text.cast(want, strict=False)


def _read_json(text: pl.Expr, form: str, want: pl.DataType) -> pl.Expr:
    # json_decode refuses a whole column for one malformed cell: only cells of the right form reach it.
    return pl.when(text.str.contains(form)).then(text).str.json_decode(want)
