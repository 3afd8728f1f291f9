"""Features of every shopper and every item of Complete Journey: Aisle's transforms beside the same in pandas.

Both start from the same known events, sorted, with ids as texts, each in its own kind of table. One thread each. Every
value of both is compared before anything is timed.
"""

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.pairs import alternated, compared, compared_row, seconds
from benchmarks.pandas_items import pandas_item_features
from benchmarks.pandas_tables import Tables
from benchmarks.pandas_users import pandas_user_features
from benchmarks.rows import Row
from features.adapters import load
from features.schema import Dataset
from features.transforms import item_features, known_events, user_features

DATA, CACHE = "complete-journey", Path("build/data")
ROUNDS = 5
_CLOSE = 1e-5
"""Relative, and absolute below 1: features are stored as float32."""


def rows() -> list[Row]:
    """The default data."""
    return compared_on(load(DATA, CACHE), ROUNDS)


def compared_on(data: Dataset, rounds: int) -> list[Row]:
    """Shoppers' and items' features as of the last event.

    Raises:
        ValueError: a value differs; names the feature.
    """
    as_of = data.events.select(pl.col("event_time").max()).item()
    known = known_events(data.events, as_of)
    tables = Tables.of(known, data.items, data.promotions)
    ways: dict[str, tuple[Callable[[], pl.DataFrame], Callable[[], Any]]] = {
        "users": (lambda: user_features(known, data.items), lambda: pandas_user_features(tables)),
        "items": (
            lambda: item_features(known, data.items, data.promotions, as_of),
            lambda: pandas_item_features(tables, as_of),
        ),
    }
    return [_row(name, ours, theirs, known.height, rounds) for name, (ours, theirs) in ways.items()]


def _row(name: str, ours: Callable[[], pl.DataFrame], theirs: Callable[[], Any], events: int, rounds: int) -> Row:
    table = ours()
    require_equal(table, theirs())
    spent = alternated({"ours": partial(seconds, ours), "theirs": partial(seconds, theirs)}, rounds)
    return compared_row(
        f"features.{name}",
        compared(spent["ours"], spent["theirs"]),
        unit="s",
        rival=f"pandas {version('pandas')}",
        method=f"{table.width - 1} features of {table.height:,} {name} from {events:,} events, whole tables, one "
        f"thread each; all values equal (within {_CLOSE:g}). {rounds} rounds in turns.",
        behind="Small tables: Polars plans each query, which takes longer than the sums themselves.",
    )


def require_equal(ours: pl.DataFrame, theirs: Any) -> None:
    """Compare every value of two tables.

    Args:
        ours: a row per entity.
        theirs: a pandas frame; lists are arrays.

    Raises:
        ValueError: names the feature and how many values differ.
    """
    if list(theirs.columns) != ours.columns:
        raise ValueError(f"columns: {list(theirs.columns)}, expected {ours.columns}")
    for name in ours.columns:
        if isinstance(ours[name].dtype, pl.List):
            cells = theirs[name].tolist()
            lengths = np.array([len(cell) if isinstance(cell, np.ndarray) else 0 for cell in cells])
            if not np.array_equal(lengths, ours[name].list.len().to_numpy()):
                raise ValueError(f"{name}: lists differ in length")
            left = ours[name].explode(empty_as_null=False).drop_nulls().to_numpy()
            right = np.concatenate([cell for cell in cells if isinstance(cell, np.ndarray)])
        else:
            left, right = ours[name].to_numpy(), theirs[name].to_numpy()
        if name.endswith("_names"):  # entries of equal weight may stand in either order
            tied = _tied(ours[name.replace("_names", "_weights")])
            right = np.where(tied, left, right) if len(left) == len(right) else right
        differing = _differing(left, right)
        if differing:
            raise ValueError(f"{name}: {differing} of {len(left)} values differ")


def _differing(left: Any, right: Any) -> int:
    if len(left) != len(right):
        return max(len(left), len(right))
    if left.dtype.kind in "fiu":
        return int((~np.isclose(left, right, rtol=_CLOSE, atol=_CLOSE)).sum())
    return int((left != right).sum())


def _tied(weights: pl.Series) -> NDArray[np.bool_]:
    """For each entry of all lists, whether the one before or after it in its list weighs the same."""
    lists, flat = np.repeat(np.arange(len(weights)), weights.list.len().to_numpy()), weights.explode().drop_nulls()
    values, tied = flat.to_numpy(), np.zeros(len(flat), np.bool_)
    same = np.isclose(values[1:], values[:-1], rtol=_CLOSE, atol=0.0) & (lists[1:] == lists[:-1])
    tied[1:] |= same
    tied[:-1] |= same
    return tied
