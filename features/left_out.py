"""Shoppers whom training leaves out: `<live folder>/left_out/shoppers.parquet`, by keyed hash.

Choices:
- One rule for opting out and for being forgotten: of somebody in the list no event of the shop's own data counts any
  more, and of the live log those that arrived after `until`; none where there is no `until`, which is who is opted out
  now. So data that is prepared anew from the shop's files does not bring back who was purged.
- The list outlives a purge, and so it holds no ids.
- A job that writes what it read before looks at the list again after its last write (`NewlyLeftOut`), since a purge
  looks at its stores only once: of the two one always comes after the other's list or rows.
- Whoever takes shoppers out of files that others write, too, holds `rewriting.lock` meanwhile: of two who read a file,
  filter it and put it back, each would bring back whom the other took out.

Knows nothing of how anybody came into it.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import polars as pl

from features.atomic import alone, locked, make_folder, write_atomically
from features.schema import INSTANT, SchemaError
from features.shopper_digest import LEFT_OUT_FOLDER, Digest, configured_key_file, open_digest
from features.tables import read_parquet

LEFT_OUT = pl.Schema({"digest": pl.String(), "until": INSTANT})
"""Columns of the list; `until` is by the machine's clock, as times of arrival are."""

_NAMES = pl.Schema({"user_id": pl.String(), "until": INSTANT})
_FILE = "shoppers.parquet"
_LOCK = "rewriting.lock"


def read_left_out(live: Path) -> pl.DataFrame:
    """The list, LEFT_OUT; without a file, nobody.

    Raises:
        SchemaError: The file cannot be read, or its columns are others; names it.
    """
    path = live / LEFT_OUT_FOLDER / _FILE
    if not path.exists():
        return LEFT_OUT.to_frame()
    frame = read_parquet(path)
    if frame.schema != LEFT_OUT:
        raise SchemaError(f"{path}: found {dict(frame.schema)}, expected {dict(LEFT_OUT)}")
    return frame


def leave_out(live: Path, digests: Collection[str]) -> None:
    """Put shoppers into the list, for as long as nobody says otherwise."""
    _change(live, digests, None, keep_opted_out=False)


def leave_out_until(live: Path, digests: Collection[str], until: datetime, *, keep_opted_out: bool) -> None:
    """Put shoppers into the list, up to an instant.

    Args:
        live: The live folder.
        digests: Of the shoppers' ids, and of their pseudonyms.
        until: Aware instant.
        keep_opted_out: Whether those who are left out without an end stay so.
    """
    _change(live, digests, until, keep_opted_out=keep_opted_out)


def named(left_out: pl.DataFrame, names: Iterable[str], digest: Digest) -> pl.DataFrame:
    """Those of some ids that are in the list: `user_id` and `until`."""
    until = dict(left_out.iter_rows())
    digests = {name: digest(name) for name in names} if until else {}
    found = {name: until[of_name] for name, of_name in digests.items() if of_name in until}
    return pl.DataFrame({"user_id": list(found), "until": list(found.values())}, schema=_NAMES)


class NewlyLeftOut:
    """Who comes into the list, or into it once more, while a job is at work. To be made before the job reads data."""

    def __init__(self, live: Path) -> None:
        """Look for the first time.

        Args:
            live: The live folder; may be absent.

        Raises:
            SchemaError: as by `read_left_out`.
        """
        self.live = live
        self._seen = read_left_out(live)

    def among(self, names: Iterable[str]) -> list[str]:
        """Those of some ids who came into the list since it was looked at last.

        Raises:
            SchemaError: as by `read_left_out`.
            ValueError, OSError: as by `audit_key`.
        """
        listed = read_left_out(self.live)
        new = listed.join(self._seen, on=LEFT_OUT.names(), how="anti", nulls_equal=True)
        self._seen = listed
        if new.is_empty():
            return []
        return named(new, names, open_digest(self.live, configured_key_file()))["user_id"].to_list()

    def leave(self, table: Path) -> None:
        """Take them out of a Parquet file with a `user_id` that a job has just written, until nobody new is in it.

        Raises:
            SchemaError, ValueError, OSError: as by `among`.
        """
        while gone := self.among(read_parquet(table)["user_id"].unique()):
            with rewriting(self.live):
                kept = read_parquet(table).filter(~pl.col("user_id").is_in(gone))
                write_atomically(table, kept.write_parquet)


@contextmanager
def rewriting(live: Path) -> Iterator[None]:
    """Be the only one, of all processes over a live folder, who takes shoppers out of files; waits for its turn."""
    with alone(live / _LOCK):
        yield


def _change(live: Path, digests: Collection[str], until: datetime | None, *, keep_opted_out: bool) -> None:
    make_folder(live)
    with locked(live):  # not the list's own folder, which who writes atomically takes
        before = read_left_out(live)
        theirs = pl.col("digest").is_in(pl.Series(sorted(digests), dtype=pl.String).implode())
        kept = ~theirs | pl.col("until").is_null() if keep_opted_out else ~theirs
        stays = set(before.filter(theirs & pl.col("until").is_null())["digest"]) if keep_opted_out else set[str]()
        new = pl.DataFrame({"digest": sorted(set(digests) - stays)}, schema={"digest": pl.String}).with_columns(
            until=pl.lit(until, dtype=INSTANT)
        )
        after = pl.concat([before.filter(kept), new])
        write_atomically(live / LEFT_OUT_FOLDER / _FILE, after.write_parquet)
