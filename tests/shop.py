"""A shop written by hand, a line per event, item and promotion, for tests whose right answer is known beforehand."""

from datetime import UTC, date, datetime, timedelta

import polars as pl

from features.schema import Calendar, Dataset
from tests.strategies import Row, frame_of

CALENDAR = Calendar(first_monday=date(2024, 1, 1), timezone="UTC")
DAY_US = 86_400_000_000


def day(number: float) -> datetime:
    """Midnight of a day, counted from Monday 1 January 2024; fractions are hours."""
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number)


def day_us(number: float) -> int:
    """`day` in microseconds since 1970."""
    return round(day(number).timestamp() * 1e6)


def event(
    user_id: str,
    item_id: str,
    on: float,
    event_type: str = "purchase",
    *,
    price: float | None = None,
    session_id: str | None = None,
    event_id: str | None = None,
) -> Row:
    """One event on a day; its id, unless given, says all of it."""
    return {
        "tenant": "default",
        "event_id": event_id or f"{user_id} {event_type} {item_id} {on}",
        "user_id": user_id,
        "item_id": item_id,
        "event_type": event_type,
        "event_time": day(on),
        "quantity": 1,
        "price": price,
        "session_id": session_id,
        "attributes": [],
    }


def item(item_id: str, *category: str, price: float | None = None, description: str = "") -> Row:
    """One item; its title is its id in small letters."""
    return {
        "item_id": item_id,
        "title": item_id.lower().replace("-", " "),
        "description": description,
        "category": list(category),
        "price": price,
        "attributes": [],
        "in_stock": True,
        "sensitive": False,
    }


def promotion(item_id: str, kind: str, start: float, end: float, reach: float = 0.5) -> Row:
    """One promotion from day `start` up to day `end`."""
    return {"item_id": item_id, "kind": kind, "start_time": day(start), "end_time": day(end), "reach": reach}


def events(*rows: Row) -> pl.DataFrame:
    """The EVENTS table."""
    return frame_of("events", list(rows))


def items(*rows: Row) -> pl.DataFrame:
    """The ITEMS table."""
    return frame_of("items", list(rows))


def promotions(*rows: Row) -> pl.DataFrame:
    """The PROMOTIONS table."""
    return frame_of("promotions", list(rows))


def dataset(happened: pl.DataFrame, catalogue: pl.DataFrame, promoted: pl.DataFrame | None = None) -> Dataset:
    """A whole shop of these tables, without anything known of its users."""
    return Dataset(
        name="corner-shop",
        events=happened,
        items=catalogue,
        promotions=promotions() if promoted is None else promoted,
        users=frame_of("users", []),
        calendar=CALENDAR,
    )
