"""The recommended list from end to end, for callers that hold the index: what evaluation ranks and what serving
answers."""

from features.encode import Shopper
from features.vocab import Rows
from services.ranking.ordering.candidates import NO_ROWS, CandidateLimits, best_over_interests, gather, near_query
from services.ranking.ordering.interest import Interest
from services.ranking.ordering.model import OrderingModel
from services.ranking.ordering.rank import RankedList, popular, rank
from services.ranking.ordering.ranker import Ranker
from services.retrieval.index import Index


def nearest(
    index: Index, shopper: Shopper, interest: Interest, limits: CandidateLimits, excluded_rows: Rows = NO_ROWS
) -> Rows:
    """Rows nearest to any of the shopper's interests, best first; none for an interest of zeros."""
    if not interest.vectors.any():
        return NO_ROWS
    count, left_out = near_query(shopper, limits, excluded_rows)
    return best_over_interests(*index.search(interest.vectors, count, left_out), count)


def recommend(
    model: OrderingModel,
    ranker: Ranker,
    shopper: Shopper,
    interest: Interest,
    limits: CandidateLimits,
    now_us: int,
    excluded_rows: Rows = NO_ROWS,
) -> RankedList:
    """Gathered candidates in the ranker's order, or the popular list for a shopper nothing is known of."""
    if not shopper.is_known:
        return popular(model, limits.total, excluded_rows)
    near_rows = nearest(model.index, shopper, interest, limits, excluded_rows)
    item_to_item = model.item_to_item.ask(shopper)
    candidates = gather(model, shopper, item_to_item, near_rows, limits, excluded_rows)
    return rank(model, ranker, shopper, candidates, interest, item_to_item, now_us)
