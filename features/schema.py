"""The tables a shop's data comes in: columns, types, allowed values, defaults; and the data set made of them.

Choices: one Polars schema per table is the contract between adapters and everything after them. Times are UTC; what a
week is depends on the shop's own clock and stands in its calendar. Rules are column expressions, so that a million rows
are checked in a second.

Knows nothing of how bad rows are found and reported (validation.py), of files (tables.py) or of where data comes from
(adapters/).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

EVENT_TYPES = (
    "view",
    "click",
    "add-to-cart",
    "remove-from-cart",
    "purchase",
    "review",
    "share",
    "search",
    "impression",
)
PROMOTION_KINDS = ("display", "mailer", "coupon")
INSTANT = pl.Datetime("us", "UTC")
ATTRIBUTES = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))


class SchemaError(ValueError):
    """A table cannot be used at all; the message names the file and the column."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    dtype: pl.DataType
    must: Callable[[pl.Expr], pl.Expr] | None = None
    """Expression that is true for an allowed value; None allows every value of the type."""
    rule: str = ""
    """The same in words, used as the reason of a rejection."""
    required: bool = False
    """The column must exist and no cell may be null."""
    default: Any = None
    """Stands in for a missing column and for a null cell."""


def _is_filled(value: pl.Expr) -> pl.Expr:
    return value.str.strip_chars() != ""


def _is_price(value: pl.Expr) -> pl.Expr:
    return value.is_finite() & (value >= 0)


def _has_full_names(value: pl.Expr) -> pl.Expr:
    return value.list.eval(pl.element().str.strip_chars().fill_null("") != "").list.all()


def _has_full_pairs(value: pl.Expr) -> pl.Expr:
    key, text = pl.element().struct.field("key"), pl.element().struct.field("value")
    return value.list.eval(key.str.strip_chars().fill_null("").ne("") & text.is_not_null()).list.all()


_ID = Column(pl.String(), _is_filled, "is empty", required=True)
_TIME = Column(INSTANT, required=True)
_TEXT = Column(pl.String())
_PRICE = Column(pl.Float64(), _is_price, "is not a finite price of at least 0")
_PAIRS = Column(ATTRIBUTES, _has_full_pairs, "holds an attribute without key or value", default=[])

TABLES: dict[str, dict[str, Column]] = {
    "events": {
        "tenant": Column(pl.String(), _is_filled, "is empty", default="default"),
        "event_id": _ID,
        "user_id": _ID,
        "item_id": _ID,
        "event_type": Column(
            pl.String(), lambda value: value.is_in(EVENT_TYPES), f"is none of {', '.join(EVENT_TYPES)}", required=True
        ),
        "event_time": _TIME,
        "quantity": Column(pl.Int64(), lambda value: value >= 1, "is not at least 1", default=1),
        "price": _PRICE,
        "session_id": _TEXT,
        "recommendation_id": _TEXT,
        "attributes": _PAIRS,
    },
    "items": {
        "item_id": _ID,
        "title": _ID,
        "description": Column(pl.String(), default=""),
        "category": Column(pl.List(pl.String), _has_full_names, "holds an empty name", default=[]),
        "brand": _TEXT,
        "price": _PRICE,
        "attributes": _PAIRS,
        "in_stock": Column(pl.Boolean(), default=True),
        "sensitive": Column(pl.Boolean(), default=False),
    },
    "promotions": {
        "item_id": _ID,
        "kind": Column(
            pl.String(),
            lambda value: value.is_in(PROMOTION_KINDS),
            f"is none of {', '.join(PROMOTION_KINDS)}",
            required=True,
        ),
        "start_time": _TIME,
        "end_time": Column(
            INSTANT, lambda value: value > pl.col("start_time"), "is not after start_time", required=True
        ),
        "reach": Column(
            pl.Float64(), lambda value: (value > 0) & (value <= 1), "is not a share in (0, 1]", required=True
        ),
    },
    "users": {"user_id": _ID, "attributes": _PAIRS},
}
KEYS = {"events": ("tenant", "event_id"), "items": ("item_id",), "users": ("user_id",)}
"""What no two rows of a table may share; the first of them stays."""


def schema_of(table: str) -> pl.Schema:
    """Column names and types of a table, in order."""
    return pl.Schema({name: column.dtype for name, column in TABLES[table].items()})


EVENTS = schema_of("events")
ITEMS = schema_of("items")
PROMOTIONS = schema_of("promotions")
USERS = schema_of("users")


@dataclass(frozen=True, slots=True)
class Calendar:
    """Weeks of a shop: numbered from 1, each from Monday 00:00 to Monday 00:00 by the shop's own clock."""

    first_monday: date
    """The day on which week 1 begins."""
    timezone: str
    """IANA name of the shop's time zone."""

    def __post_init__(self) -> None:
        if self.first_monday.weekday() != 0:
            raise ValueError(f"first_monday: {self.first_monday} is not a Monday")
        ZoneInfo(self.timezone)

    def week_end(self, week: int) -> datetime:
        """The instant (UTC) at which a week ends and the next begins; `week_end(0)` is when week 1 begins."""
        monday = datetime.combine(self.first_monday + timedelta(weeks=week), time(), ZoneInfo(self.timezone))
        return monday.astimezone(UTC)

    def week_of(self, moment: datetime) -> int:
        """Number of the week that holds an instant (time zone required); below 1 before week 1."""
        if moment.tzinfo is None:
            raise ValueError(f"moment: {moment} has no time zone")
        return (moment.astimezone(ZoneInfo(self.timezone)).date() - self.first_monday).days // 7 + 1

    def week_expr(self, column: str) -> pl.Expr:
        """`week_of` as an expression over a Datetime column with time zone; Int64."""
        days = pl.col(column).dt.convert_time_zone(self.timezone).dt.date() - self.first_monday
        return days.dt.total_days().floordiv(7) + 1


@dataclass(frozen=True, slots=True)
class Dataset:
    """A shop's data, in the schemas above.

    Raises:
        SchemaError: A frame has not exactly its table's columns and types.
    """

    name: str
    events: pl.DataFrame
    items: pl.DataFrame
    promotions: pl.DataFrame
    users: pl.DataFrame
    calendar: Calendar
    synthetic: bool = False
    """Made up by a generator; whatever is measured on it must say so."""

    def __post_init__(self) -> None:
        for table in TABLES:
            have, want = getattr(self, table).schema, schema_of(table)
            if have != want:
                raise SchemaError(f"{self.name}: table {table}: found {dict(have)}, expected {dict(want)}")
