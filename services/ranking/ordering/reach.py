"""How far a new item reaches: which items it is a neighbour of, though they may have many that are nearer to them.

Shapes: N items in the bundle, n new ones, D vector width, K neighbours that are remembered.

An item that hundreds of others are like never shows a new one among the nearest to it, even where the new one has none
that is more like itself than this very item. So the question is asked from the new item's side: its reach is the least
cosine among the few items of the bundle that it is most like, and it is a neighbour of whatever is as like it as that.
A cosine and not a list of rows, since it also says which other new items, and which of many equal ones, it is like.

Choices:
- Direction alone counts: of a new item only the text is known, which makes its vector short.
- More neighbours are found than count, for some of them may have gone, or changed, since.
- What is near a vector depends on the bundle and the vector alone, so that it can be kept from one change of the
  catalogue to the next (`Remembered`) and does not depend on what came with it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.encode import Floats
from features.vocab import Rows
from services.ranking.ordering.model import OrderingModel
from services.ranking.ordering.selection import Mask
from services.retrieval.delta import directions
from services.retrieval.index import MISSING_ROW

NEIGHBOURS = 5
"""So many items a new one is a neighbour of, and others as like it as the last of them."""
REMEMBERED = 20
"""K."""
_LISTS_RESULTS = 2000
"""Where the index is of the kind "lists": how many of the largest dot products are looked through for cosines."""
_PART, _BLOCK = 64, 10_000
"""So many vectors are compared with about so many items at a time."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The items of a bundle that vectors are most like."""

    rows: Rows
    """int32 [n, K], -1 where there are fewer."""
    cosines: Floats
    """float32 [n, K], falling; minus infinity where there are fewer."""


FindNearest = Callable[[OrderingModel, Floats], Nearest]
"""Like `nearest_in_bundle`."""


def nearest_in_bundle(model: OrderingModel, vectors: Floats) -> Nearest:
    """The K items of largest cosine that are not sensitive; what has no direction is like nothing.

    Args:
        model: A bundle's own, not an extended one.
        vectors: float32 [n, D], of new items.
    """
    rows = np.full((len(vectors), REMEMBERED), MISSING_ROW, dtype=np.int32)
    cosines = np.full(rows.shape, -np.inf, dtype=np.float32)
    compare = _with_near if model.index.kind == "lists" else _with_all
    known = np.flatnonzero(vectors.any(axis=1))
    for number, (found, alike) in zip(known, compare(model, directions(vectors[known])), strict=True):
        best = _largest(alike, REMEMBERED)
        rows[number, : best.size], cosines[number, : best.size] = found[best], alike[best]
    return Nearest(rows, cosines)


def reach(nearest: Nearest, there: Mask) -> Floats:
    """The least cosine at which an item is a neighbour, float32 [n], above 0; infinite where nothing is.

    Args:
        nearest: Of n items.
        there: bool [N], the items of the bundle that count.
    """
    counted = (nearest.rows >= 0) & there[nearest.rows] & (nearest.cosines > 0)
    counted &= np.cumsum(counted, axis=1) <= NEIGHBOURS
    least: Floats = np.where(counted, nearest.cosines, np.float32(np.inf)).min(axis=1, initial=np.inf)
    return least


class Remembered:
    """An answer for one bundle, which looks for nothing that it was asked for the last time."""

    def __init__(self, find: FindNearest) -> None:
        """Nothing has been found yet."""
        self._find = find
        self._found: dict[bytes, tuple[Rows, Floats]] = {}

    def __call__(self, model: OrderingModel, vectors: Floats) -> Nearest:
        """See `nearest_in_bundle`; `model` is always that of the same bundle."""
        keys, found = [vector.tobytes() for vector in vectors], self._found
        lacking = {key: place for place, key in enumerate(keys) if key not in found}
        if lacking:
            new = self._find(model, vectors[list(lacking.values())])
            found = found | dict(zip(lacking, zip(new.rows, new.cosines, strict=True), strict=True))
        self._found = {key: found[key] for key in keys}
        rows, cosines = ([found[key][part] for key in keys] for part in (0, 1))
        shape = (len(keys), REMEMBERED)
        return Nearest(np.array(rows, np.int32).reshape(shape), np.array(cosines, np.float32).reshape(shape))


def _with_all(model: OrderingModel, queries: Floats) -> Iterator[tuple[Rows, Floats]]:
    """For each direction float32 [n, D] rows and their cosines: every item that is not sensitive."""
    may = np.flatnonzero(model.facets.without_sensitive).astype(np.int32)
    blocks = np.array_split(may, may.size // _BLOCK + 1)
    for start in range(0, len(queries), _PART):
        part = queries[start : start + _PART]
        yield from ((may, alike) for alike in np.hstack([part @ directions(model.vectors[rows]).T for rows in blocks]))


def _with_near(model: OrderingModel, queries: Floats) -> Iterator[tuple[Rows, Floats]]:
    """As `_with_all`, but for those that the index finds."""
    for query in queries:
        [rows], _ = model.index.search(query[np.newaxis], _LISTS_RESULTS, model.facets.without_sensitive)
        rows = rows[rows >= 0]
        yield rows, directions(model.vectors[rows]) @ query


def _largest(numbers: Floats, count: int) -> npt.NDArray[np.int64]:
    """Places of the largest, falling."""
    best = np.arange(numbers.size)
    if numbers.size > count:
        best = np.argpartition(numbers, numbers.size - count)[-count:]
    ordered: npt.NDArray[np.int64] = best[np.argsort(-numbers[best], kind="stable")]
    return ordered
