"""The one list of features. The Feast views, the training matrix and the serving matrix all derive from it.

Choices:
- What is *stored* is a pure function of the events up to an instant, never of "now": ages and decays are taken at
  encoding time from stored timestamps, so that a stored row stays right until the shopper's next event.
- Decayed weights are stored as of the shopper's own last event, for the same reason.
- Lists are parallel (same length, same order) and hold outside ids, so that a row outlives any one bundle.

This module does not know how a value is computed (transforms), encoded (encode) or fetched (store).
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

from features import schema

Entity: TypeAlias = Literal["user", "item", "pair"]
DType: TypeAlias = Literal["int64", "float32", "string", "list[int64]", "list[float32]", "list[string]"]
Freshness: TypeAlias = Literal["batch", "live", "request"]
Default: TypeAlias = int | float | str | tuple[()]


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature: what it is called, where it lives and what stands in for it when it is unknown."""

    name: str
    entity: Entity
    """`user` and `item` rows are stored; `pair` values exist only for one shopper and one item at one instant."""
    dtype: DType
    unit: str
    default: Default
    freshness: Freshness
    """`batch`: at materialisation · `live`: at the shopper's next event · `request`: computed in the request."""


def _user(name: str, dtype: DType, unit: str, default: Default = ()) -> Feature:
    return Feature(name, "user", dtype, unit, default, "live")


def _item(name: str, unit: str, default: float = 0.0) -> Feature:
    return Feature(name, "item", "float32", unit, default, "batch")


def _pair(name: str, unit: str, default: float = 0.0) -> Feature:
    return Feature(name, "pair", "float32", unit, default, "request")


HISTORY_LENGTH = 50
"""Latest events kept per shopper, newest last; also the interest tower's sequence length."""
REPEAT_LENGTH = 256
"""Items kept per shopper for counts, recency and cadence, heaviest first."""
LEAF_LENGTH = 96
"""Most specific categories kept per shopper, heaviest first."""
CATEGORY_LENGTH = 48
"""Second-level categories kept per shopper, heaviest first."""
HALF_LIFE_DAYS = 84.0
"""A shopper's engagement counts half after this many days."""

EVENT_TYPES = schema.EVENT_TYPES
EVENT_CODES = {name: code for code, name in enumerate(EVENT_TYPES, start=1)}
"""Code of each event type in histories; 0 is padding."""
EVENT_WEIGHTS = {"purchase": 1.0, "review": 0.5, "add-to-cart": 0.3, "share": 0.3, "click": 0.1, "view": 0.05}
"""How much one event says about taste; types not named here say nothing."""

USER_FEATURES = (
    _user("last_event_us", "int64", "microseconds since 1970, UTC", 0),
    _user("event_count", "int64", "events", 0),
    _user("session_count", "int64", "sessions", 0),
    _user("distinct_item_count", "int64", "items", 0),
    _user("session_gap_days", "float32", "days, mean between sessions", -1.0),
    _user("mean_log_price", "float32", "ln(1 + currency)", 0.0),
    _user("discount_share", "float32", "share of purchases below the regular price, 0 to 1", 0.0),
    _user("history_item_ids", "list[string]", "item ids, newest last"),
    _user("history_event_types", "list[int64]", "event codes, as history_item_ids"),
    _user("history_times_us", "list[int64]", "microseconds since 1970, UTC, as history_item_ids"),
    _user("repeat_item_ids", "list[string]", "item ids, heaviest first"),
    _user("repeat_counts", "list[float32]", "days with an event, as repeat_item_ids"),
    _user("repeat_weights", "list[float32]", "decayed event weight at last_event_us, as repeat_item_ids"),
    _user("repeat_last_us", "list[int64]", "microseconds since 1970, UTC, as repeat_item_ids"),
    _user("repeat_purchase_us", "list[int64]", "microseconds since 1970, UTC; 0 if never bought, as repeat_item_ids"),
    _user("repeat_gap_days", "list[float32]", "days, mean between events; -1 after one event, as repeat_item_ids"),
    _user("leaf_names", "list[string]", "category paths, heaviest first"),
    _user("leaf_weights", "list[float32]", "share of decayed event weight, 0 to 1, as leaf_names"),
    _user("category_names", "list[string]", "category paths, heaviest first"),
    _user("category_weights", "list[float32]", "share of decayed event weight, 0 to 1, as category_names"),
)

PARALLEL_LISTS = tuple(
    tuple(feature.name for feature in USER_FEATURES if feature.name.startswith(group) and feature.dtype[:4] == "list")
    for group in ("history_", "repeat_", "leaf_", "category_")
)
"""Groups of list features that have one length and one order."""

ITEM_FEATURES = (
    _item("item_log_count", "ln(1 + event weight)"),
    _item("item_log_users", "ln(1 + shoppers)"),
    _item("item_log_weight_7d", "ln(1 + event weight, half-life 7 days)"),
    _item("item_log_weight_28d", "ln(1 + event weight, half-life 28 days)"),
    _item("item_trend", "ln of this week's rate over the last eight weeks' rate"),
    _item("item_log_price", "ln(1 + currency)"),
    _item("item_discount", "share below the regular price, 0 to 1"),
    _item("item_display_reach", "share of shops, 0 to 1, in the latest known week"),
    _item("item_mailer_reach", "share of shops, 0 to 1, in the latest known week"),
    _item("item_coupon_reach", "share of shoppers, 0 to 1, running now"),
    _item("item_promotion_share", "share of the last eight weeks on promotion, 0 to 1"),
    _item("item_repeat_rate", "share of its shoppers who came back for it, 0 to 1"),
    _item("item_gap_days", "days, median between one shopper's purchases", -1.0),
    _item("item_age_days", "days since first seen, moved to now when encoded", -1.0),
    _item("item_idle_days", "days since last seen, moved to now when encoded", -1.0),
    _item("item_leaf_log_weight", "ln(1 + its most specific category's event weight, half-life 28 days)"),
    _item("item_share_of_leaf", "share of its most specific category's event weight, 0 to 1"),
)

I2I_TABLES = ("lasting", "current", "basket")
"""Item-to-item tables of a bundle: of all that was, of what is engaged with lately, and of single sessions."""
I2I_FEATURES = tuple((question, table) for question in ("all", "latest") for table in ("lasting", "current"))
"""Asked with all a shopper has had, and with their latest events."""

PAIR_FEATURES = (
    _pair("user_log_events", "ln(1 + events)"),
    _pair("user_log_items", "ln(1 + items)"),
    _pair("user_session_gap_days", "days", -1.0),
    _pair("user_mean_log_price", "ln(1 + currency)"),
    _pair("user_discount_share", "0 to 1"),
    _pair("user_idle_days", "days since the shopper's last event", -1.0),
    _pair("pair_count", "days with an event"),
    _pair("pair_weight", "event weight decayed to now"),
    _pair("pair_weight_share", "share of the shopper's heaviest item, 0 to 1"),
    _pair("pair_rank", "position among the shopper's items by weight, 0 = heaviest; -1 not among them", -1.0),
    _pair("pair_idle_days", "days since the shopper's last event with the item", -1.0),
    _pair("pair_gap_days", "days, mean between the shopper's events with the item", -1.0),
    _pair("pair_due", "idle days over the shopper's own gap, at most 8", -1.0),
    _pair("pair_item_due", "idle days over the item's usual gap, at most 8", -1.0),
    _pair("pair_leaf_weight", "weight over that of the shopper's heaviest item of its leaf, 0 to 1"),
    _pair("pair_leaf_items", "the shopper's items of its leaf"),
    _pair("pair_leaf_idle_days", "days since the shopper's last event in its leaf", -1.0),
    _pair("pair_leaf_lag_days", "days from the shopper's last event with the item to that in its leaf", -1.0),
    _pair("pair_leaf_affinity", "share, 0 to 1"),
    _pair("pair_category_affinity", "share, 0 to 1"),
    _pair("pair_price_gap", "ln price minus the shopper's mean ln price"),
    *(_pair(f"i2i_{q}_{t}", f"sum of item-to-item weights ({t}) over {q} items") for q, t in I2I_FEATURES),
    _pair("history_score", "dot product of the mean vector of the latest items with the item vector"),
    _pair("interest_score", "largest dot product of an interest vector with the item vector"),
    _pair("interest_fallback", "1 when the interest vector is the mean of the history's vectors"),
)

MATRIX_COLUMNS = tuple(feature.name for feature in (*ITEM_FEATURES, *PAIR_FEATURES))
"""Column names of the ranker's matrix, in order."""


def fingerprint() -> str:
    """Twelve hex digits that change whenever a feature's definition does; part of the Feast view names."""
    listed = [asdict(feature) for feature in (*USER_FEATURES, *ITEM_FEATURES, *PAIR_FEATURES)]
    lengths = [HISTORY_LENGTH, REPEAT_LENGTH, LEAF_LENGTH, CATEGORY_LENGTH, HALF_LIFE_DAYS]
    text = json.dumps([listed, lengths, EVENT_CODES, EVENT_WEIGHTS], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
