"""Rows of the live log, for tests: what is not said has a plain value."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from features.event_log import LOGGED

DAYS = [datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2, 3)]
"""Three days of arrival."""


def entry_at(arrival: datetime, sequence: int = 0) -> str:
    """The stream id of what arrived then."""
    return f"{int(arrival.timestamp() * 1000)}-{sequence}"


def arrival_of(entry: str) -> datetime:
    """When an entry arrived, by its id."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(entry.partition("-")[0]))


def logged_row(entry: str, **fields: Any) -> dict[str, Any]:
    """A view of a kettle by ada in shard 0, unless `fields` say otherwise."""
    plain = {
        "shard": 0,
        "entry": entry,
        "arrival_time": arrival_of(entry),
        "tenant": "default",
        "event_id": f"event-{entry}",
        "event_type": "view",
        "event_time": arrival_of(entry),
        "user_id": "ada",
        "item_id": "kettle",
        "quantity": 1,
        "impression_item_ids": [],
        "impression_propensities": [],
        "attributes": [],
    }
    return plain | fields


def logged(*rows: dict[str, Any]) -> pl.DataFrame:
    """The rows as a frame, LOGGED."""
    return pl.DataFrame(list(rows), schema=LOGGED, orient="row")
