"""The one way in which files fail a request: what cannot be read or written now is named.

Knows nothing of what is in a file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from features.schema import SchemaError
from services.common.streams import Unavailable


@contextmanager
def using(path: Path) -> Iterator[None]:
    """Around work with a file or a folder of files: a full disk, a damaged file and the like become `Unavailable`."""
    try:
        yield
    except PolarsError as error:
        raise Unavailable(f"{_damaged(path)}: {error}") from error
    except OSError as error:
        raise Unavailable(f"{path}: {error}") from error
    except SchemaError as error:  # names the file itself
        raise Unavailable(str(error)) from error


def _damaged(path: Path) -> Path:
    """Of a folder the first table that cannot be opened, which Polars does not name."""
    for table in sorted(path.rglob("[!.]*.parquet")) if path.is_dir() else ():
        try:
            pl.read_parquet_schema(table)
        except (PolarsError, OSError):
            return table
    return path
