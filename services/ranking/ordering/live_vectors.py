"""Every item's vector and the index over them, with what has happened to items since the bundle.

Shapes: N items in the bundle, M >= N items in all, n of them new or changed, D vector width.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from features.live_items import LiveItem
from features.vectors import PatchedVectors, Vectors
from services.ranking.ordering.model import OrderingModel
from services.ranking.ordering.placing import Placed
from services.ranking.ordering.reach import FindNearest, reach
from services.ranking.ordering.selection import Mask
from services.retrieval.delta import DeltaIndex
from services.retrieval.index import Index


def vectors_and_index(
    model: OrderingModel, placed: Placed, gone: Mask, find_nearest: FindNearest
) -> tuple[Vectors, Index | DeltaIndex]:
    """Every item's vector and the index over them, without those that are gone, bool [M].

    Raises:
        ValueError: a vector of another width than the bundle's.
    """
    index = _bundle_index(model)
    known = np.array([item.vector is not None for item in placed.items], dtype=np.bool_)
    vectors = np.zeros((len(placed.items), index.dimension), dtype=np.float32)
    for number in np.flatnonzero(known).tolist():
        vectors[number] = _of_width(placed.items[number], index.dimension)
    other = known | (placed.rows >= placed.base_count)
    if not other.any() and not placed.gone.size:
        return model.vectors, index
    patched = PatchedVectors(model.vectors, placed.rows[other], vectors[other], placed.row_count)
    found = known & ~gone[placed.rows]
    rows, vectors = placed.rows[found], vectors[found]
    is_new = rows >= placed.base_count
    least = np.full(rows.size, np.inf, dtype=np.float32)
    least[is_new] = reach(find_nearest(model, vectors[is_new]), _as_before(placed, gone, known))
    return patched, DeltaIndex(index, vectors, rows, placed.gone, placed.row_count, least)


def _as_before(placed: Placed, gone: Mask, known: Mask) -> Mask:
    """The bundle's items that are there, may be shown and have the bundle's vectors, bool [N]."""
    there = ~gone[: placed.base_count]
    hidden = np.array([item.is_hidden for item in placed.items], dtype=np.bool_)
    there[placed.rows[placed.old][(known | hidden)[placed.old]]] = False
    return there


def _bundle_index(model: OrderingModel) -> Index:
    if isinstance(model.index, DeltaIndex):
        raise TypeError("model: is an extended one already")
    return model.index


def _of_width(item: LiveItem, width: int) -> npt.NDArray[Any]:
    """The item's vector in half precision, as those of the bundle."""
    if item.vector is None or item.vector.shape != (width,):
        shape = None if item.vector is None else item.vector.shape
        raise ValueError(f"{item.item_id}: vector of shape {shape}, expected ({width},)")
    return item.vector.astype(np.float16)
