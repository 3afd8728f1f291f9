"""How much alike neighbouring items may be: the same list in another order.

Shapes: n items in the list, N in the bundle, D vector width, H rows in the shopper's history.

Choices:
- Relevance is the place in the list, scaled to [0, 1]: scores of different rankers are not comparable, and one outlier
  among them would decide how much variety the rest of the list gets.
- Maximal marginal relevance fills the first `PLACES` places only, each from the whole list: its cost grows with places
  times items.
- Every level keeps the first item, and gives of two equal choices the one that came first.

This module knows neither how the list was scored nor what may be in it.
"""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from features.encode import Floats
from features.vectors import Vectors
from features.vocab import Rows
from services.ranking.ordering.rank import RankedList

PLACES = 100
"""How many places maximal marginal relevance fills; the rest keep their order behind."""
LOW_WEIGHT = 0.1
"""What similarity to the items chosen already counts at LOW, of one; the place in the list counts the rest."""
MEDIUM_WEIGHT = 0.3
"""The same at MEDIUM."""
HIGH_WEIGHT = 0.7
"""The same where variety comes first; also the most that AUTO may reach."""

Places = npt.NDArray[np.int64]
"""Positions in a list, int64 [n]."""


class Diversity(IntEnum):
    """How much alike neighbours may be; names and numbers are those of the API's DiversityLevel."""

    NONE = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    AUTO = 5


def diversified(ranked: RankedList, vectors: Vectors, leaf: Rows, level: Diversity, history_rows: Rows) -> RankedList:
    """The same items in a more varied order.

    NONE is the list itself. The others order by maximal marginal relevance (Carbonell & Goldstein 1998, SIGIR) over
    the cosine similarity of item vectors; AUTO does so by `history_weight`. LOW, whose weight leaves most of a list as
    it is, then puts no more than two items of one most specific category in a row while an item of another one is left.

    Args:
        ranked: n items, best first; distinct rows of the bundle.
        vectors: float32 [N, D], of any length; a vector of zeros is similar to nothing.
        leaf: int32 [N], most specific category of each item; -1 where it has none, which is no run of anything.
        level: How much alike neighbours may be.
        history_rows: int32 [H], rows of the bundle that the shopper's latest events are about; only AUTO asks for them.

    Returns:
        The n items, the first in its place. Scores stay with their items and so need not fall along the list.
    """
    if level == Diversity.NONE:
        return ranked
    weight = _weight(level, vectors, history_rows)
    varied = ranked.in_order(_by_marginal_relevance(_unit(vectors[ranked.rows]), weight))
    return varied.in_order(_without_runs(leaf[varied.rows])) if level == Diversity.LOW else varied


def history_weight(vectors: Vectors, history_rows: Rows) -> float:
    """The weight of variety that fits a shopper's own history: `HIGH_WEIGHT` times one minus the mean cosine similarity
    of its distinct items, between 0 and `HIGH_WEIGHT`; `MEDIUM_WEIGHT` where there are fewer than two.

    Args:
        vectors: float32 [N, D].
        history_rows: int32 [H], with repeats.
    """
    rows = np.unique(history_rows)
    if rows.size < 2:
        return MEDIUM_WEIGHT
    return HIGH_WEIGHT * min(max(1.0 - _mean_similarity(_unit(vectors[rows])), 0.0), 1.0)


def _weight(level: Diversity, vectors: Vectors, history_rows: Rows) -> float:
    if level == Diversity.AUTO:
        return history_weight(vectors, history_rows)
    return {Diversity.LOW: LOW_WEIGHT, Diversity.MEDIUM: MEDIUM_WEIGHT, Diversity.HIGH: HIGH_WEIGHT}[level]


def _unit(vectors: Floats) -> Floats:
    """Scaled to length one, float32; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: Floats = (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
    return units


def _mean_similarity(units: Floats) -> float:
    """Mean dot product over all pairs of at least two different rows: the square of their sum, less their own."""
    total = units.sum(axis=0, dtype=np.float64)
    own = np.square(units, dtype=np.float64).sum()
    return float((total @ total - own) / (len(units) * (len(units) - 1)))


def _by_marginal_relevance(units: Floats, weight: float) -> Places:
    """Order in which maximal marginal relevance takes items: each time the one for which
    (1 - weight) · relevance - weight · (greatest similarity to an item taken) is greatest.

    Args:
        units: float32 [n, D], of length one, most relevant first.
        weight: 0 takes them in their order, 1 minds similarity alone.
    """
    count = len(units)
    taken = np.zeros(min(count, PLACES), dtype=np.int64)
    gain = (1.0 - weight) * np.linspace(1.0, 0.0, count, dtype=np.float32)
    nearest = np.full(count, -np.inf, dtype=np.float32)
    for place in range(1, taken.size):
        last = taken[place - 1]
        gain[last] = -np.inf
        np.maximum(nearest, units @ units[last], out=nearest)
        taken[place] = np.argmax(gain - weight * nearest)
    return np.concatenate([taken, np.delete(np.arange(count), taken)])


def _without_runs(leaf: Rows) -> Places:
    """Order in which each third neighbour of one category gives way to the next item of another one, while there is
    one.

    Args:
        leaf: int32 [n], -1 where there is none.
    """
    order = np.arange(leaf.size)
    place = _next_run(leaf, 0)
    while place < leaf.size:
        others = np.flatnonzero(leaf[order[place:]] != leaf[order[place]])
        if not others.size:
            break
        moved = place + others[0]
        order[place : moved + 1] = np.roll(order[place : moved + 1], 1)
        place = _next_run(leaf[order], place + 1)
    return order


def _next_run(leaf: Rows, start: int) -> int:
    """First place from `start` on that is the third of one category in a row; the list's length where none is."""
    start = max(start, 2)
    here = leaf[start:]
    thirds = (here >= 0) & (here == leaf[start - 1 : -1]) & (here == leaf[start - 2 : -2])
    return start + int(np.argmax(thirds)) if thirds.any() else leaf.size
