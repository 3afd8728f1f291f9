"""Seeded random feature tables, made from the spec alone: every column and type, lists of every length down to none."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from features import spec
from features.offline import polars_type

LIST_LENGTHS = {
    "history": spec.HISTORY_LENGTH,
    "repeat": spec.REPEAT_LENGTH,
    "leaf": spec.LEAF_LENGTH,
    "category": spec.CATEGORY_LENGTH,
}
"""Longest list of each group of parallel list features; a group is a name's part before the first underscore."""

_NUMPY_TYPES = {"list[int64]": np.int64, "list[float32]": np.float32}


def random_user_frame(n: int, rng: np.random.Generator) -> pl.DataFrame:
    """`user_id` ("user-0" …) and the USER_FEATURES of `n` shoppers; row 0 has only empty lists, row 1 full ones."""
    lengths = {group: rng.integers(0, longest, n, endpoint=True) for group, longest in LIST_LENGTHS.items()}
    for group, longest in LIST_LENGTHS.items():
        lengths[group][:2] = (0, longest)[:n]
    columns = [pl.Series("user_id", [f"user-{row}" for row in range(n)], pl.String)]
    for feature in spec.USER_FEATURES:
        values = _values(feature.dtype, n, rng)
        if feature.dtype.startswith("list["):
            values = [_values(feature.dtype, length, rng) for length in lengths[feature.name.split("_")[0]]]
        columns.append(pl.Series(feature.name, values, polars_type(feature.dtype)))
    return pl.DataFrame(columns)


def random_item_frame(n: int, rng: np.random.Generator) -> pl.DataFrame:
    """`item_id` ("item-0" …) and the ITEM_FEATURES of `n` items."""
    ids = pl.Series("item_id", [f"item-{row}" for row in range(n)], pl.String)
    columns = [
        pl.Series(feature.name, _values(feature.dtype, n, rng), polars_type(feature.dtype))
        for feature in spec.ITEM_FEATURES
    ]
    return pl.DataFrame([ids, *columns])


def assert_same(read: Mapping[str, Any] | None, written: Mapping[str, Any]) -> None:
    """Every feature of a row that was read has the written row's value and the declared type."""
    assert read is not None
    for feature in spec.USER_FEATURES:
        value, expected = read[feature.name], written[feature.name]
        if dtype := _NUMPY_TYPES.get(feature.dtype):
            assert value.dtype == dtype, feature.name
            value = value.tolist()
        assert type(value) is type(expected), feature.name
        assert value == expected, feature.name


def pushed(frame: pl.DataFrame, stamp: datetime) -> pl.DataFrame:
    """The table as it is pushed to the live view: with the same `event_timestamp` on every row."""
    return frame.with_columns(event_timestamp=pl.lit(stamp))


def _values(dtype: spec.DType, n: int, rng: np.random.Generator) -> list[Any]:
    """Integers beyond 2**53, floats of every size, text outside ASCII: a detour through another type would show."""
    if "int64" in dtype:
        return list(rng.integers(-(2**62), 2**62, n).tolist())
    if "float32" in dtype:
        return list((rng.standard_normal(n) * 10.0 ** rng.integers(-6, 6, n)).astype(np.float32).tolist())
    return [f"id {number:x} · ñ" for number in rng.integers(0, 2**48, n)]
