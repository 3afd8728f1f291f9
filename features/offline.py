"""Tables of features as files: what they must look like, and where Feast's file source finds them.

Choice: one Parquet file per instant in a folder whose name carries the feature fingerprint, so that Feast's historical
retrieval sees every instant and never two schemas. What is not finished lies there hidden, and Feast's reader looks at
no hidden file.

This module does not know Feast, nor how a value is computed (transforms).
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias

import polars as pl

from features import spec
from features.atomic import write_atomically
from features.clock import to_us

EntityName: TypeAlias = Literal["user", "item"]

FEATURES: dict[EntityName, tuple[spec.Feature, ...]] = {"user": spec.USER_FEATURES, "item": spec.ITEM_FEATURES}
"""The stored features of each entity, in order."""

_SCALARS = {"int64": pl.Int64(), "float32": pl.Float32(), "string": pl.String()}


def polars_type(dtype: spec.DType) -> pl.DataType:
    """The Polars type of a feature's declared type."""
    if dtype.startswith("list["):
        return pl.List(_SCALARS[dtype.removeprefix("list[").removesuffix("]")])
    return _SCALARS[dtype]


def check_table(frame: pl.DataFrame, entity: EntityName) -> None:
    """Refuse a table that is not `<entity>_id` and the entity's features; further columns may stand beside them.

    Raises:
        ValueError: if a column is missing, of another type or has nulls; the message names it.
    """
    wanted: dict[str, pl.DataType] = {f"{entity}_id": pl.String()}
    wanted |= {feature.name: polars_type(feature.dtype) for feature in FEATURES[entity]}
    for name, dtype in wanted.items():
        if frame.schema.get(name) != dtype:
            raise ValueError(
                f"{entity} features: column {name} should be {dtype} and is {frame.schema.get(name, 'missing')}"
            )
        if frame[name].has_nulls():
            raise ValueError(f"{entity} features: column {name} has nulls")


def utc(instant: datetime) -> datetime:
    """The same instant in UTC.

    Raises:
        ValueError: if `instant` carries no time zone.
    """
    to_us(instant)
    return instant.astimezone(UTC)


def offline_folder(entity: EntityName, offline_dir: Path) -> Path:
    """Where the entity's files lie."""
    return offline_dir / f"{entity}_{spec.fingerprint()}"


def write_offline(frame: pl.DataFrame, entity: EntityName, as_of: datetime, offline_dir: Path) -> Path:
    """Write one table where Feast's file source looks; a table of the same instant is replaced.

    Args:
        frame: `user_id` or `item_id` and the entity's features.
        entity: "user" or "item".
        as_of: Aware instant up to which events were known; becomes `event_timestamp` (and `created`).
        offline_dir: Parent of the entities' folders; made if absent.

    Raises:
        ValueError: if the table is not the entity's (see `check_table`) or `as_of` has no time zone.
    """
    check_table(frame, entity)
    path = offline_folder(entity, offline_dir) / f"{utc(as_of):%Y%m%dT%H%M%S.%fZ}.parquet"
    stamp = pl.lit(utc(as_of), dtype=pl.Datetime("us", "UTC"))
    return write_atomically(path, frame.with_columns(event_timestamp=stamp, created=stamp).write_parquet)
