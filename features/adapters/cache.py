"""A data set kept on disk, for adapters that take seconds.

Choices: one folder per key, written under another name and moved into place when it is complete, so that a half-written
one is never read and two writers cannot mix. What is read back was validated before it was written.

Knows nothing of adapters; the key must change whenever the result would.
"""

import json
import shutil
import tempfile
from collections.abc import Collection
from datetime import date
from pathlib import Path

import polars as pl

from features.atomic import write_atomically
from features.schema import TABLES, Calendar, Dataset
from features.tables import read_parquet

_ABOUT = "dataset.json"


def is_kept(folder: Path) -> bool:
    """Whether a complete data set stands in the folder."""
    return (folder / _ABOUT).exists()


def keep(dataset: Dataset, folder: Path) -> None:
    """Write a data set into a folder that does not exist yet; when another process was faster, its copy stays."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    for table in TABLES:
        getattr(dataset, table).write_parquet(draft / f"{table}.parquet")
    about = {
        "name": dataset.name,
        "first_monday": dataset.calendar.first_monday.isoformat(),
        "timezone": dataset.calendar.timezone,
        "synthetic": dataset.synthetic,
    }
    (draft / _ABOUT).write_text(json.dumps(about, indent=2), encoding="utf-8")
    try:
        draft.rename(folder)
    except OSError:
        shutil.rmtree(draft)
        if not is_kept(folder):
            raise


def forget(cache_dir: Path, names: Collection[str]) -> None:
    """Take some shoppers out of all that is kept below a folder.

    Whoever calls this holds what keeps others from doing the same (features/left_out.py, `rewriting`).
    """
    for about in sorted(cache_dir.glob(f"*/{_ABOUT}")):
        for path in (about.with_name(f"{table}.parquet") for table, columns in TABLES.items() if "user_id" in columns):
            frame = read_parquet(path)
            kept = frame.filter(~pl.col("user_id").is_in(list(names)))
            if kept.height < frame.height:
                write_atomically(path, kept.write_parquet)


def recall(folder: Path) -> Dataset:
    """Read a data set back.

    Raises:
        SchemaError: A file is damaged; names it.
    """
    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    return Dataset(
        name=about["name"],
        **{table: read_parquet(folder / f"{table}.parquet") for table in TABLES},
        calendar=Calendar(date.fromisoformat(about["first_monday"]), about["timezone"]),
        synthetic=about["synthetic"],
    )
