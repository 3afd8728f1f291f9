"""Promotions, exploration and explanations over the API, on the shop whose right answers can be worked out on paper.

Every field of a promotion is asked for and every field of an explanation has an answer, so that a new one fails until
it is.
"""

import itertools
from typing import Any

import pytest
from aisle.v1 import recommendation_service_pb2 as messages

from tests.integration.known_service import (
    PINNED,
    SPRING,
    SUMMER,
    explored,
    fields_of,
    fields_of_type,
    names_of,
    pages_of,
    serving,
)
from tests.integration.known_shop import (
    APPEAL,
    DAY_US,
    DUE,
    DUE_AGAIN,
    NAMES,
    NOW_US,
    SHOWN,
    by_appeal,
    release,
)
from tests.integration.tiny_service import RunningService

DAIRY = [name for name in NAMES if name.startswith("dairy")]


# Promotions


def test_every_field_of_a_promotion_is_asked_for() -> None:
    asked = fields_of(messages.RecommendRequest(promotions=[SPRING, PINNED, SUMMER]))
    outside = {f"promotions.filter.{name}" for name in fields_of_type(messages.Filter.DESCRIPTOR)}
    expected = {f"promotions.{name}" for name in fields_of_type(messages.Promotion.DESCRIPTOR)}
    assert asked - outside == expected - outside


async def test_a_promotion_has_its_share_of_every_page_in_the_middle_of_equal_parts(known: RunningService) -> None:
    first, second, last = await pages_of(known, "fan", 10, promotions=[SPRING])
    assert first == [*DAIRY[:2], "pantry-0@spring", *DAIRY[2:], "pantry-1@spring", "bakery-0", "bakery-1"]
    assert [place for place, name in enumerate(second) if "@" in name] == [2, 7]
    assert second[2] == "pantry-2@spring"
    assert last == ["cellar-4", "pantry-4@spring", "pantry-5@spring"]


async def test_the_best_item_of_a_promotion_stands_where_it_is_pinned(known: RunningService) -> None:
    first, *_ = await pages_of(known, "fan", 10, promotions=[PINNED])
    assert first[:6] == [*DAIRY[:3], "pantry-0@pinned", *DAIRY[3:4], "pantry-2@pinned"]
    assert sum("@" in name for name in first) == 2


async def test_a_promotion_keeps_out_what_its_filter_says_was_bought_lately(known: RunningService) -> None:
    dairy: dict[str, Any] = {"name": "dairy", "promoted_percent": 100, "filter": {"include_categories": ["dairy"]}}
    [all_of_it, *_] = await pages_of(known, "regular", 10, promotions=[dairy])
    assert "dairy-2@dairy" in all_of_it
    dairy["filter"]["exclude_purchased_within_days"] = 50
    [without, *_] = await pages_of(known, "regular", 10, promotions=[dairy])
    assert "dairy-2@dairy" not in without
    assert sum("@dairy" in name for name in without) == sum("@dairy" in name for name in all_of_it) - 1


async def test_several_promotions_share_a_page_and_the_earlier_has_what_both_want(known: RunningService) -> None:
    first, *rest = await pages_of(known, "fan", 10, promotions=[PINNED, SUMMER])
    promoted = {place: name for place, name in enumerate(first) if "@" in name}
    assert promoted == {2: "pantry-2@pinned", 3: "pantry-0@pinned", 7: "cellar-4@summer"}
    assert not any("@summer" in name for page in rest for name in page)
    kept = {"exclude_item_ids": ["cellar-4"]}
    first, *_ = await pages_of(
        known, "fan", 10, promotions=[SUMMER, SPRING], filter=kept, context_item_ids=["pantry-1"]
    )
    assert [name for name in first if "@" in name] == ["pantry-0@summer", "pantry-2@spring", "pantry-3@spring"]


# Explanations


def explained(score: float, due: float, *evidence: str) -> messages.Explanation:
    """The ranker adds appeal and what being due is worth to the mean of what it has learned."""
    is_due = due > 1.0
    appeal = score - 100.0 * is_due
    parts = [
        {"feature_name": DUE, "value": due, "contribution": 50.0 if is_due else -50.0},
        {"feature_name": APPEAL, "value": appeal, "contribution": appeal - 12.5},
    ]
    return messages.Explanation(contributions=parts, baseline_score=62.5, evidence_item_ids=evidence)


EXPLANATIONS = {
    "bakery-3": explained(115.0, 40 / 30, "pantry-4", "pantry-2", "dairy-1"),
    "dairy-2": explained(22.0, 1 / 30, "dairy-1", "pantry-4", "pantry-2"),
    "pantry-5": explained(1.0, -1.0, "pantry-4", "pantry-2", "bakery-3"),
}
"""Item to why "regular" is shown it; evidence of which nothing is alike has the latest first."""
EXPLANATIONS["pantry-5"].evidence_item_ids[2] = "dairy-1"


def test_every_field_of_an_explanation_has_an_answer() -> None:
    for expected in EXPLANATIONS.values():
        assert fields_of(expected) == fields_of_type(messages.Explanation.DESCRIPTOR)


async def test_an_explanation_names_what_the_ranker_looks_at_and_sums_to_the_score(known: RunningService) -> None:
    home = await known.recommended_for("regular", explain=True)
    asked = messages.RankRequest(user_id="regular", item_ids=sorted(EXPLANATIONS), explain=True)
    for reply in (home, await known.client.rank(asked)):
        items = {result.item_id: result for result in reply.results}
        for name, expected in EXPLANATIONS.items():
            found, score = items[name].explanation, items[name].score
            for part, wanted in zip(found.contributions[:2], expected.contributions, strict=True):
                assert part.feature_name == wanted.feature_name
                assert part.value == pytest.approx(wanted.value, abs=1e-5)
                assert part.contribution == pytest.approx(wanted.contribution, abs=1e-6)
            assert found.contributions[-1].feature_name == "other_features"
            assert all(abs(part.contribution) < 1e-6 for part in found.contributions[2:])
            assert found.baseline_score == pytest.approx(expected.baseline_score)
            assert found.evidence_item_ids == expected.evidence_item_ids
            assert score == pytest.approx(62.5 + sum(part.contribution for part in expected.contributions))
            assert dict(items[name].stage_scores) == pytest.approx({"ranker": score})


async def test_time_does_not_pass_within_a_reply() -> None:
    """Every look at the clock is twenty days later: cellar-2 is due soon, and must not become so in between."""
    instants = itertools.count(NOW_US, 20 * DAY_US)
    async with serving(release(), now_us=lambda: next(instants)) as service:
        for _ in range(4):
            reply = await service.recommended_for("regular", explain=True, page_size=5)
            for item in reply.results:
                total = sum(part.contribution for part in item.explanation.contributions)
                assert item.explanation.baseline_score + total == pytest.approx(item.score)


# Exploration

LITTLE_KNOWN = {name for name in SHOWN if name.endswith(("-4", "-5"))}


@pytest.mark.parametrize(("weight", "count"), [(0.0, 0), (0.2, 2), (0.5, 5)])
async def test_exploration_has_its_share_of_a_page_and_the_rest_keeps_its_order(
    known: RunningService, weight: float, count: int
) -> None:
    asked: dict[str, Any] = {"exploration_weight": weight, "page_size": 10}
    first = reply = await known.recommended_for("regular", **asked)
    tried = explored(first)
    while reply.next_page_token:
        reply = await known.recommended_for("regular", page_token=reply.next_page_token, **asked)
        tried += explored(reply)
    assert len(explored(first)) == count
    assert set(tried) <= LITTLE_KNOWN
    ordinary = [name for name in names_of(first) if name not in tried]
    assert ordinary == [name for name in by_appeal(SHOWN, DUE_AGAIN) if name not in tried][: 10 - count]
