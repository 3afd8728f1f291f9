"""A shopper's state: the known events that features are made of, as text that grows by appending.

Choices:
- CSV without header, one line per event, so that new events are an APPEND in Valkey and many shoppers are read by one
  call of Polars. Text stands in quotes, so that an empty one differs from none.
- A line break within a text is written as an escape: the number of lines is the number of events, whatever they say.
- Only events that say something about taste and name an item: others would never change a feature.

Knows nothing of where states are kept.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import polars as pl

from features import spec
from features.schema import INSTANT

STATE: Final = pl.Schema(
    {
        "item_id": pl.String(),
        "event_id": pl.String(),
        "event_type": pl.String(),
        "event_time_us": pl.Int64(),
        "price": pl.Float64(),
        "session_id": pl.String(),
    }
)
"""The columns of a line."""
EVENTS_OF_STATE: Final = pl.Schema(
    {
        "user_id": pl.String(),
        "item_id": pl.String(),
        "event_id": pl.String(),
        "event_type": pl.String(),
        "event_time": INSTANT,
        "price": pl.Float64(),
        "session_id": pl.String(),
    }
)
"""What `frame_of` gives, a part of the EVENTS table."""

_TEXTS = [name for name, dtype in STATE.items() if dtype == pl.String]


def counts() -> pl.Expr:
    """Whether an event belongs into a state."""
    weighted = [name for name, weight in spec.EVENT_WEIGHTS.items() if weight > 0]
    return pl.col("event_type").is_in(weighted) & (pl.col("item_id").fill_null("") != "")


def lines_of(events: pl.DataFrame) -> dict[str, bytes]:
    """The lines of some events.

    Args:
        events: At least the columns of EVENTS_OF_STATE; those that do not count are left out.

    Returns:
        Shopper to lines, in the order of `events`; shoppers without an event that counts are missing.
    """
    kept = events.filter(counts()).sort("user_id", maintain_order=True)
    if kept.is_empty():
        return {}
    text = (
        kept.with_columns(event_time_us=pl.col("event_time").dt.timestamp("us"))
        .select(STATE.names())
        .with_columns(_escaped(pl.col(_TEXTS)))
        .write_csv(include_header=False, quote_style="non_numeric", null_value="")
    )
    lines = [line + b"\n" for line in text.encode().split(b"\n")[:-1]]
    states, start = {}, 0
    for shopper, count in kept.group_by("user_id", maintain_order=True).len().iter_rows():
        states[shopper] = b"".join(lines[start : start + count])
        start += count
    return states


def frame_of(states: Mapping[str, bytes]) -> pl.DataFrame:
    """The events of some shoppers, EVENTS_OF_STATE, in the order of the mapping and its lines.

    Raises:
        ValueError: a state is not of this form.
    """
    return numbered_frame_of(states, shopper_type(states)).with_columns(pl.col("user_id").cast(pl.String))


def shopper_type(shoppers: Iterable[str]) -> pl.Enum:
    """Type of some shoppers' ids, numbers whose order is that of the texts."""
    return pl.Enum(sorted(shoppers))


def numbered_frame_of(states: Mapping[str, bytes], user_id: pl.Enum) -> pl.DataFrame:
    """`frame_of` with shoppers' ids of a `shopper_type`, of these or of more.

    Raises:
        ValueError: a state is not of this form.
    """
    shoppers = pl.Series(list(states), dtype=user_id)
    text = b"".join(states.values())
    if not text:
        return EVENTS_OF_STATE.to_frame().with_columns(user_id=shoppers.clear())
    try:
        frame = pl.read_csv(text, has_header=False, schema=STATE, raise_if_empty=False)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"a state cannot be read: {error}") from error
    counted = [state.count(b"\n") for state in states.values()]
    if frame.height != sum(counted):
        raise ValueError(f"states of {sum(counted)} lines hold {frame.height} events")
    if b"\\" in text:
        frame = frame.with_columns(_unescaped(pl.col(_TEXTS)))
    places = np.repeat(np.arange(len(counted)), counted)
    times = pl.col("event_time_us").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return frame.with_columns(event_time=times, user_id=shoppers.gather(places)).select(EVENTS_OF_STATE.names())


def _escaped(texts: pl.Expr) -> pl.Expr:
    return texts.str.replace_all("\\", "\\\\", literal=True).str.replace_all("\n", "\\n", literal=True)


def _unescaped(texts: pl.Expr) -> pl.Expr:
    r"""Back from `\\` and `\n`; a backslash that was one itself is out of the way while line breaks are made."""
    aside = "\\\x00"  # cannot be in escaped text: after a backslash comes another one or an n
    return (
        texts.str.replace_all("\\\\", aside, literal=True)
        .str.replace_all("\\n", "\n", literal=True)
        .str.replace_all(aside, "\\", literal=True)
    )
