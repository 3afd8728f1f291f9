"""Stored features to the ranker's matrix: the one encoding that training, evaluation and serving share.

Shapes: N items in the bundle, n candidates of one shopper, I = len(ITEM_FEATURES), F = len(MATRIX_COLUMNS).

Choices:
- One shopper at a time, pure NumPy gathers, no Python object per candidate: the same call serves a request and builds
  training rows.
- Everything that depends on "now" (ages, decays, due ratios) is computed here from stored timestamps.
- What is unknown takes the feature's default from `spec`, never NaN.

This module does not know where a shopper's row came from, nor what the ranker does with the matrix.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features import spec
from features.clock import to_us
from features.transforms import category_name
from features.vocab import Rows, Vocabulary

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_DAY_US = 86_400_000_000.0
_DUE_MAX = 8.0


@dataclass(frozen=True, slots=True)
class ItemColumns:
    """What the ranking process holds of every item; arrays have one entry per row of the bundle."""

    vocabulary: Vocabulary
    as_of_us: int
    """The instant the features were taken at, microseconds since 1970."""
    matrix: Floats
    """float32 [N, I], the ITEM_FEATURES in order."""
    leaf: Rows
    """int32 [N], code of the most specific category in `leaves`; -1 without one."""
    category: Rows
    """int32 [N], code of the second-level category in `categories`; -1 without one."""
    leaves: Vocabulary
    categories: Vocabulary

    def column(self, name: str) -> Floats:
        """One item feature of every row, float32 [N].

        Raises:
            KeyError: if `name` is not an item feature.
        """
        return self.matrix[:, _ITEM_POSITION[name]]


_ITEM_POSITION = {feature.name: position for position, feature in enumerate(spec.ITEM_FEATURES)}


def item_columns(items: pl.DataFrame, features: pl.DataFrame, as_of: datetime) -> ItemColumns:
    """Build the columns from the catalogue and its features.

    Args:
        items: The ITEMS table (item_id, category, …).
        features: `item_id` and the ITEM_FEATURES, same rows in the same order.
        as_of: The instant the features were taken at.

    Raises:
        ValueError: if the two tables do not hold the same items in the same order.
    """
    if not items["item_id"].equals(features["item_id"]):
        raise ValueError("items and item features do not hold the same item ids in the same order")
    names = items.select(leaf=category_name(), category=category_name(2))
    leaves = Vocabulary(sorted(set(names["leaf"]) - {""}))
    categories = Vocabulary(sorted(set(names["category"]) - {""}))
    matrix = features.select(feature.name for feature in spec.ITEM_FEATURES).to_numpy().astype(np.float32)
    return ItemColumns(
        vocabulary=Vocabulary(items["item_id"]),
        as_of_us=to_us(as_of),
        matrix=np.ascontiguousarray(matrix),
        leaf=leaves.rows(names["leaf"].to_list()),
        category=categories.rows(names["category"].to_list()),
        leaves=leaves,
        categories=categories,
    )


@dataclass(frozen=True, slots=True)
class Shopper:
    """A shopper's stored row with its ids resolved to rows of one bundle; ids the bundle lacks are gone."""

    last_event_us: int
    scalars: Floats
    """float32 [5]: ln events, ln items, session gap in days, mean ln price, discount share."""
    history_rows: Rows
    """int32 [≤ HISTORY_LENGTH], newest last."""
    history_event_types: Ints
    history_times_us: Ints
    repeat_rows: Rows
    """int32 [≤ REPEAT_LENGTH], heaviest first; the arrays below are parallel to it."""
    repeat_counts: Floats
    repeat_weights: Floats
    repeat_last_us: Ints
    repeat_purchase_us: Ints
    """Last purchase; 0 where there was none."""
    repeat_gap_days: Floats
    leaf_affinity: Floats
    """float32 [leaves], share of the shopper's weight."""
    category_affinity: Floats
    """float32 [categories], share of the shopper's weight."""

    @property
    def is_known(self) -> bool:
        """Whether anything at all is known about the shopper."""
        return self.last_event_us > 0


def resolve(row: Mapping[str, Any] | None, items: ItemColumns) -> Shopper:
    """Turn a stored USER_FEATURES row into rows of this bundle.

    Args:
        row: Feature name → value (lists or arrays for list features), or None for an unknown shopper.
        items: The bundle's item columns.
    """
    values = dict(_USER_DEFAULTS) if row is None else row
    history = items.vocabulary.rows(values["history_item_ids"])
    repeats = items.vocabulary.rows(values["repeat_item_ids"])
    in_history, in_repeats = history >= 0, repeats >= 0
    return Shopper(
        last_event_us=int(values["last_event_us"]),
        scalars=np.array(
            [
                np.log1p(values["event_count"]),
                np.log1p(values["distinct_item_count"]),
                values["session_gap_days"],
                values["mean_log_price"],
                values["discount_share"],
            ],
            dtype=np.float32,
        ),
        history_rows=history[in_history],
        history_event_types=np.asarray(values["history_event_types"], dtype=np.int64)[in_history],
        history_times_us=np.asarray(values["history_times_us"], dtype=np.int64)[in_history],
        repeat_rows=repeats[in_repeats],
        repeat_counts=np.asarray(values["repeat_counts"], dtype=np.float32)[in_repeats],
        repeat_weights=np.asarray(values["repeat_weights"], dtype=np.float32)[in_repeats],
        repeat_last_us=np.asarray(values["repeat_last_us"], dtype=np.int64)[in_repeats],
        repeat_purchase_us=np.asarray(values["repeat_purchase_us"], dtype=np.int64)[in_repeats],
        repeat_gap_days=np.asarray(values["repeat_gap_days"], dtype=np.float32)[in_repeats],
        leaf_affinity=_dense(items.leaves, values["leaf_names"], values["leaf_weights"]),
        category_affinity=_dense(items.categories, values["category_names"], values["category_weights"]),
    )


_USER_DEFAULTS: dict[str, Any] = {feature.name: feature.default for feature in spec.USER_FEATURES}


def _dense(vocabulary: Vocabulary, names: Any, weights: Any) -> Floats:
    dense = np.zeros(len(vocabulary) + 1, dtype=np.float32)  # the last entry stands for "no category" and stays zero
    codes = vocabulary.rows(names)
    dense[codes[codes >= 0]] = np.asarray(weights, dtype=np.float32)[codes >= 0]
    return dense


def history_ages_days(shopper: Shopper, now_us: int) -> Floats:
    """Age of each history event at `now_us`, days, float32, never negative."""
    return np.maximum((now_us - shopper.history_times_us) / _DAY_US, 0.0).astype(np.float32)


@dataclass(frozen=True, slots=True)
class ModelScores:
    """What the models say of each of n candidates."""

    interest: Floats
    """float32 [n], `interest_score`."""
    interest_fallback: bool
    """Whether the interest vector is the fallback."""
    history: Floats
    """float32 [n], `history_score`."""
    item_to_item: Floats
    """float32 [n, len(I2I_FEATURES)]."""


def encode(shopper: Shopper, items: ItemColumns, rows: Rows, scores: ModelScores, now_us: int) -> Floats:
    """The ranker's matrix for one shopper's candidates.

    Args:
        shopper: From `resolve`, against the same `items`.
        items: The bundle's item columns.
        rows: int32 [n], distinct candidate rows.
        scores: Of the same n rows.
        now_us: The instant of the request, microseconds since 1970.

    Returns:
        float32 [n, F], columns as `spec.MATRIX_COLUMNS`.
    """
    matrix = np.empty((rows.size, len(spec.MATRIX_COLUMNS)), dtype=np.float32)
    idle_days = max((now_us - shopper.last_event_us) / _DAY_US, 0.0) if shopper.is_known else -1.0
    matrix[:, _ITEM_BLOCK] = items.matrix.take(rows, axis=0)
    matrix[:, _AGES] += np.where(matrix[:, _AGES] >= 0, (now_us - items.as_of_us) / _DAY_US, 0.0)
    matrix[:, _USER_BLOCK] = shopper.scalars
    matrix[:, _AT["user_idle_days"]] = idle_days
    heaviest_weight = max(float(shopper.repeat_weights.max(initial=0.0)), 1e-9)
    leaf = items.leaf[rows]
    matrix[:, _PAIR_BLOCK] = _PAIR_DEFAULTS
    _fill_pair_values(matrix, shopper, rows, now_us, idle_days, heaviest_weight)
    _fill_leaf_values(matrix, shopper, items, leaf, now_us, heaviest_weight)
    matrix[:, _AT["pair_leaf_affinity"]] = shopper.leaf_affinity[leaf]
    matrix[:, _AT["pair_category_affinity"]] = shopper.category_affinity[items.category[rows]]
    matrix[:, _AT["pair_price_gap"]] = _price_gap(matrix[:, _AT["item_log_price"]], shopper)
    matrix[:, _I2I_BLOCK] = scores.item_to_item
    matrix[:, _AT["history_score"]] = scores.history
    matrix[:, _AT["interest_score"]] = scores.interest
    matrix[:, _AT["interest_fallback"]] = float(scores.interest_fallback)
    return matrix


_AT = {name: position for position, name in enumerate(spec.MATRIX_COLUMNS)}
_ITEM_BLOCK = slice(0, len(spec.ITEM_FEATURES))
_USER_BLOCK = slice(_AT["user_log_events"], _AT["user_discount_share"] + 1)
_PAIR_BLOCK = slice(_AT["pair_count"], _AT["pair_item_due"] + 1)
_LEAF_BLOCK = slice(_AT["pair_leaf_weight"], _AT["pair_leaf_lag_days"] + 1)
_AGES = slice(_AT["item_age_days"], _AT["item_idle_days"] + 1)
_I2I_BLOCK = slice(_AT["history_score"] - len(spec.I2I_FEATURES), _AT["history_score"])
_MEAN_LOG_PRICE = _AT["user_mean_log_price"] - _AT["user_log_events"]


def _price_gap(log_prices: Floats, shopper: Shopper) -> Floats:
    """float32 [n]; 0 where the item's price or the shopper's mean is unknown, which is stored as 0."""
    mean = shopper.scalars[_MEAN_LOG_PRICE]
    return np.where((log_prices > 0) & (mean > 0), log_prices - mean, np.float32(0))


def _fill_pair_values(
    matrix: Floats, shopper: Shopper, rows: Rows, now_us: int, idle_days: float, heaviest_weight: float
) -> None:
    """The block of what the shopper did with each candidate: count, weight, weight share, rank, idle days, gap days,
    due, item due; of those that they had before."""
    if not shopper.repeat_rows.size:
        return
    order = np.argsort(shopper.repeat_rows)
    place = np.minimum(np.searchsorted(shopper.repeat_rows, rows, sorter=order), order.size - 1)
    position = order[place]
    hit = np.flatnonzero(shopper.repeat_rows[position] == rows)
    position = position[hit]
    idle = np.maximum((now_us - shopper.repeat_last_us[position]) / _DAY_US, 0.0)
    gap, weight = shopper.repeat_gap_days[position], shopper.repeat_weights[position]
    values = np.empty((hit.size, len(_PAIR_DEFAULTS)), dtype=np.float32)
    values[:, 0] = shopper.repeat_counts[position]
    values[:, 1] = weight * 0.5 ** (idle_days / spec.HALF_LIFE_DAYS)
    values[:, 2] = weight / heaviest_weight
    values[:, 3] = position
    values[:, 4] = idle
    values[:, 5] = gap
    values[:, 6] = _due(idle, gap)
    values[:, 7] = _due(idle, matrix[hit, _AT["item_gap_days"]])
    matrix[hit, _PAIR_BLOCK] = values


def _fill_leaf_values(
    matrix: Floats, shopper: Shopper, items: ItemColumns, leaf: Rows, now_us: int, heaviest_weight: float
) -> None:
    """The block of the shopper's items in each candidate's most specific category: weight over the heaviest's, their
    number, idle days of the category, and by how much the candidate lags behind it."""
    size = len(items.leaves) + 1  # the last entry stands for "no category" and stays empty
    own = items.leaf[shopper.repeat_rows]
    in_leaf = own >= 0
    own = own[in_leaf]
    heaviest, last_us = np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.int64)
    np.maximum.at(heaviest, own, shopper.repeat_weights[in_leaf])
    np.maximum.at(last_us, own, shopper.repeat_last_us[in_leaf])
    count = np.bincount(own, minlength=size)[leaf]
    known = count > 0
    idle = np.where(known, np.maximum((now_us - last_us[leaf]) / _DAY_US, 0.0), -1.0)
    item_idle = matrix[:, _AT["pair_idle_days"]]
    share = matrix[:, _AT["pair_weight_share"]] * heaviest_weight
    values = matrix[:, _LEAF_BLOCK]
    values[:, 0] = np.where(known, share / np.maximum(heaviest[leaf], 1e-9), 0.0)
    values[:, 1] = count
    values[:, 2] = idle
    values[:, 3] = np.where(known & (item_idle >= 0), item_idle - idle, -1.0)


_PAIR_DEFAULTS = np.array([0, 0, 0, -1, -1, -1, -1, -1], dtype=np.float32)


def _due(idle_days: npt.NDArray[np.float64], gap_days: Floats) -> npt.NDArray[np.float64]:
    known = gap_days > 0
    return np.where(known, np.minimum(idle_days / np.where(known, gap_days, 1.0), _DUE_MAX), -1.0)
