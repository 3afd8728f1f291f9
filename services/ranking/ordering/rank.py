"""Candidates to an ordered list: encode, score, order. Equal scores are ordered by the item's tie key, so order never
depends on luck."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from features import spec
from features.encode import Floats, ModelScores, Shopper, encode
from features.vocab import NO_ROWS, Rows
from services.ranking.ordering.candidates import Candidates, Source, first_allowed
from services.ranking.ordering.interest import Interest, history_scores, interest_scores
from services.ranking.ordering.item_to_item import ItemToItemScores
from services.ranking.ordering.model import OrderingModel, trend_scores
from services.ranking.ordering.ranker import Ranker
from services.ranking.ordering.selection import Mask, mask_without

_LOOKS = [spec.EVENT_CODES["view"], spec.EVENT_CODES["click"]]
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class RankedList:
    """An ordered list, best first; all arrays of length n."""

    rows: Rows
    scores: Floats
    """The ranker's score, or what the list is ordered by where the ranker has no say; falls along the list until the
    shop's rules (price, diversity, new items, promotions) move items, which take their scores along."""
    interest: Floats
    """Interest score; NaN where interest had no say in the list."""
    sources: npt.NDArray[np.uint8]
    propensities: Floats | None = None
    """The chance with which exploration drew each item for its place, given those drawn before it, in (0, 1]; NaN where
    it was not drawn. None: nothing was."""

    def in_order(self, order: npt.NDArray[np.int64]) -> "RankedList":
        """The items at these places, in this order."""
        return self._at(order)

    def head(self, count: int) -> "RankedList":
        """The best `count`."""
        return self._at(slice(count))

    def tail(self, count: int) -> "RankedList":
        """All but the best `count`."""
        return self._at(slice(count, None))

    def without(self, rows: Rows) -> "RankedList":
        """The list without these rows."""
        return self._at(~np.isin(self.rows, rows))

    def marked(self, source: Source) -> "RankedList":
        """The list with another source for every item."""
        return replace(self, sources=_filled(self.rows, source))

    def filled_with(self, others: "RankedList") -> "RankedList":
        """This list and behind it another one of other rows, its scores moved so that they go on falling."""
        scores = others.scores
        if self.rows.size and scores.size:
            scores = scores + min(self.scores[-1] - scores[0], np.float32(0.0))
        return joined([self, replace(others, scores=scores)])

    def _at(self, places: npt.NDArray[Any] | slice) -> "RankedList":
        drawn = None if self.propensities is None else self.propensities[places]
        return RankedList(self.rows[places], self.scores[places], self.interest[places], self.sources[places], drawn)


def joined(lists: Sequence[RankedList]) -> RankedList:
    """The items of one list after another; at least one list."""
    propensities = None
    if any(one.propensities is not None for one in lists):
        unknown = (np.full(one.rows.size, np.nan, np.float32) for one in lists)
        drawn = [
            one.propensities if one.propensities is not None else nan for one, nan in zip(lists, unknown, strict=True)
        ]
        propensities = np.concatenate(drawn)
    return RankedList(
        np.concatenate([one.rows for one in lists]),
        np.concatenate([one.scores for one in lists]),
        np.concatenate([one.interest for one in lists]),
        np.concatenate([one.sources for one in lists]),
        propensities,
    )


def model_scores(
    model: OrderingModel, shopper: Shopper, interest: Interest, item_to_item: ItemToItemScores, rows: Rows
) -> ModelScores:
    """What every model says of the candidates int32 [n], for `encode`."""
    item_vectors = model.vectors[rows]
    return ModelScores(
        interest=interest_scores(interest, item_vectors),
        interest_fallback=interest.is_fallback,
        history=history_scores(model.vectors, shopper.history_rows, item_vectors),
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


def popular(model: OrderingModel, count: int, allowed: Mask | None = None) -> RankedList:
    """The most popular items, scored by ln(1 + event weight, half-life 28 days)."""
    rows = first_allowed(model.popular_rows, mask_without(allowed, NO_ROWS, model.item_count), count)
    scores = model.items.column("item_log_weight_28d")[rows]
    return RankedList(rows, scores, np.full_like(scores, np.nan), _filled(rows, Source.POPULAR))


def trending(model: OrderingModel, count: int, allowed: Mask | None = None) -> RankedList:
    """Items whose demand is rising, by `trend_scores`; only rising items."""
    rows = first_allowed(model.trending_rows, mask_without(allowed, NO_ROWS, model.item_count), count)
    return RankedList(
        rows, trend_scores(model.items, rows), np.full(rows.size, np.nan, np.float32), _filled(rows, Source.TRENDING)
    )


def others_you_may_like(
    model: OrderingModel, context_rows: Rows, count: int, allowed: Mask | None = None
) -> RankedList:
    """Items that those who had `context_rows` have too; behind them the items nearest to the context."""
    return _company(model, "lasting", context_rows, count, allowed)


def bought_together(model: OrderingModel, context_rows: Rows, count: int, allowed: Mask | None = None) -> RankedList:
    """Items that are bought in one basket with `context_rows`; behind them the items nearest to the context."""
    return _company(model, "basket", context_rows, count, allowed)


def _company(model: OrderingModel, table: str, context_rows: Rows, count: int, allowed: Mask | None) -> RankedList:
    """By the sum of their item-to-item weights; an item without company has a list as well, of what is similar."""
    allowed = mask_without(allowed, context_rows, model.item_count)
    together = model.item_to_item.ask_items(context_rows, table)
    rows = together.best(0, count, allowed)
    scores = together.of(rows)[:, 0]
    sources = _filled(rows, Source.BOUGHT_TOGETHER)
    found = RankedList(rows, scores, np.full(rows.size, np.nan, np.float32), sources)
    if rows.size == count:
        return found
    return found.filled_with(similar(model, context_rows, count - rows.size, mask_without(allowed, rows, allowed.size)))


def recently_viewed(shopper: Shopper, allowed: Mask | None = None) -> RankedList:
    """Items that the shopper viewed or clicked among their latest events, latest first, scored by minus the days since
    their last event."""
    seen = np.isin(shopper.history_event_types, _LOOKS)
    rows, times = shopper.history_rows[seen][::-1], shopper.history_times_us[seen][::-1]
    _, first = np.unique(rows, return_index=True)
    first = np.sort(first)
    rows, times = rows[first], times[first]
    if allowed is not None:
        kept = allowed[rows]
        rows, times = rows[kept], times[kept]
    scores = ((times - shopper.last_event_us) / _DAY_US).astype(np.float32)
    return RankedList(rows, scores, np.full(rows.size, np.nan, np.float32), _filled(rows, Source.RECENTLY_VIEWED))


def similar(model: OrderingModel, context_rows: Rows, count: int, allowed: Mask | None = None) -> RankedList:
    """Items nearest to the mean vector of `context_rows` (at least one), without those themselves, by dot product;
    where only the text of an item is known, which makes its vector short, its direction alone counts. Where nothing is
    known of `context_rows`, as of new items that have no vector yet, popular items."""
    allowed = mask_without(allowed, context_rows, model.item_count)
    query = model.vectors[context_rows].mean(axis=0, keepdims=True, dtype=np.float32)
    if not query.any():
        return popular(model, count, allowed)
    rows, scores = model.index.search_alike(query, count, allowed)
    found = rows[0] >= 0
    rows, scores = rows[0][found], scores[0][found]
    return RankedList(rows, scores, np.full_like(scores, np.nan), _filled(rows, Source.SIMILAR))


def buy_again(
    model: OrderingModel,
    ranker: Ranker,
    shopper: Shopper,
    interest: Interest,
    now_us: int,
    allowed: Mask | None = None,
) -> RankedList:
    """What the shopper has had before, in the ranker's order."""
    rows = shopper.repeat_rows if allowed is None else shopper.repeat_rows[allowed[shopper.repeat_rows]]
    again = Candidates(rows, _filled(rows, Source.BUY_AGAIN))
    return rank(model, ranker, shopper, again, interest, model.item_to_item.ask(shopper), now_us)


def _filled(rows: Rows, source: Source) -> npt.NDArray[np.uint8]:
    return np.full(rows.size, source, dtype=np.uint8)
