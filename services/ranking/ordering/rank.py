"""Candidates to an ordered list: encode, score, order. Equal scores are ordered by the item's tie key, so order never
depends on luck."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.encode import Floats, ModelScores, Shopper, encode
from features.vocab import Rows
from services.ranking.ordering.candidates import NO_ROWS, Candidates, Source
from services.ranking.ordering.interest import Interest, history_scores, interest_scores
from services.ranking.ordering.item_to_item import ItemToItemScores
from services.ranking.ordering.model import OrderingModel
from services.ranking.ordering.ranker import Ranker


@dataclass(frozen=True, slots=True)
class RankedList:
    """An ordered list, best first; all arrays of length n."""

    rows: Rows
    scores: Floats
    """The ranker's score, or what the list is ordered by where the ranker has no say; falls along the list."""
    interest: Floats
    """Interest score; NaN where interest had no say in the list."""
    sources: npt.NDArray[np.uint8]

    def head(self, count: int) -> "RankedList":
        """The best `count`."""
        return RankedList(self.rows[:count], self.scores[:count], self.interest[:count], self.sources[:count])


def model_scores(
    model: OrderingModel, shopper: Shopper, interest: Interest, item_to_item: ItemToItemScores, rows: Rows
) -> ModelScores:
    """What every model says of the candidates int32 [n], for `encode`."""
    return ModelScores(
        interest=interest_scores(interest, model.vectors[rows]),
        interest_fallback=interest.is_fallback,
        history=history_scores(model.vectors, shopper.history_rows, rows),
        item_to_item=item_to_item.of(rows),
    )


def rank(
    model: OrderingModel,
    ranker: Ranker,
    shopper: Shopper,
    candidates: Candidates,
    interest: Interest,
    item_to_item: ItemToItemScores,
    now_us: int,
) -> RankedList:
    """Order candidates by the ranker.

    Args:
        model: The bundle in memory.
        ranker: The same bundle's.
        shopper: Resolved against the same bundle.
        candidates: n distinct rows.
        interest: The shopper's.
        item_to_item: The shopper's.
        now_us: The instant of the request, microseconds since 1970.
    """
    rows = candidates.rows
    said = model_scores(model, shopper, interest, item_to_item, rows)
    scores = ranker.score(encode(shopper, model.items, rows, said, now_us))
    order = np.lexsort((model.tie_keys[rows], -scores))
    return RankedList(rows[order], scores[order], said.interest[order], candidates.sources[order])


def popular(model: OrderingModel, count: int, excluded_rows: Rows = NO_ROWS) -> RankedList:
    """The most popular items, scored by ln(1 + event weight, half-life 28 days)."""
    rows = model.popular_rows[~np.isin(model.popular_rows, excluded_rows)][:count]
    scores = model.items.column("item_log_weight_28d")[rows]
    return RankedList(rows, scores, np.full_like(scores, np.nan), _filled(rows, Source.POPULAR))


def similar(model: OrderingModel, context_rows: Rows, count: int) -> RankedList:
    """Items nearest to the mean vector of `context_rows` (at least one), without those themselves, by dot product."""
    query = model.vectors[context_rows].mean(axis=0, keepdims=True, dtype=np.float32)
    rows, scores = model.index.search(query, count, context_rows)
    found = rows[0] >= 0
    rows, scores = rows[0][found], scores[0][found]
    return RankedList(rows, scores, np.full_like(scores, np.nan), _filled(rows, Source.SIMILAR))


def buy_again(
    model: OrderingModel,
    ranker: Ranker,
    shopper: Shopper,
    interest: Interest,
    now_us: int,
    excluded_rows: Rows = NO_ROWS,
) -> RankedList:
    """What the shopper has had before, in the ranker's order."""
    rows = shopper.repeat_rows[~np.isin(shopper.repeat_rows, excluded_rows)]
    again = Candidates(rows, _filled(rows, Source.BUY_AGAIN))
    return rank(model, ranker, shopper, again, interest, model.item_to_item.ask(shopper), now_us)


def _filled(rows: Rows, source: Source) -> npt.NDArray[np.uint8]:
    return np.full(rows.size, source, dtype=np.uint8)
