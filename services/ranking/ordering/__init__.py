"""How a list is ordered: the one implementation that serving answers with and that training evaluates.

Pure functions over arrays: candidates → matrix → ranker → order. Knows no network, no clock and no shopper id.
"""

from services.ranking.ordering.candidates import (
    NO_ROWS,
    CandidateLimits,
    Candidates,
    Source,
    best_over_interests,
    gather,
    near_query,
    requested,
)
from services.ranking.ordering.diversity import Diversity, diversified
from services.ranking.ordering.explain import Explanations, alike, explain
from services.ranking.ordering.facets import AttributeRule, Conditions, Facets, Mask, kept, wanted
from services.ranking.ordering.interest import Interest, fallback_interest, interest_scores
from services.ranking.ordering.item_to_item import ItemToItem, ItemToItemScores
from services.ranking.ordering.model import OrderingModel, open_model, popular_rows, tie_keys
from services.ranking.ordering.price import PriceRerank, price_reranked
from services.ranking.ordering.promotions import Promoted, with_promotions
from services.ranking.ordering.rank import (
    RankedList,
    bought_together,
    buy_again,
    little_known,
    model_scores,
    others_you_may_like,
    popular,
    rank,
    recently_viewed,
    similar,
    trending,
)
from services.ranking.ordering.ranker import Ranker, Rankers
from services.ranking.ordering.recommend import nearest, recommend
from services.ranking.ordering.session import in_session

__all__ = [
    "NO_ROWS",
    "AttributeRule",
    "CandidateLimits",
    "Candidates",
    "Conditions",
    "Diversity",
    "Explanations",
    "Facets",
    "Interest",
    "ItemToItem",
    "ItemToItemScores",
    "Mask",
    "OrderingModel",
    "PriceRerank",
    "Promoted",
    "RankedList",
    "Ranker",
    "Rankers",
    "Source",
    "alike",
    "best_over_interests",
    "bought_together",
    "buy_again",
    "diversified",
    "explain",
    "fallback_interest",
    "gather",
    "in_session",
    "interest_scores",
    "kept",
    "little_known",
    "model_scores",
    "near_query",
    "nearest",
    "open_model",
    "others_you_may_like",
    "popular",
    "popular_rows",
    "price_reranked",
    "rank",
    "recently_viewed",
    "recommend",
    "requested",
    "similar",
    "tie_keys",
    "trending",
    "wanted",
    "with_promotions",
]
