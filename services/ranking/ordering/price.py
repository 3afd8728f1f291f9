"""How strongly dearer items move up among those of similar score: the same list in another order.

Shapes: n items in the list, N in the bundle.

Choices:
- Scores are standardised within the list, so that a level means the same whichever ranker scored it.
- A price counts by its percentile within the list: one item at a hundred times the price of the rest moves no further
  than the dearest of any list.
- An unknown price is neither dear nor cheap.

This module does not know which currency a price is in, nor what an item earns.
"""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from features.encode import Floats
from services.ranking.ordering.rank import RankedList

Doubles = npt.NDArray[np.float64]


class PriceRerank(IntEnum):
    """How strongly a price counts; names and numbers are those of the API's PriceRerankLevel."""

    NONE = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4


WEIGHTS = {PriceRerank.LOW: 0.25, PriceRerank.MEDIUM: 1.0, PriceRerank.HIGH: 3.5}
"""Standard deviations of score between the cheapest and the dearest item. Percentiles spread evenly over [0, 1] have a
standard deviation of 1 / √12, so that at 3.5 price and score count about the same."""


def price_reranked(ranked: RankedList, price: Doubles, level: PriceRerank) -> RankedList:
    """The same items by standardised score plus the level's weight times the percentile of their price.

    Args:
        ranked: n items; equal sums keep its order.
        price: float64 [N], any unit; NaN where unknown.
        level: How strongly price counts; NONE is the list itself.

    Returns:
        The n items. Scores stay with their items and so need not fall along the list.
    """
    if level == PriceRerank.NONE:
        return ranked
    sums = _standardised(ranked.scores) + WEIGHTS[level] * price_percentiles(price[ranked.rows])
    return ranked.in_order(np.argsort(-sums, kind="stable"))


def price_percentiles(price: Doubles) -> Doubles:
    """Share of the known prices that are below each price, equal ones counting half, float64 [n] in (0, 1); a half
    where the price is unknown.

    Args:
        price: float64 [n], NaN where unknown.
    """
    known = np.sort(price[~np.isnan(price)])
    below, up_to = np.searchsorted(known, price, "left"), np.searchsorted(known, price, "right")
    return np.where(np.isnan(price), 0.5, (below + up_to) / max(2 * known.size, 1))


def _standardised(scores: Floats) -> Doubles:
    """Less their mean, over their standard deviation; zeros where all are the same."""
    if not scores.size or scores.min() == scores.max():
        return np.zeros(scores.size)
    wide = scores.astype(np.float64)
    standardised: Doubles = (wide - wide.mean()) / wide.std()
    return standardised
