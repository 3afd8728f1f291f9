"""Which items come into question for a shopper, and who proposed each.

Sources, in order of precedence: what they buy again, what keeps company with it, what is near their interests, what
leads their categories, what is popular. An item proposed twice keeps its first source. Rows that are not allowed never
enter: each source skips them itself, the index inside its search.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from features.encode import Floats, Shopper
from features.vocab import NO_ROWS, Rows
from services.ranking.ordering.item_to_item import ItemToItemScores
from services.ranking.ordering.model import OrderingModel
from services.ranking.ordering.selection import Mask, mask_without


class Source(IntEnum):
    """Who proposed a candidate; names and numbers are those of the API's CandidateSource."""

    REQUEST = 1
    INTEREST = 2
    BUY_AGAIN = 3
    SIMILAR = 4
    BOUGHT_TOGETHER = 5
    SAME_CATEGORY = 6
    RECENTLY_VIEWED = 7
    TRENDING = 8
    POPULAR = 9
    NEW_ITEM = 10
    PROMOTION = 11
    EXPLORATION = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateLimits:
    """How many candidates each source may propose; the total is what the ranker sees."""

    total: int = 300
    buy_again: int = 120
    bought_together: int = 70
    """By each of `spec.I2I_FEATURES`."""
    category: int = 20
    """Spread over the shopper's categories, `per_category` each."""
    per_category: int = 6
    popular: int = 40

    def __post_init__(self) -> None:
        """Refuse limits that leave the index no room."""
        each = (self.buy_again, self.bought_together, self.category, self.per_category, self.popular)
        if min(each) < 0 or self.total < 1:
            raise ValueError(f"candidate limits must not be negative: {self}")


@dataclass(frozen=True, slots=True)
class Candidates:
    """Distinct rows with their sources, both of length n."""

    rows: Rows
    sources: npt.NDArray[np.uint8]


def requested(rows: Rows) -> Candidates:
    """Candidates the caller named; duplicates keep their first place."""
    return _merge([(Source.REQUEST, rows)], rows.size)


@dataclass(frozen=True, slots=True)
class Proposals:
    """What the sources that need no interest vector propose, int32 each, best first."""

    again: Rows
    together: Rows
    leaders: Rows
    popular: Rows


def propose(
    model: OrderingModel,
    shopper: Shopper,
    item_to_item: ItemToItemScores,
    limits: CandidateLimits,
    allowed: Mask | None = None,
) -> Proposals:
    """Ask the sources that need no interest vector: a server does so while the interest tower works.

    Args:
        model: The bundle in memory.
        shopper: Resolved against the same bundle.
        item_to_item: The shopper's.
        limits: How many each source may propose.
        allowed: bool [N], which rows may appear. None: all.
    """
    allowed = mask_without(allowed, NO_ROWS, model.item_count)
    not_had = mask_without(allowed, shopper.repeat_rows, model.item_count)
    return Proposals(
        again=first_allowed(shopper.repeat_rows, allowed, limits.buy_again),
        together=_bought_together(item_to_item, not_had, limits.bought_together),
        leaders=_category_leaders(model, shopper, allowed, limits),
        popular=first_allowed(model.popular_rows, allowed, limits.popular),
    )


def gather(proposals: Proposals, near_rows: Rows, limits: CandidateLimits) -> Candidates:
    """Put the proposals of all sources together.

    Args:
        proposals: From `propose`.
        near_rows: int32, from `nearest` with the same shopper and mask; empty when there is no index.
        limits: How many each source may propose.

    Returns:
        At most `limits.total` candidates; fewer when index and sources together have no more.
    """
    again, together, leaders, popular = proposals.again, proposals.together, proposals.leaders, proposals.popular
    room = max(limits.total - again.size - together.size - leaders.size - popular.size, 0)
    return _merge(
        [
            (Source.BUY_AGAIN, again),
            (Source.BOUGHT_TOGETHER, together),
            (Source.INTEREST, near_rows[:room]),
            (Source.SAME_CATEGORY, leaders),
            (Source.POPULAR, popular),
            (Source.INTEREST, near_rows[room:]),  # in the places that sources left by proposing the same item
        ],
        limits.total,
    )


def near_query(
    model: OrderingModel, shopper: Shopper, limits: CandidateLimits, allowed: Mask | None = None
) -> tuple[int, Mask]:
    """What to ask the index for: how many rows, and out of which (without what buying again already proposes)."""
    return limits.total, mask_without(allowed, shopper.repeat_rows, model.item_count)


def best_over_interests(rows: Rows, scores: Floats, count: int) -> Rows:
    """The best `count` distinct rows of a search with K queries, best first, without FAISS's -1.

    Args:
        rows: int32 [K, k].
        scores: float32 [K, k].
        count: How many to keep.
    """
    if len(rows) == 1:  # in order and distinct as it is
        best = rows.ravel()
        return best[best >= 0][:count]
    best_first = rows.ravel()[np.argsort(-scores.ravel(), kind="stable")]
    best_first = best_first[best_first >= 0]
    _, first = np.unique(best_first, return_index=True)
    return best_first[np.sort(first)][:count]


def _bought_together(scores: ItemToItemScores, allowed: Mask, count: int) -> Rows:
    """The best `count` rows of each question to each table, without duplicates."""
    if not count or not scores.tables.rows.size:
        return NO_ROWS
    found = np.concatenate([scores.best(feature, count, allowed) for feature in range(len(scores.sums))])
    _, first = np.unique(found, return_index=True)
    return found[np.sort(first)]


def _category_leaders(model: OrderingModel, shopper: Shopper, allowed: Mask, limits: CandidateLimits) -> Rows:
    """Most popular rows of the shopper's heaviest categories, heaviest category first."""
    affinity = shopper.leaf_affinity[:-1]
    shopped = np.flatnonzero(affinity)
    if limits.category == 0 or limits.per_category == 0 or not shopped.size:
        return NO_ROWS
    count = -(-limits.category // limits.per_category)
    heaviest = shopped[np.argsort(-affinity[shopped], kind="stable")[:count]]
    leaders = [first_allowed(model.popular_in_leaf[leaf], allowed, limits.per_category) for leaf in heaviest]
    return np.concatenate(leaders)[: limits.category]


def first_allowed(rows: Rows, allowed: Mask, count: int) -> Rows:
    """The first `count` allowed rows, in order; looks no further than it must."""
    read = 4 * count
    kept = rows[:read][allowed[rows[:read]]]
    while kept.size < count and read < rows.size:
        read *= 4
        kept = rows[:read][allowed[rows[:read]]]
    return kept[:count]


def _merge(sources: Iterable[tuple[Source, Rows]], limit: int) -> Candidates:
    parts = list(sources)
    rows = np.concatenate([rows for _, rows in parts]).astype(np.int32)
    codes = np.repeat(np.array([source for source, _ in parts], dtype=np.uint8), [rows.size for _, rows in parts])
    _, first = np.unique(rows, return_index=True)
    keep = np.sort(first)[:limit]
    return Candidates(rows[keep], codes[keep])
