"""Seeded random feature tables, made from the spec alone: every column, every type, lists of every length from none to the most."""

import numpy as np
import polars as pl

from features import spec

LIST_LENGTHS = {
    "history": spec.HISTORY_LENGTH,
    "repeat": spec.REPEAT_LENGTH,
    "leaf": spec.LEAF_LENGTH,
    "category": spec.CATEGORY_LENGTH,
}
"""Longest list of each group of parallel list features; a group is the part of the name before the first underscore."""

_SCALARS = {"int64": pl.Int64(), "float32": pl.Float32(), "string": pl.String()}


def polars_type(dtype: spec.DType) -> pl.DataType:
    """The Polars type of a feature's declared type."""
    if dtype.startswith("list["):
        return pl.List(_SCALARS[dtype.removeprefix("list[").removesuffix("]")])
    return _SCALARS[dtype]


def random_user_frame(n: int, rng: np.random.Generator) -> pl.DataFrame:
    """`user_id` ("user-0" …) and the USER_FEATURES for `n` shoppers; row 0 has only empty lists, row 1 only full ones."""
    lengths = {group: rng.integers(0, longest, n, endpoint=True) for group, longest in LIST_LENGTHS.items()}
    for group, longest in LIST_LENGTHS.items():
        lengths[group][:2] = (0, longest)[:n]
    columns = [pl.Series("user_id", [f"user-{row}" for row in range(n)], pl.String)]
    for feature in spec.USER_FEATURES:
        group = lengths.get(feature.name.split("_")[0])
        is_list = feature.dtype.startswith("list[")
        values = [_values(feature.dtype, int(size), rng) for size in group] if is_list and group is not None else None
        columns.append(
            pl.Series(
                feature.name, _values(feature.dtype, n, rng) if values is None else values, polars_type(feature.dtype)
            )
        )
    return pl.DataFrame(columns)


def random_item_frame(n: int, rng: np.random.Generator) -> pl.DataFrame:
    """`item_id` ("item-0" …) and the ITEM_FEATURES for `n` items."""
    features = [
        pl.Series(feature.name, _values(feature.dtype, n, rng), polars_type(feature.dtype))
        for feature in spec.ITEM_FEATURES
    ]
    return pl.DataFrame([pl.Series("item_id", [f"item-{row}" for row in range(n)], pl.String), *features])


def _values(dtype: spec.DType, n: int, rng: np.random.Generator) -> list[int] | list[float] | list[str]:
    """Integers beyond 2**53, floats of every size and text outside ASCII, so that a detour through another type shows."""
    if "int64" in dtype:
        return rng.integers(-(2**62), 2**62, n).tolist()
    if "float32" in dtype:
        return (rng.standard_normal(n) * 10.0 ** rng.integers(-6, 6, n)).astype(np.float32).tolist()
    return [f"id {number:x} · ñ" for number in rng.integers(0, 2**48, n)]
