"""Shoppers in files: "event_files", "offline_files" and "training_cache".

Choices:
- Tables are found by what they are: a Parquet file with a column that names shoppers, a JSON Lines file of rejected
  rows. So a table that an evaluation leaves behind, or the next kind of cache, is found without being listed here.
- Each file is replaced atomically; its other rows stay, in their order. One process at a time reads files to put them
  back filtered, or two would bring back each other's shoppers (features/left_out.py).
- A file that is not finished counts as a record. A purge waits for whoever is at work on it, removes what a killed
  writer left half-written, and then looks for tables. Any other file that cannot be read stops the purge: nobody can
  say whom it names.
- Files hold ids or their pseudonyms: both are looked for.

Weights, indices and bundles hold no ids (training keeps none per shopper). What a model has learned from a shopper ends
with the next full training. The shop's own source files are the shop's.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import polars as pl

from features import event_log
from features.atomic import is_unfinished, remove_leftovers, write_atomically
from features.left_out import rewriting
from features.rejects import SHOPPER_COLUMNS, lines_of, names_one, remove_lines
from services.ingest.privacy.disk import using
from services.ingest.privacy.shopper import Shopper


class EventFiles:
    """The log of live events."""

    name = "event_files"

    def __init__(self, live_dir: Path) -> None:
        """Args: live_dir: as for every process."""
        self._live_dir = live_dir

    async def count(self, shopper: Shopper) -> int:
        """How many rows."""
        with using(self._live_dir / "events"):
            return await asyncio.to_thread(event_log.count_of, self._live_dir, shopper.names)

    async def remove(self, shopper: Shopper) -> int:
        """Remove them; no updater may hold a part of the shopper's shard meanwhile."""
        with using(self._live_dir / "events"):
            return await asyncio.to_thread(event_log.rewrite_without, self._live_dir, shopper.names)


class Tables:
    """Parquet and JSON Lines below a folder."""

    def __init__(self, name: str, folder: Path, live_dir: Path, besides: Iterable[Path] = ()) -> None:
        """Take all of a folder.

        Args:
            name: As PurgedStore calls it.
            folder: May be absent.
            live_dir: As for every process; says who takes shoppers out of files now.
            besides: Folders within that are other stores'.
        """
        self.name = name
        self._folder, self._live_dir, self._besides = folder, live_dir, [path.resolve() for path in besides]

    async def count(self, shopper: Shopper) -> int:
        """How many rows."""
        with using(self._folder):
            return await asyncio.to_thread(self._count, shopper)

    async def remove(self, shopper: Shopper) -> int:
        """Remove them."""
        with using(self._folder):
            return await asyncio.to_thread(self._remove, shopper)

    def _count(self, shopper: Shopper) -> int:
        return len(self._unfinished()) + self._sum(shopper, _count_rows, _count_lines)

    def _remove(self, shopper: Shopper) -> int:
        with rewriting(self._live_dir):
            # Before tables are looked for: whoever was at work has put another one into its place.
            leftover_count = 0
            for folder in sorted({path.parent for path in self._unfinished()}):
                with suppress(FileNotFoundError):  # the folder was a draft
                    leftover_count += remove_leftovers(folder)
            return leftover_count + self._sum(shopper, _remove_rows, remove_lines)

    def _unfinished(self) -> list[Path]:
        return [path for path in self._paths() if is_unfinished(path)]

    def _sum(self, shopper: Shopper, rows: "_Work", lines: "_Work") -> int:
        count = 0
        for path in self._paths():
            if is_unfinished(path):
                continue
            work = lines if path.suffix == ".jsonl" else rows
            with using(path):
                try:
                    count += work(path, shopper.names)
                except FileNotFoundError:  # removed meanwhile by whoever made it
                    continue
                except pl.exceptions.PolarsError:
                    if not path.name.startswith("."):
                        raise
                    count += 1
                    if work is _remove_rows:
                        path.unlink(missing_ok=True)
        return count

    def _paths(self) -> Iterator[Path]:
        for path in sorted(self._folder.rglob("*")):
            # Hidden files too: what a killed writer left behind may name shoppers.
            is_table = path.suffix in {".parquet", ".jsonl"} or ".parquet." in path.name
            is_table = is_table or (".jsonl." in path.name and is_unfinished(path))
            if is_table and path.is_file() and not path.is_symlink() and not self._is_besides(path):
                yield path

    def _is_besides(self, path: Path) -> bool:
        whole = path.resolve()
        return any(whole.is_relative_to(folder) for folder in self._besides)


_Work = Callable[[Path, frozenset[str]], int]


def _theirs(path: Path, names: frozenset[str]) -> pl.Expr | None:
    """Whether a row names one of the shopper's; None for a table without shoppers."""
    columns = [name for name in SHOPPER_COLUMNS if pl.read_parquet_schema(path).get(name) == pl.String]
    sought = pl.Series(sorted(names), dtype=pl.String).implode()
    return pl.any_horizontal(pl.col(columns).is_in(sought).fill_null(False)) if columns else None


def _count_rows(path: Path, names: frozenset[str]) -> int:
    theirs = _theirs(path, names)
    if theirs is None:
        return 0
    count: int = pl.scan_parquet(path, glob=False).filter(theirs).select(pl.len()).collect().item()
    return count


def _remove_rows(path: Path, names: frozenset[str]) -> int:
    theirs, count = _theirs(path, names), _count_rows(path, names)
    if theirs is not None and count:
        rows = pl.read_parquet(path, glob=False, hive_partitioning=False).filter(~theirs)
        write_atomically(path, rows.write_parquet)
    return count


def _count_lines(path: Path, names: frozenset[str]) -> int:
    return sum(names_one(line, names) for line in lines_of(path))
