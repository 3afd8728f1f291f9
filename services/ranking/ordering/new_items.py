"""Places kept for new items: what came after the bundle and is of the shopper's taste, or like what they look at.

Shapes: n items, D vector width, Q directions of a taste.

Of a new item only its text is known. Its vector is therefore short, so that a search by dot product passes it by, and
nobody has touched it, so that the ranker puts it behind what many have bought. Both are right for a list of what is
most likely wanted now; and by both nobody would ever see it.

Choices:
- What counts here is direction alone: the cosine with the shopper's interest vectors, or with the mean of the items
  they had to do with last, which knows a taste before the interest tower is sure of it.
- An item gets a place only if it is as alike as the most alike share of the list itself is: there is no bound on the
  cosine that another catalogue or another text tower would make wrong.
- What is like an item is asked from the new one's side (reach): others may be more like it by the hundred.
- The places are counted in the whole list, so that what a page shows does not depend on the sizes of pages before it.
  The other items keep their order, and no item loses a better place than the one that is kept for it.

Knows nothing of requests, nor of how new items came into the model.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.encode import Floats, Shopper
from features.vocab import NO_ROWS, Rows
from services.ranking.ordering.candidates import Source, best_over_interests
from services.ranking.ordering.interest import LATEST_ITEMS, Interest
from services.ranking.ordering.model import OrderingModel
from services.ranking.ordering.rank import RankedList, joined
from services.ranking.ordering.selection import Mask, mask_without
from services.retrieval.delta import DeltaIndex, directions


@dataclass(frozen=True, kw_only=True, slots=True)
class NewItemPlaces:
    """Which places of a list are kept, and for what."""

    first: int = 5
    """The first of them, 1 for the top of the list."""
    every: int = 10
    """One in so many is kept."""
    most_alike: float = 0.2
    """Share of the list, above 0 and at most 1: as alike as these items a new one has to be."""

    def __post_init__(self) -> None:
        """Refuse places that do not exist."""
        if not 1 <= self.first <= self.every or not 0 < self.most_alike <= 1:
            raise ValueError(f"places kept for new items: {self}")


PLACES = NewItemPlaces()
"""What lists have."""


def has_new_items(model: OrderingModel) -> bool:
    """Whether the model has items that the bundle lacks and whose text is known."""
    return isinstance(model.index, DeltaIndex) and model.index.has_new


def new_of_taste(
    model: OrderingModel,
    shopper: Shopper,
    interest: Interest,
    ranked: RankedList,
    allowed: Mask | None = None,
    places: NewItemPlaces = PLACES,
) -> Rows:
    """New items that are more alike to the shopper's taste than most of a list is, int32, most alike first.

    Args:
        model: Any; none of a bundle's own items is new.
        shopper: Resolved against the same model; what they have had is not new to them.
        interest: The shopper's.
        ranked: The list that they are to come into.
        allowed: bool [N], which rows may appear. None: all.
        places: Those of the list.
    """
    taste = _taste(model, shopper, interest)
    if not isinstance(model.index, DeltaIndex) or not model.index.has_new or not taste.size or not ranked.rows.size:
        return NO_ROWS
    kept_count = -(-ranked.rows.size // places.every)
    fresh = mask_without(allowed, shopper.repeat_rows, model.item_count)
    rows = best_over_interests(*model.index.search_new(taste, kept_count, fresh), kept_count)
    cosines, others = (_cosines(taste, model.vectors[some]) for some in (rows, ranked.rows))
    order = np.lexsort((model.tie_keys[rows], -cosines))
    least = np.sort(others)[-math.ceil(places.most_alike * others.size)]
    found: Rows = rows[order][cosines[order] >= least]
    return found


def new_alike(model: OrderingModel, context_rows: Rows, allowed: Mask | None = None) -> RankedList:
    """New items that are neighbours of the context, most alike first, scored as by `similar`.

    Args:
        model: Any; none of a bundle's own items is new.
        context_rows: int32 [C], of any items; they themselves are not among the answers.
        allowed: bool [N], which rows may appear. None: all.
    """
    context, rows = model.vectors[context_rows], NO_ROWS
    if isinstance(model.index, DeltaIndex):
        rows = model.index.neighbours(context, mask_without(allowed, context_rows, model.item_count))
    query = context.sum(axis=0) / np.float32(max(context_rows.size, 1))
    scores = directions(model.vectors[rows]) @ query * np.linalg.norm(query)
    return RankedList(rows, scores, np.full_like(scores, np.nan), np.full(rows.size, Source.SIMILAR, np.uint8))


def with_new_items(ranked: RankedList, new: RankedList, places: NewItemPlaces = PLACES) -> RankedList:
    """The list with the next new item at each of the places, unless it is further up already.

    Args:
        ranked: Of distinct rows.
        new: Distinct rows, in the order in which they get places.
        places: Which these are.
    """
    both = joined([ranked, new])
    rows, own = both.rows.tolist(), ranked.rows.size
    order: list[int] = []
    shown: set[int] = set()
    waiting, coming = iter(range(own)), iter(range(own, len(rows)))
    while True:
        is_kept = len(order) % places.every == places.first - 1
        place = next((place for place in coming if rows[place] not in shown), None) if is_kept else None
        if place is None:
            place = next((place for place in waiting if rows[place] not in shown), None)
        if place is None:
            return both.in_order(np.array(order, dtype=np.int64))
        order.append(place)
        shown.add(rows[place])


def _taste(model: OrderingModel, shopper: Shopper, interest: Interest) -> Floats:
    """Directions of length one, float32 [Q, D]; none of a shopper without a history."""
    latest = model.vectors[shopper.history_rows[-LATEST_ITEMS:]].sum(axis=0, keepdims=True, dtype=np.float32)
    vectors = np.concatenate([interest.vectors, latest])
    lengths = np.linalg.norm(vectors, axis=1)
    taste: Floats = vectors[lengths > 0] / lengths[lengths > 0, np.newaxis]
    return taste


def _cosines(taste: Floats, vectors: npt.NDArray[np.float32]) -> Floats:
    """The largest over the directions of a taste, float32 [n], of vectors [n, D]; 0 of a vector of zeros."""
    lengths = np.linalg.norm(vectors, axis=1)
    dots = (vectors @ taste.T).max(axis=1)
    cosines: Floats = np.divide(dots, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return cosines
