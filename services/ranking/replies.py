"""Ordered lists to the API's messages. Knows the messages, not how the lists came about."""

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from aisle.v1 import recommendation_service_pb2 as messages

from features import spec
from features.vocab import Rows
from services.ranking.ordering import Explanations, RankedList, Source
from services.ranking.release import Release
from services.ranking.trace import Trace

CONTRIBUTIONS_MAX = 10
OTHER_FEATURES = "other_features"
"""What all features add that are not named, so that contributions and baseline sum to the score."""

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
    Source.NEW_ITEM: "New, and close to your taste",
    Source.PROMOTION: "",
    Source.EXPLORATION: "New to many",
}
"""One short English sentence per source, shown to shoppers as it is or replaced by the front end."""

_Reply = TypeVar("_Reply", messages.RecommendResponse, messages.RankResponse)
_REASON_LISTS = {int(source): [reason] if reason else [] for source, reason in REASONS.items()}


def ranked_items(release: Release, ranked: RankedList) -> list[messages.RankedItem]:
    """One message per row, in order."""
    ids = release.model.items.vocabulary.names(ranked.rows)
    drawn = [math.nan] * len(ids) if ranked.propensities is None else ranked.propensities.tolist()
    columns = zip(ids, ranked.scores.tolist(), ranked.interest.tolist(), ranked.sources.tolist(), drawn, strict=True)
    return [
        messages.RankedItem(
            item_id=item_id,
            score=score,
            interest_score=None if math.isnan(interest) else interest,
            source=messages.CandidateSource.Name(source),
            reasons=_REASON_LISTS[source],
            propensity=None if math.isnan(propensity) else propensity,
        )
        for item_id, score, interest, source, propensity in columns
    ]


def add_explanations(
    release: Release, items: Iterable[messages.RankedItem], rows: Rows, explained: Explanations | None
) -> None:
    """Fill in `stage_scores` of all items, and `explanation` of those of `rows`, explained in that order."""
    names, place = spec.MATRIX_COLUMNS, {int(row): number for number, row in enumerate(rows)}
    vocabulary = release.model.items.vocabulary
    for item in items:
        [row] = vocabulary.rows([item.item_id])
        number = place.get(int(row))
        if number is None or explained is None:
            item.stage_scores["list"] = item.score
            continue
        added, values = explained.contributions[number], explained.values[number]
        order = np.argsort(-np.abs(added), kind="stable")[: CONTRIBUTIONS_MAX - 1]
        item.stage_scores["ranker"] = explained.scores[number]
        item.explanation.baseline_score = explained.baselines[number]
        for feature in order:
            item.explanation.contributions.add(
                feature_name=names[feature], value=values[feature], contribution=added[feature]
            )
        item.explanation.contributions.add(feature_name=OTHER_FEATURES, contribution=added.sum() - added[order].sum())
        evidence = explained.evidence[number]
        item.explanation.evidence_item_ids.extend(vocabulary.names(evidence[evidence >= 0]))


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
        degradations=_names(trace),
    )


def tell_degradations(reply: _Reply, trace: Trace) -> None:
    """Say of a reply what has gone wrong up to now."""
    reply.ClearField("degradations")
    reply.MergeFrom(type(reply)(degradations=_names(trace)))


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
        degradations=_names(trace),
    )


def _names(trace: Trace) -> list[str]:
    return [messages.Degradation.Name(step) for step in sorted(trace.degradations)]
