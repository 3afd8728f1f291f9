"""The gate's rules: a candidate is refused for what it costs, by name and with both values, and for nothing else."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from features.vocab import Rows
from tests.unit.judged_shop import FACTS, HALVES, QUERIES, SHOPPERS, N, Shopper, listing, rows
from training.judgement import judge
from training.shopper_metrics import ItemFacts
from training.slices import Grouping
from training.verdict import CANDIDATE, SERVING, Finding, GateLimits, Verdict, reason_of, weigh

GOOD = {"all": listing(0, 1, 5), "new": listing(1, 5)}
LIMITS = GateLimits(resamples=2_000)


def weighed(
    candidate: dict[str, list[Rows]],
    serving: dict[str, list[Rows]] = GOOD,
    limits: GateLimits = LIMITS,
    groupings: Sequence[Grouping] = (HALVES,),
    facts: ItemFacts = FACTS,
) -> Verdict:
    """The verdict on two systems' lists of the eighty shoppers."""
    lists = {task: {CANDIDATE: candidate[task], SERVING: serving[task]} for task in ("all", "new")}
    return weigh(judge(lists, QUERIES, facts, seed=0, groupings=groupings, ours=CANDIDATE), limits, seed=0)


def named(verdict: Verdict) -> set[tuple[str, str, str]]:
    """Check, metric and task of every refusal."""
    return {(found.check, found.metric, found.task) for found in verdict.refusals}


def only(verdict: Verdict, check: str) -> Finding:
    """The one refusal of a check."""
    (found,) = [found for found in verdict.refusals if found.check == check]
    return found


def test_an_equal_candidate_passes_with_every_figure_on_record() -> None:
    verdict = weighed(GOOD)
    assert verdict.passed
    assert {found.check for found in verdict.findings} == {"accuracy", "coverage", "exposure", "group"}
    assert all(found.candidate == found.serving for found in verdict.findings)
    assert reason_of(verdict, None) == f"gate: passed {len(verdict.findings)} checks"


def test_a_better_candidate_passes() -> None:
    assert weighed(GOOD, serving={"all": listing(0, 7, 8), "new": listing(5, 1)}).passed


def test_a_candidate_worse_beyond_its_interval_is_refused_by_metric_task_and_both_values() -> None:
    verdict = weighed({**GOOD, "all": listing(0, 7, 5)})
    assert {("accuracy", "recall@20", "all"), ("accuracy", "ndcg@20", "all")} <= named(verdict)
    assert not any(task == "new" for _, _, task in named(verdict))
    text = next(str(found) for found in verdict.refusals if found.metric == "recall@20" and found.check == "accuracy")
    assert text == (
        "accuracy: recall@20 on all items: candidate 0.5000, serving 1.0000, difference within [-0.5000, -0.5000]; "
        f"must be no worse beyond that interval ({SHOPPERS} shoppers)"
    )


def test_an_order_that_is_worse_at_equal_recall_is_refused_by_ndcg_alone() -> None:
    assert named(weighed({**GOOD, "all": listing(5, 0, 1)})) == {("accuracy", "ndcg@20", "all")}


def test_a_candidate_worse_within_its_interval_passes() -> None:
    """Two of eighty shoppers lose half of what they had, one gains as much."""
    swayed = listing(0, 1, 5)
    serving = listing(0, 1, 5)
    for shopper in (1, 2):
        swayed[shopper] = rows(shopper, shopper + 7)
    serving[3] = rows(3, 10)
    assert weighed({**GOOD, "all": swayed}, {**GOOD, "all": serving}).passed


def test_lists_of_a_few_items_only_are_refused_for_coverage() -> None:
    """Everybody is shown the same five items behind the right ones' places; accuracy is left out of it."""
    same = [rows(0, 1, 2, 3, 4)] * SHOPPERS
    limits = GateLimits(resamples=2_000, accuracy=(), group_margin=1.0)
    verdict = weighed({"all": same, "new": same}, limits=limits)
    assert ("coverage", "coverage@20", "all") in named(verdict)
    coverages = [found.candidate for found in verdict.refusals if found.check == "coverage"]
    assert coverages == pytest.approx([5 / N] * 2)


def flagged_lists(extra: int) -> dict[str, list[Rows]]:
    """GOOD with the flagged item (row 0) shown at the end to so many more shoppers."""
    found = [
        np.append(held, rows(0)) if 0 not in held and place < extra else held for place, held in enumerate(GOOD["all"])
    ]
    return {**GOOD, "all": found}


def test_more_of_a_flagged_item_than_the_limit_is_refused_for_that_alone() -> None:
    verdict = weighed(flagged_lists(30))
    assert named(verdict) == {("exposure", "flagged@20", "all")}
    found = only(verdict, "exposure")
    assert found.candidate > 1.25 * found.serving
    assert "exposure: flagged@20 on all items" in str(found)


def test_a_little_more_of_a_flagged_item_passes_and_not_where_the_shop_caps_it() -> None:
    assert weighed(flagged_lists(3)).passed
    capped = GateLimits(resamples=2_000, flagged_at_most=0.01)
    assert named(weighed(GOOD, limits=capped)) == {("exposure", "flagged@20", task) for task in ("all", "new")}


def test_a_group_that_pays_for_everybody_elses_gain_is_refused_by_its_name() -> None:
    """The twenty of the smaller group are too few to be judged; of forty, half of what they had is gone."""
    forty = Grouping("half", ["winners", "payers"], np.array([0] * 40 + [1] * 40))
    candidate = [*listing(0, 1, 5)[:40], *listing(0, 7, 5)[40:]]
    serving = [*listing(7, 8, 5)[:40], *listing(0, 1, 5)[40:]]
    verdict = weighed({**GOOD, "all": candidate}, {**GOOD, "all": serving}, groupings=[forty])
    assert named(verdict) == {("group", "recall@20", "all")}
    assert only(verdict, "group").group == "half: payers"
    assert weighed({**GOOD, "all": candidate}, {**GOOD, "all": serving}).passed


def test_a_group_that_loses_less_than_the_margin_passes() -> None:
    whole = Grouping("everybody", ["all of them"], np.zeros(SHOPPERS, dtype=np.int64))
    candidate = [held if place % 20 else held[1:] for place, held in enumerate(GOOD["all"])]
    limits = GateLimits(resamples=2_000, accuracy=(), group_margin=0.03)
    assert weighed({**GOOD, "all": candidate}, limits=limits, groupings=[whole]).passed
    strict = GateLimits(resamples=2_000, accuracy=(), group_margin=0.0, tail=0.05)
    assert named(weighed({**GOOD, "all": candidate}, limits=strict, groupings=[whole])) == {
        ("group", "recall@20", "all")
    }


def test_a_task_that_too_few_shoppers_ask_is_refused_as_unmeasured() -> None:
    verdict = weighed(GOOD, limits=GateLimits(resamples=100, min_shoppers=SHOPPERS + 1))
    assert ("accuracy", "recall@20", "all") in named(verdict)
    assert "must be measured on 81 shoppers or more (80 shoppers)" in str(verdict.refusals[0])
    assert verdict.as_json()["findings"][0]["candidate"] is None


def of_lists(free: Sequence[Shopper], taken: Sequence[Shopper], drawn: dict[str, list[Rows]]) -> Verdict:
    """The verdict where lists led to events: shoppers as free events and as draws tell of them."""
    same = {task: {CANDIDATE: lists, SERVING: lists} for task, lists in GOOD.items()}
    free_ones = judge(same, free, FACTS, seed=0, ours=CANDIDATE)
    return weigh(free_ones.beside(judge({"drawn": drawn}, taken, FACTS, seed=0, ours=CANDIDATE)), LIMITS, seed=0)


NOTHING = [replace(query, truth=rows()) for query in QUERIES]
EQUAL = {CANDIDATE: GOOD["all"], SERVING: GOOD["all"]}


@pytest.mark.parametrize(("free", "taken"), [(QUERIES, NOTHING), (NOTHING, QUERIES)])
def test_where_lists_led_to_events_either_kind_of_them_is_enough(free: list[Shopper], taken: list[Shopper]) -> None:
    assert of_lists(free, taken, EQUAL).passed


def test_neither_kind_is_refused_with_what_would_help() -> None:
    verdict = of_lists(NOTHING, NOTHING, EQUAL)
    assert {(metric, task) for _, metric, task in named(verdict)} == {
        ("recall@20", "all"),
        ("ndcg@20", "all"),
        ("recall@20", "new"),
        ("ndcg@20", "new"),
        ("ndcg@20", "drawn"),
    }
    assert all(str(found).endswith("explore more (0 shoppers)") for found in verdict.refusals)


def test_a_worse_order_of_what_was_drawn_is_refused_whatever_the_free_events_say() -> None:
    worse = {CANDIDATE: listing(5, 0, 1), SERVING: GOOD["all"]}
    assert named(of_lists(QUERIES, QUERIES, worse)) == {("accuracy", "ndcg@20", "drawn")}


def test_the_same_seed_gives_the_same_verdict_as_plain_json() -> None:
    first, again = (weighed({**GOOD, "all": listing(0, 7, 5)}).as_json() for _ in range(2))
    assert first == again == json.loads(json.dumps(first))
    assert first["passed"] is False
    assert len(first["reasons"]) == sum(found["refused"] for found in first["findings"])


def test_an_override_is_logged_with_its_reason_and_what_was_refused() -> None:
    verdict = weighed({**GOOD, "all": listing(5, 0, 1)})
    reason = reason_of(verdict, "a recall of the old model, ticket 17")
    assert reason.startswith("gate overridden: a recall of the old model, ticket 17; refused for accuracy: ndcg@20")


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"coverage_share": 1.5}, "coverage_share must be within 0 and 1, got 1.5"),
        ({"tail": 0.5}, "tail must be within 0 and 0.5, got 0.5"),
        ({"flagged_ratio": 0.9}, "flagged_ratio below 1 or flagged_rise below 0: 0.9"),
    ],
)
def test_a_limit_out_of_range_is_named(setting: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        GateLimits(**setting)  # type: ignore[arg-type]
