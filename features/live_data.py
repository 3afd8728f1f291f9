"""A data set with what happened since: live events, items changed and added, shoppers who are to be left out.

    <live folder>/events/…            the log (event_log)
    <live folder>/catalogue.parquet   the live items as they stand: ITEMS columns and `deleted`
    <live folder>/left_out/…          the shoppers of whom nothing, or nothing old, is to be learned (left_out)

Choices: an event that the data holds already, by tenant and event id, stays as the data has it; so does an item whose
live row is bad. A deleted item's events stay: they still say something about their shoppers.

Who is left out is gone from the log before that is checked, and so from its side file of rejects. The data was read and
checked before anybody looked at the list: whom it names is taken out of its side files and prepared copies again. There
a row that nobody could take apart is only known by an id that stands elsewhere, too.

Knows nothing of where the data came from, nor of who writes the live folder.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

import polars as pl

from features import event_log
from features.atomic import write_atomically
from features.left_out import named, read_left_out, rewriting
from features.rejects import SUFFIX, ids_of, lines_of, remove_lines
from features.schema import ITEMS, KEYS, USERS, Dataset, SchemaError
from features.shopper_digest import configured_key_file, open_digest
from features.tables import read_parquet, write_rejects
from features.validation import validate

CATALOGUE = pl.Schema({**ITEMS, "deleted": pl.Boolean()})
"""Columns of catalogue.parquet; of a deleted item only `item_id` is read."""
_CATALOGUE_FILE = "catalogue.parquet"

_log = logging.getLogger(__name__)


def with_live(
    data: Dataset, live: Path, rejects_dir: Path, forget: Callable[[Collection[str]], object] = lambda _: None
) -> Dataset:
    """Lay what a live folder holds over a data set.

    Args:
        data: Keeps its name, calendar and promotions.
        live: The folder; what it lacks is as if empty.
        rejects_dir: Folder for `live-events.rejects.jsonl` and `live-items.rejects.jsonl`; holds the data's side files.
        forget: Is told who is left out, and takes them out of copies of the data.

    Returns:
        Events by time; shoppers seen for the first time are among the users, those who are left out nowhere.

    Raises:
        SchemaError: The folder is missing, or a file in it cannot be used; names it.
    """
    if not live.is_dir():
        raise SchemaError(f"{live}: no such folder")
    logged = event_log.read(live)
    side_files = sorted(rejects_dir.glob(f"*{SUFFIX}"))
    left_out = _left_out(live, data, logged, side_files)
    _forget(live, side_files, left_out["user_id"].to_list(), forget)
    theirs = pl.col("user_id").is_in(left_out["user_id"].implode())
    fresh = _fresh_events(_without(logged, left_out), live, rejects_dir).join(
        data.events, on=KEYS["events"], how="anti"
    )
    events = pl.concat([data.events.filter(~theirs), fresh]).sort("event_time", maintain_order=True)
    _log.info("%s: %d events are new; %d shoppers left out", live, fresh.height, left_out.height)
    return replace(
        data,
        events=events,
        items=_laid_over(data.items, read_catalogue(live), live, rejects_dir),
        users=_with_seen(data.users.filter(~theirs), fresh),
    )


def read_catalogue(live: Path) -> pl.DataFrame:
    """The live items, CATALOGUE; without a file, none.

    Raises:
        SchemaError: The file cannot be read, or its columns are others; names it.
    """
    return _read(live / _CATALOGUE_FILE, CATALOGUE)


def write_catalogue(live: Path, items: pl.DataFrame) -> Path:
    """Replace the live items.

    Raises:
        ValueError: `items` is not CATALOGUE.
    """
    if items.schema != CATALOGUE:
        raise ValueError(f"items: found {dict(items.schema)}, expected {dict(CATALOGUE)}")
    return write_atomically(live / _CATALOGUE_FILE, items.write_parquet)


def _left_out(live: Path, data: Dataset, logged: pl.DataFrame, side_files: Iterable[Path]) -> pl.DataFrame:
    """Those of the data's, its side files' and the log's shoppers who are left out: `user_id`, `until`."""
    listed = read_left_out(live)
    if listed.is_empty():
        return named(listed, (), str)
    columns = (data.events["user_id"], data.users["user_id"], logged["user_id"], logged["visitor_id"])
    rejected = {name for path in side_files for line in lines_of(path) for name in ids_of(line)}
    names = pl.concat([*columns, pl.Series(list(rejected), dtype=pl.String)]).drop_nulls().unique()
    return named(listed, names, open_digest(live, configured_key_file()))


def _forget(
    live: Path, side_files: Iterable[Path], names: Collection[str], forget: Callable[[Collection[str]], object]
) -> None:
    if names:
        with rewriting(live):
            for path in side_files:
                remove_lines(path, names)
            forget(names)


def _without(logged: pl.DataFrame, left_out: pl.DataFrame) -> pl.DataFrame:
    """The log without rows that name, as user or visitor, somebody who was left out when they arrived."""
    for column in ("user_id", "visitor_id"):
        until = left_out.select(pl.col("user_id").alias(column), "until", is_out=pl.lit(value=True))
        joined = logged.join(until, on=column, how="left", maintain_order="left")
        is_old = pl.col("until").is_null() | (pl.col("arrival_time") < pl.col("until"))
        logged = joined.filter(~(pl.col("is_out").fill_null(value=False) & is_old)).drop("until", "is_out")
    return logged


def _fresh_events(logged: pl.DataFrame, live: Path, rejects_dir: Path) -> pl.DataFrame:
    checked = validate(event_log.events_of(logged), "events", live / "events")
    write_rejects(checked, rejects_dir, "live-events")
    return checked.frame


def _laid_over(items: pl.DataFrame, catalogue: pl.DataFrame, live: Path, rejects_dir: Path) -> pl.DataFrame:
    """Items that did not change in their order, then those of the catalogue in its order."""
    is_deleted = pl.col("deleted").fill_null(False)
    checked = validate(catalogue.filter(~is_deleted), "items", live / _CATALOGUE_FILE)
    write_rejects(checked, rejects_dir, "live-items")
    gone = pl.concat([catalogue.filter(is_deleted)["item_id"], checked.frame["item_id"]])
    return pl.concat([items.filter(~pl.col("item_id").is_in(gone.implode())), checked.frame])


def _with_seen(users: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    seen = events.select("user_id").unique(maintain_order=True)
    new = seen.join(users, on="user_id", how="anti", maintain_order="left")
    return pl.concat([users, new.with_columns(attributes=pl.lit([], USERS["attributes"]))])


def _read(path: Path, schema: pl.Schema) -> pl.DataFrame:
    if not path.exists():
        return schema.to_frame()
    frame = read_parquet(path)
    if frame.schema != schema:
        raise SchemaError(f"{path}: found {dict(frame.schema)}, expected {dict(schema)}")
    return frame
