"""The log of live events in Parquet: written by the updaters, read by training, forgettable.

The one place that says what its files hold and are called (files.py), how they are merged, dropped and purged
(upkeep.py), and what a logged row means as an event (events.py).

This package does not know streams, servers or features. Polars only.
"""

from features.event_log.events import SHOWN_ATTRIBUTES, events_of
from features.event_log.files import (
    BEGINNING,
    LOGGED,
    count_of,
    days,
    logged_until,
    of_shoppers,
    read,
    rows_of,
    scan,
    split_by_day,
    write_part,
)
from features.event_log.upkeep import compact, drop_before, rewrite_without

__all__ = [
    "BEGINNING",
    "LOGGED",
    "SHOWN_ATTRIBUTES",
    "compact",
    "count_of",
    "days",
    "drop_before",
    "events_of",
    "logged_until",
    "of_shoppers",
    "read",
    "rewrite_without",
    "rows_of",
    "scan",
    "split_by_day",
    "write_part",
]
