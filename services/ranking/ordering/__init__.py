"""How a list is ordered: the one implementation that serving answers with and that training evaluates.

Pure functions over arrays: candidates → matrix → ranker → order. Knows no network, no clock and no shopper id.
"""

from features.vocab import NO_ROWS
from services.ranking.ordering.candidates import (
    CandidateLimits,
    Candidates,
    Proposals,
    Source,
    best_over_interests,
    gather,
    near_query,
    propose,
    requested,
)
from services.ranking.ordering.diversity import Diversity, diversified
from services.ranking.ordering.explain import Explanations, alike, explain
from services.ranking.ordering.exploration import drawn
from services.ranking.ordering.extended import extended
from services.ranking.ordering.facets import AttributeRule, Conditions, Facets, kept, wanted
from services.ranking.ordering.interest import Interest, fallback_interest, interest_scores
from services.ranking.ordering.item_to_item import ItemToItem, ItemToItemScores
from services.ranking.ordering.model import OrderingModel, open_model, popular_rows, tie_keys
from services.ranking.ordering.new_items import has_new_items, new_alike, new_of_taste, with_new_items
from services.ranking.ordering.price import PriceRerank, price_reranked
from services.ranking.ordering.promotions import Promoted, with_promotions
from services.ranking.ordering.rank import (
    RankedList,
    bought_together,
    buy_again,
    model_scores,
    others_you_may_like,
    popular,
    rank,
    recently_viewed,
    similar,
    trending,
)
from services.ranking.ordering.ranker import Ranker, Rankers
from services.ranking.ordering.reach import Remembered, nearest_in_bundle
from services.ranking.ordering.recommend import nearest, recommend
from services.ranking.ordering.selection import EVERYTHING, Mask, Selection, mask_without
from services.ranking.ordering.session import in_session

__all__ = [
    "EVERYTHING",
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
    "Proposals",
    "RankedList",
    "Ranker",
    "Rankers",
    "Remembered",
    "Selection",
    "Source",
    "alike",
    "best_over_interests",
    "bought_together",
    "buy_again",
    "diversified",
    "drawn",
    "explain",
    "extended",
    "fallback_interest",
    "gather",
    "has_new_items",
    "in_session",
    "interest_scores",
    "kept",
    "mask_without",
    "model_scores",
    "near_query",
    "nearest",
    "nearest_in_bundle",
    "new_alike",
    "new_of_taste",
    "open_model",
    "others_you_may_like",
    "popular",
    "popular_rows",
    "price_reranked",
    "propose",
    "rank",
    "recently_viewed",
    "recommend",
    "requested",
    "similar",
    "tie_keys",
    "trending",
    "wanted",
    "with_new_items",
    "with_promotions",
]
