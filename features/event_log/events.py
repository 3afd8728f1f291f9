"""Logged rows as events to learn from.

Knows nothing of files, nor of which events count as taste.
"""

import polars as pl

from features.schema import ATTRIBUTES, EVENTS

SHOWN_ATTRIBUTES = ("position", "placement", "propensity")
"""What an impression's row tells of its list, among its attributes."""


def events_of(frame: pl.DataFrame) -> pl.DataFrame:
    """Logged rows as rows of the EVENTS table, in their order; not validated.

    The shopper is the user, or else the visitor. Searches name no item and are left out. A list that was shown becomes
    a row per item, `<event_id>#<position from 0>`, with SHOWN_ATTRIBUTES where known beside its own attributes.
    """
    is_list = pl.col("event_type") == "impression"
    items = pl.when(is_list).then("impression_item_ids").otherwise(pl.concat_list("item_id"))
    rows = (
        frame.filter(pl.col("event_type").ne_missing("search"))
        .with_columns(item_id=items, position=pl.int_ranges(items.list.len()))
        .explode("item_id", "position", empty_as_null=True)
        .with_columns(
            user_id=pl.coalesce(_filled("user_id"), _filled("visitor_id")),
            propensity=pl.col("impression_propensities").list.get(pl.col("position"), null_on_oob=True),
        )
    )
    return rows.with_columns(
        event_id=pl.when(is_list).then(pl.format("{}#{}", "event_id", "position")).otherwise("event_id"),
        quantity=pl.col("quantity").replace(0, 1).fill_null(1),
        session_id=_filled("session_id"),
        recommendation_id=_filled("recommendation_id"),
        attributes=pl.when(is_list).then(_shown_attributes()).otherwise("attributes"),
    ).select(EVENTS.names())


def _filled(column: str) -> pl.Expr:
    """A text column with null for what is empty."""
    return pl.when(pl.col(column) != "").then(pl.col(column)).alias(column)


def _shown_attributes() -> pl.Expr:
    own = (
        pl.col("attributes")
        .fill_null(pl.lit([], ATTRIBUTES))
        .list.filter(~pl.element().struct.field("key").is_in(SHOWN_ATTRIBUTES))
    )
    pairs = [pl.struct(key=pl.lit(name), value=pl.col(name).cast(pl.String)) for name in SHOWN_ATTRIBUTES]
    known = pl.concat_list(pairs).list.filter(pl.element().struct.field("value").is_not_null())
    return pl.concat_list(own, known)
