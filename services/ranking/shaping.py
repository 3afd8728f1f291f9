"""The shop's taste in lists: how much dearer items move up, and how much alike neighbours may be."""

from dataclasses import dataclass

from aisle.v1 import recommendation_service_pb2 as messages

from services.ranking.ordering import Diversity, PriceRerank, RankedList, diversified, price_reranked
from services.ranking.pipeline import Pipeline
from services.ranking.selecting import shopper_id
from services.ranking.trace import Trace

Request = messages.RecommendRequest | messages.RankRequest


@dataclass(frozen=True, slots=True)
class Taste:
    """What holds where a request does not say."""

    diversity: Diversity = Diversity.NONE
    price: PriceRerank = PriceRerank.NONE


async def shaped(pipeline: Pipeline, request: Request, ranked: RankedList, taste: Taste, trace: Trace) -> RankedList:
    """The list by score and price, then varied as much as is asked for."""
    price = PriceRerank(request.price_rerank_level or taste.price)
    diversity = Diversity(request.diversity_level or taste.diversity)
    if price == PriceRerank.NONE and diversity == Diversity.NONE:
        return ranked
    model = pipeline.release.model
    history_rows = (await pipeline.shopper(shopper_id(request), trace)).history_rows
    async with pipeline.computing(trace, "shaping"):
        ranked = price_reranked(ranked, model.facets.price, price)
        return diversified(ranked, model.vectors, model.items.leaf, diversity, history_rows)
