"""Whether the log holds what was acknowledged, and whether features are what the log says.

The oracle is the log alone: every feature is recounted from all of its events, by the transforms that training uses.
"""

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from aisle.v1 import event_service_pb2 as messages

from features import bundle as files
from features import event_log, spec
from features.bundle import Bundle
from features.store import UserReader, close_store, open_store
from features.transforms import known_events, user_features
from tests.acceptance.rows import Row, at_most, told

for _name in ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR", "prometheus_multiproc_dir"):
    os.environ.pop(_name, None)  # set by Feast's import; services started from here would keep their metrics in files

_END = datetime(9999, 1, 1, tzinfo=UTC)
_READ_SECONDS = 10.0
_SAID = ("event_type", "user_id", "visitor_id", "item_id", "session_id", "search_query", "price")


def log_rows(live: Path, acknowledged: set[str], sent: Mapping[str, messages.Event]) -> list[Row]:
    """The log against what was acknowledged, at the end of all writing.

    Args:
        live: the live folder.
        acknowledged: ids of events.
        sent: every event that was sent, by id.
    """
    rows = event_log.read(live)
    in_log = rows["event_id"]
    raw = raw_rows(live)
    entries = raw.unique(["shard", "entry"]).group_by("event_id").len()
    return [
        told("events_in_log", rows.height),
        told("rows_in_two_files", raw.height - raw.unique(["shard", "entry"]).height),
        at_most("acknowledged_but_missing_from_log", len(acknowledged - set(in_log)), 0),
        at_most("in_log_but_never_sent", len(set(in_log) - sent.keys()), 0),
        at_most("doubled_in_log", in_log.len() - in_log.n_unique(), 0),
        at_most("doubled_among_entries", entries.filter(pl.col("len") > 1).height, 0),
        at_most("log_rows_that_say_something_else", _altered(rows, sent), 0),
    ]


def raw_rows(live: Path) -> pl.DataFrame:
    """Every row of every file, also where two files hold the same one."""
    paths = sorted((live / "events").rglob("*.parquet"))
    parts = [pl.read_parquet(path, hive_partitioning=False, glob=False) for path in paths]
    return pl.concat(parts) if parts else event_log.LOGGED.to_frame()


def recounted(live: Path, bundle: Bundle) -> pl.DataFrame:
    """`user_id` and the USER_FEATURES of everyone in the log."""
    known = known_events(event_log.events_of(event_log.read(live)), _END)
    items, prices = (pl.read_parquet(bundle.path(name)) for name in (files.ITEMS, files.REGULAR_PRICES))
    return user_features(known, items, prices)


async def feature_rows(
    expected: pl.DataFrame, shoppers: Iterable[str], feast: Path, offline: Path, redis: str
) -> list[Row]:
    """What Feast serves against `expected`, value by value, exactly.

    Args:
        expected: from `recounted`; shoppers who are not in it must have no row.
        shoppers: whom to look at.
        feast: the registry's folder.
        offline: that of the offline tables.
        redis: the online store.
    """
    store = open_store(feast, offline, redis)
    reader = UserReader(store, timeout_s=_READ_SECONDS)
    wanted = {row["user_id"]: row for row in expected.iter_rows(named=True)}
    differ, unlike, compared = 0, list[str](), 0
    try:
        for shopper in sorted(set(shoppers) | wanted.keys()):
            row, right = await reader.read(shopper), wanted.get(shopper)
            wrong = _differing(row, right)
            compared += right is not None
            differ += len(wrong)
            unlike += [f"{shopper}: {', '.join(wrong)}"] if wrong else []
    finally:
        await close_store(store)
    return [
        told("shoppers_recounted", compared),
        told("features_compared", compared * len(spec.USER_FEATURES)),
        at_most("features_that_differ", differ, 0),
        told("first_that_differ", "; ".join(unlike[:3])),
    ]


def _differing(row: Mapping[str, object] | None, expected: Mapping[str, Any] | None) -> list[str]:
    """Names of the features that are not as expected; all where there is no row, or one too many."""
    names = [feature.name for feature in spec.USER_FEATURES]
    if row is None or expected is None:
        return [] if row is None and expected is None else names
    return [name for name in names if not np.array_equal(np.asarray(row[name]), _typed(name, expected[name]))]


def _typed(name: str, value: Any) -> Any:
    """A value of the transforms as the reader gives it."""
    dtype = _DTYPES[name].removeprefix("list[").removesuffix("]")
    return np.asarray(value, dtype={"int64": np.int64, "float32": np.float32, "string": np.str_}[dtype])


_DTYPES = {feature.name: feature.dtype for feature in spec.USER_FEATURES}


def _altered(rows: pl.DataFrame, sent: Mapping[str, messages.Event]) -> int:
    """How many rows are not what was sent; times only where the sender gave one."""
    known = rows.filter(pl.col("event_id").is_in(list(sent)))
    said = pl.DataFrame([_said(sent[name]) for name in known["event_id"]], schema=_SCHEMA, orient="row")
    found = known.select(pl.col(_SAID[:-1]).fill_null(""), "price", "event_time")
    same = [found[name].eq_missing(said[name]) for name in _SAID]
    same.append(said["event_time"].is_null() | (found["event_time"] == said["event_time"]))
    right = pl.select(pl.all_horizontal(same)).to_series()
    return int((~right).sum()) if right.len() else 0


_SCHEMA = pl.Schema(
    {**dict.fromkeys(_SAID[:-1], pl.String()), "price": pl.Float64(), "event_time": event_log.LOGGED["event_time"]}
)


def _said(event: messages.Event) -> tuple[object, ...]:
    """What the log must say of an event, in the order of _SCHEMA."""
    kind = messages.EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").lower().replace("_", "-")
    price = event.price if event.HasField("price") else None
    time = event.event_time.ToDatetime(UTC) if event.HasField("event_time") else None
    return (kind, *(getattr(event, name) for name in _SAID[1:-1]), price, time)
