"""Hypothesis strategies for the tables of a shop, and for cells that break their rules."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import settings
from hypothesis import strategies as st

from features.schema import EVENT_TYPES, KEYS, PROMOTION_KINDS, schema_of

Row = dict[str, Any]

unhurried = settings(deadline=None, max_examples=50)
"""For properties over frames: machines that run tests are busy, so an example has no deadline."""

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
names = texts.filter(str.strip)
times = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
prices = st.floats(0, 1e6)
attributes = st.lists(st.fixed_dictionaries({"key": names, "value": texts}), max_size=2)

_ROWS: dict[str, st.SearchStrategy[Row]] = {
    "events": st.fixed_dictionaries(
        {
            "tenant": names,
            "event_id": names,
            "user_id": names,
            "item_id": names,
            "event_type": st.sampled_from(EVENT_TYPES),
            "event_time": times,
            "quantity": st.integers(1, 1000),
            "price": st.none() | prices,
            "session_id": st.none() | names,
            "recommendation_id": st.none() | names,
            "attributes": attributes,
        }
    ),
    "items": st.fixed_dictionaries(
        {
            "item_id": names,
            "title": names,
            "description": texts,
            "category": st.lists(names, max_size=3),
            "brand": st.none() | names,
            "price": st.none() | prices,
            "attributes": attributes,
            "in_stock": st.booleans(),
            "sensitive": st.booleans(),
        }
    ),
    "promotions": st.builds(
        lambda row, length: row | {"end_time": row["start_time"] + length},
        st.fixed_dictionaries(
            {
                "item_id": names,
                "kind": st.sampled_from(PROMOTION_KINDS),
                "start_time": times,
                "end_time": times,
                "reach": st.floats(0, 1, exclude_min=True),
            }
        ),
        st.timedeltas(timedelta(microseconds=1), timedelta(days=60)),
    ),
    "users": st.fixed_dictionaries({"user_id": names, "attributes": attributes}),
}

BAD_CELLS: dict[str, list[tuple[str, Any]]] = {
    "events": [
        ("tenant", " "),
        ("event_id", ""),
        ("user_id", None),
        ("item_id", "  "),
        ("event_type", "look"),
        ("event_time", None),
        ("quantity", 0),
        ("price", -0.01),
        ("price", float("nan")),
        ("attributes", [{"key": "", "value": "red"}]),
    ],
    "items": [
        ("item_id", None),
        ("title", "\t"),
        ("category", ["Sports", ""]),
        ("category", [None]),
        ("price", float("inf")),
        ("attributes", [{"key": "color", "value": None}]),
    ],
    "promotions": [
        ("kind", "poster"),
        ("start_time", None),
        ("end_time", datetime(1980, 1, 1, tzinfo=UTC)),
        ("reach", 0.0),
        ("reach", 1.01),
    ],
    "users": [("user_id", ""), ("attributes", [None])],
}
"""Column and value, each of which breaks its table's rules and nothing else."""


def rows(table: str, min_size: int = 0, max_size: int = 8) -> st.SearchStrategy[list[Row]]:
    """Valid rows of a table, no two with the same key."""
    key = KEYS.get(table, ())
    unique_by = (lambda row: tuple(row[name] for name in key)) if key else None
    return st.lists(_ROWS[table], min_size=min_size, max_size=max_size, unique_by=unique_by)


def frame_of(table: str, found: list[Row]) -> pl.DataFrame:
    """Rows as a frame in the table's schema."""
    return pl.DataFrame(found, schema=schema_of(table), orient="row")


def frames(table: str, min_size: int = 0, max_size: int = 8) -> st.SearchStrategy[pl.DataFrame]:
    """Valid frames of a table."""
    return rows(table, min_size, max_size).map(lambda found: frame_of(table, found))
