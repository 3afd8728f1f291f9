"""A bundle's model with what has happened to its items since: new, changed, deleted.

Shapes: N items in the bundle, M >= N items in all, n of them new or changed, D vector width.

Choices:
- The result follows from the bundle's model and the set of live items alone, in whatever order they came: processes
  agree, and nothing piles up from one change to the next. It costs some copies of arrays of N, whatever has changed.
- The bundle's items keep their rows, categories their codes; new ones come behind, in the order of their tie keys.
- Features follow the transforms (features.transforms.items) as far as the bundle's own numbers tell: nobody has touched
  a new item yet; an item's price is that of its sales where it has any, and else the catalogue's.
- A deleted item keeps its row and its vector, since it stands in shoppers' histories; lists, filters and the index do
  without it.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from features import spec
from features.encode import Floats, ItemColumns
from features.live_items import LiveItem
from features.transforms import category_name
from features.vocab import NO_ROWS, Rows, Vocabulary
from services.ranking.ordering.live_vectors import vectors_and_index
from services.ranking.ordering.model import OrderingModel
from services.ranking.ordering.placing import Placed, place
from services.ranking.ordering.reach import FindNearest, nearest_in_bundle
from services.ranking.ordering.selection import Mask

_AT = {feature.name: position for position, feature in enumerate(spec.ITEM_FEATURES)}
_PRICE, _WEIGHT = _AT["item_log_price"], _AT["item_log_weight_28d"]
_LEAF_WEIGHT, _LEAF_SHARE = _AT["item_leaf_log_weight"], _AT["item_share_of_leaf"]
_DEFAULTS = np.array([feature.default for feature in spec.ITEM_FEATURES], dtype=np.float32)


def extended(
    model: OrderingModel, changes: Sequence[LiveItem], find_nearest: FindNearest = nearest_in_bundle
) -> OrderingModel:
    """The model of the catalogue as it stands.

    Args:
        model: A bundle's own, not an extended one.
        changes: All live items; of two with one id the last counts. An item that the bundle lacks and that has no
            vector can be filtered, ranked and popular, but is near to nothing.
        find_nearest: Answers like `nearest_in_bundle`; may know the answer from an earlier change.

    Raises:
        ValueError: a vector of another width than the bundle's.
    """
    placed = place(model, changes)
    if placed is None:
        return model
    gone = _gone(placed)
    items, in_leaf = _columns(model, placed)
    vectors, index = vectors_and_index(model, placed, gone, find_nearest)
    keys = np.concatenate([model.tie_keys, placed.new_keys])
    return replace(
        model,
        items=items,
        vectors=vectors,
        index=index,
        popular_rows=np.concatenate([model.popular_rows, placed.new_rows]),
        popular_in_leaf=in_leaf,
        little_known=_locked(np.concatenate([model.little_known, np.ones(placed.new_rows.size, dtype=np.bool_)])),
        tie_keys=keys,
        rows_by_key=_inserted(model, placed),
        facets=model.facets.with_rows(placed.rows, placed.table, gone),
    )


def _gone(placed: Placed) -> Mask:
    """Deleted items, bool [M]."""
    gone = np.zeros(placed.row_count, dtype=np.bool_)
    gone[placed.gone] = True
    gone[placed.rows] = [item.deleted for item in placed.items]
    return gone


def _columns(model: OrderingModel, placed: Placed) -> tuple[ItemColumns, list[Rows]]:
    """The columns of all items, and every leaf's rows, most popular first."""
    items, size = model.items, placed.new_keys.size
    names = placed.table.select(leaf=category_name(), category=category_name(2))
    leaves, leaf = _coded(items.leaves, items.leaf, names["leaf"].to_list(), placed)
    categories, category = _coded(items.categories, items.category, names["category"].to_list(), placed)
    matrix = np.concatenate([items.matrix, np.tile(_DEFAULTS, (size, 1))])
    matrix[placed.rows, _PRICE] = _log_prices(model, placed)
    in_leaf = _leaves(model, placed, leaf, len(leaves))
    _set_leaf_weights(matrix, model, placed, leaf, in_leaf)
    columns = ItemColumns(
        vocabulary=items.vocabulary.extended([item.item_id for item in placed.items[placed.old.stop :]]),
        as_of_us=items.as_of_us,
        matrix=matrix,
        leaf=leaf,
        category=category,
        leaves=leaves,
        categories=categories,
    )
    return columns, in_leaf


def _coded(vocabulary: Vocabulary, codes: Rows, names: list[str], placed: Placed) -> tuple[Vocabulary, Rows]:
    """Vocabulary and codes int32 [M] with the names [n] of the live items; an empty name is no category."""
    unknown = sorted({name for name in names if name} - set(vocabulary.ids))
    more = vocabulary.extended(unknown)
    all_codes = np.full(placed.row_count, -1, dtype=np.int32)
    all_codes[: codes.size] = codes
    all_codes[placed.rows] = more.rows(names)
    return more, all_codes


def _log_prices(model: OrderingModel, placed: Placed) -> Floats:
    """`item_log_price` of the live items, float32 [n]: an old one follows the catalogue if it did so before."""
    now = np.log1p(placed.table["price"].fill_null(np.nan).to_numpy())
    found = np.where(np.isnan(now), _DEFAULTS[_PRICE], now)
    rows = placed.rows[placed.old]
    stored, before = model.items.matrix[rows, _PRICE], np.log1p(model.facets.price[rows])
    follows = np.isclose(stored, np.where(np.isnan(before), _DEFAULTS[_PRICE], before), rtol=1e-6, atol=1e-6)
    found[placed.old] = np.where(follows, found[placed.old], stored)
    log_prices: Floats = found.astype(np.float32)
    return log_prices


def _leaves(model: OrderingModel, placed: Placed, leaf: Rows, leaf_count: int) -> list[Rows]:
    """Every leaf's rows, most popular first; only those are made anew whose rows are others than in the bundle."""
    in_leaf = [*model.popular_in_leaf, *[NO_ROWS] * (leaf_count - len(model.popular_in_leaf))]
    moved = _moved(model, placed, leaf)
    if not moved.size:
        return in_leaf
    rank = np.empty(placed.row_count, dtype=np.int32)
    rank[np.concatenate([model.popular_rows, placed.new_rows])] = np.arange(placed.row_count, dtype=np.int32)
    left = model.items.leaf[moved[moved < placed.base_count]]
    for code in np.union1d(left, leaf[moved]).tolist():
        if code < 0:
            continue
        stayed = in_leaf[code][leaf[in_leaf[code]] == code]
        rows = np.concatenate([stayed, moved[leaf[moved] == code]])
        in_leaf[code] = rows[np.argsort(rank[rows])]
    return in_leaf


def _moved(model: OrderingModel, placed: Placed, leaf: Rows) -> Rows:
    """The live items that are in another leaf than in the bundle, int32."""
    before = np.full(placed.rows.size, -1, dtype=np.int32)
    before[placed.old] = model.items.leaf[placed.rows[placed.old]]
    moved: Rows = placed.rows[before != leaf[placed.rows]]
    return moved


def _set_leaf_weights(
    matrix: Floats, model: OrderingModel, placed: Placed, leaf: Rows, in_leaf: Sequence[Rows]
) -> None:
    """Of new items, whose own weight is nothing; and of all items of a leaf that an old one has left or joined."""
    has_leaf = np.flatnonzero(model.items.leaf >= 0)
    weights = np.zeros(len(in_leaf) + 1, dtype=np.float32)  # the last entry stands for "no category"
    weights[model.items.leaf[has_leaf]] = model.items.matrix[has_leaf, _LEAF_WEIGHT]
    matrix[placed.new_rows, _LEAF_WEIGHT] = weights[leaf[placed.new_rows]]
    moved = _moved(model, placed, leaf)
    moved = moved[moved < placed.base_count]
    matrix[moved, _LEAF_WEIGHT] = matrix[moved, _LEAF_SHARE] = 0.0
    for code in np.union1d(model.items.leaf[moved], leaf[moved]).tolist():
        if code < 0:
            continue
        own = np.expm1(matrix[in_leaf[code], _WEIGHT].astype(np.float64))
        total = own.sum()
        matrix[in_leaf[code], _LEAF_WEIGHT] = np.log1p(total)
        matrix[in_leaf[code], _LEAF_SHARE] = own / total if total > 0 else 0.0


def _inserted(model: OrderingModel, placed: Placed) -> Rows:
    """All rows by rising tie key, int32 [M]."""
    sorted_keys = model.tie_keys[model.rows_by_key]
    return np.insert(model.rows_by_key, np.searchsorted(sorted_keys, placed.new_keys, side="right"), placed.new_rows)


def _locked(mask: Mask) -> Mask:
    mask.setflags(write=False)
    return mask
