"""Ordered lists to the API's messages. Knows the messages, not how the lists came about."""

import math
from collections.abc import Sequence

from aisle.v1 import recommendation_service_pb2 as messages

from services.ranking.ordering import RankedList, Source
from services.ranking.pipeline import Trace
from services.ranking.release import Release

REASONS = {
    Source.REQUEST: "",
    Source.INTEREST: "Matches your interests",
    Source.BUY_AGAIN: "You have bought this before",
    Source.SIMILAR: "Similar to what you are looking at",
    Source.BOUGHT_TOGETHER: "Goes with what you have bought",
    Source.SAME_CATEGORY: "Popular in a category you shop",
    Source.RECENTLY_VIEWED: "You looked at this",
    Source.TRENDING: "In rising demand",
    Source.POPULAR: "Popular now",
}
"""One short English sentence per source, shown to shoppers as it is or replaced by the front end."""


def ranked_items(release: Release, ranked: RankedList) -> list[messages.RankedItem]:
    """One message per row, in order."""
    ids = release.model.items.vocabulary.names(ranked.rows)
    columns = zip(ids, ranked.scores.tolist(), ranked.interest.tolist(), ranked.sources.tolist(), strict=True)
    return [
        messages.RankedItem(
            item_id=item_id,
            score=score,
            interest_score=None if math.isnan(interest) else interest,
            source=messages.CandidateSource.Name(source),
            reasons=[REASONS[Source(source)]] if REASONS[Source(source)] else [],
        )
        for item_id, score, interest, source in columns
    ]


def recommend_response(
    release: Release, ranked: RankedList, missing_ids: Sequence[str], recommendation_id: str, trace: Trace
) -> messages.RecommendResponse:
    """The answer to Recommend."""
    return messages.RecommendResponse(
        results=ranked_items(release, ranked),
        recommendation_id=recommendation_id,
        missing_ids=missing_ids,
        bundle_version=release.version,
        stage_timings_ms=trace.timings_ms,
        degradations=[messages.Degradation.Name(step) for step in sorted(trace.degradations)],
    )


def rank_response(
    release: Release, ranked: RankedList, missing_ids: Sequence[str], recommendation_id: str, trace: Trace
) -> messages.RankResponse:
    """The answer to Rank: known items first, in order; unknown ones last, as they came."""
    unknown = [messages.RankedItem(item_id=name, source=messages.CANDIDATE_SOURCE_REQUEST) for name in missing_ids]
    return messages.RankResponse(
        results=[*ranked_items(release, ranked), *unknown],
        recommendation_id=recommendation_id,
        missing_ids=missing_ids,
        bundle_version=release.version,
        stage_timings_ms=trace.timings_ms,
        degradations=[messages.Degradation.Name(step) for step in sorted(trace.degradations)],
    )
