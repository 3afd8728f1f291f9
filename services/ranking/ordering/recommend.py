"""The recommended list from end to end, for callers that hold the index: what evaluation ranks and what serving
answers."""

from features.encode import Shopper
from features.vocab import NO_ROWS, Rows
from services.ranking.ordering.candidates import CandidateLimits, best_over_interests, gather, near_query, propose
from services.ranking.ordering.interest import Interest
from services.ranking.ordering.model import OrderingModel
from services.ranking.ordering.rank import RankedList, popular, rank
from services.ranking.ordering.ranker import Ranker
from services.ranking.ordering.selection import Mask


def nearest(
    model: OrderingModel,
    shopper: Shopper,
    interest: Interest,
    limits: CandidateLimits,
    allowed: Mask | None = None,
) -> Rows:
    """Rows nearest to any of the shopper's interests, best first; none for an interest of zeros."""
    if not interest.vectors.any():
        return NO_ROWS
    count, fresh = near_query(model, shopper, limits, allowed)
    return best_over_interests(*model.index.search(interest.vectors, count, fresh), count)


def recommend(
    model: OrderingModel,
    ranker: Ranker,
    shopper: Shopper,
    interest: Interest,
    limits: CandidateLimits,
    now_us: int,
    allowed: Mask | None = None,
) -> RankedList:
    """Gathered candidates in the ranker's order, or the popular list for a shopper nothing is known of."""
    if not shopper.is_known:
        return popular(model, limits.total, allowed)
    near_rows = nearest(model, shopper, interest, limits, allowed)
    item_to_item = model.item_to_item.ask(shopper)
    candidates = gather(propose(model, shopper, item_to_item, limits, allowed), near_rows, limits)
    return rank(model, ranker, shopper, candidates, interest, item_to_item, now_us)
