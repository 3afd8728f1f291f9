"""Systems beside each other: the right shoppers in every mean, pairs over the same draws, groups told as they are."""

import json

import numpy as np
import polars as pl
import pytest

from tests.unit.judged_shop import FACTS, HALVES, LISTS, QUERIES, SHOPPERS, N, Shopper, judged_shop, listing, rows
from training.judgement import Judgement, compare_shoppers, judge
from training.metrics import paired_bootstrap
from training.shopper_metrics import ItemFacts, accuracy_columns, truths_of


@pytest.fixture(scope="module")
def judged() -> Judgement:
    return judged_shop()


def test_every_system_is_told_under_every_task_with_means_over_shoppers_with_a_truth(judged: Judgement) -> None:
    everything, new = judged.tasks["all"], judged.tasks["new"]
    assert {name: found["recall@20"] for name, found in everything.items()} == {
        "aisle": 1.0,
        "strong": 0.5,
        "weak": 0.0,
    }
    assert everything["strong"]["hit@10"] == 1.0
    assert everything["strong"]["mrr@10"] == 1.0
    assert everything["aisle"]["shoppers"] == SHOPPERS
    assert new["aisle"]["recall@20"] == pytest.approx((60 * 1 + 20 * 0.5) / 80)
    assert new["strong"]["mrr@20"] == pytest.approx(0.5)
    assert everything["aisle"]["coverage@20"] == 1.0


def test_lists_are_told_beside_their_accuracy(judged: Judgement) -> None:
    found = judged.tasks["all"]["aisle"]
    assert found["diversity@20"] == pytest.approx(1.0)
    assert found["flagged@20"] == pytest.approx(1 / N, abs=0.01)
    low, high = found["flagged@20_interval"]
    assert low < found["flagged@20"] < high
    assert found["miscalibration@20"] > 0.0
    assert {"long_tail@20", "novelty@20"} <= set(found)
    silent = judge(LISTS, QUERIES, ItemFacts(count=N), seed=0).tasks["all"]["aisle"]
    assert not {"diversity@20", "flagged@20", "miscalibration@20", "long_tail@20"} & set(silent)


def test_the_best_baseline_is_the_strongest_that_is_not_ours(judged: Judgement) -> None:
    assert {task: found.best for task, found in judged.by_task.items()} == {"all": "strong", "new": "strong"}
    alone = judge({"all": {"aisle": listing(0)}}, QUERIES, ItemFacts(count=N), seed=0)
    assert alone.by_task["all"].best is None
    assert alone.by_task["all"].against_best == {}


def test_differences_are_paired_as_if_two_systems_alone_had_been_resampled(judged: Judgement) -> None:
    truths = truths_of(QUERIES, "new")
    weak, strong = (accuracy_columns(LISTS["new"][name], truths)["ndcg@10"] for name in ("weak", "strong"))
    alone = paired_bootstrap(weak, strong, np.random.default_rng(0))
    found = judged.by_task["new"].against_best["weak"]["ndcg@10"]
    assert found.difference == pytest.approx(alone.difference)
    assert found.difference_interval == pytest.approx(alone.difference_interval)
    assert found.ratio_interval == pytest.approx(alone.ratio_interval)
    itself = judged.by_task["new"].against_best["strong"]["ndcg@10"]
    assert (itself.difference_interval, itself.probability_not_better) == ((0.0, 0.0), 1.0)


def test_a_group_is_judged_by_its_own_shoppers_and_one_too_small_is_told_as_such(judged: Judgement) -> None:
    most, few = judged.by_task["new"].slices
    assert (most.dimension, most.group, most.shoppers, most.too_small) == ("half", "most", 60, False)
    assert most.systems["aisle"]["mean"] == pytest.approx((45 * 1 + 15 * 0.5) / 60)
    assert most.systems["aisle"]["interval"][0] < most.systems["aisle"]["mean"]
    assert most.paired is not None
    assert most.paired.shoppers == 60
    assert (few.group, few.shoppers, few.too_small, few.paired) == ("few", 20, True, None)
    assert few.systems["aisle"] == {"mean": pytest.approx((15 * 1 + 5 * 0.5) / 20)}


def test_places_of_brands_and_categories_stand_beside_what_is_wanted(judged: Judgement) -> None:
    brands, categories = judged.by_task["all"].exposure.brands, judged.by_task["all"].exposure.categories
    assert brands is not None
    assert categories is not None
    assert brands.groups == ["others", "first ten"]
    assert sum(brands.wanted) == pytest.approx(1.0)
    assert brands.wanted[1] == pytest.approx(sum(range(21, 31)) / sum(range(1, 31)))
    assert sum(brands.systems["aisle"]) == pytest.approx(1.0)
    assert sum(categories.wanted) == pytest.approx(1.0)
    assert judged.by_task["all"].exposure.flagged_wanted == pytest.approx(30 / 465)


def test_cold_items_count_alone_and_need_to_be_named() -> None:
    lists = {"cold": LISTS["new"]}
    found = judge(lists, QUERIES, FACTS, seed=0, cold_rows=rows(3)).tasks["cold"]["aisle"]
    wanted_by = [query for query in QUERIES if 3 in query.truth and 3 not in query.seen]
    assert found["shoppers"] == len(wanted_by)
    with pytest.raises(ValueError, match="cold rows"):
        judge(lists, QUERIES, FACTS, seed=0)


def test_a_task_that_asks_nothing_of_anybody_has_no_figures_and_no_best_baseline() -> None:
    asked = [Shopper(query.user_id, query.truth, query.truth) for query in QUERIES]
    found = judge({"new": LISTS["new"]}, asked, ItemFacts(count=N), seed=0, groupings=[HALVES]).by_task["new"]
    assert found.systems["aisle"]["recall@20"] is None
    assert found.systems["aisle"]["recall@20_interval"] is None
    assert (found.systems["aisle"]["shoppers"], found.best, found.slices) == (0, None, [])


def test_the_json_holds_everything_but_shoppers_and_no_figure_that_is_not_a_number(judged: Judgement) -> None:
    written = json.loads(json.dumps(judged.as_json(), allow_nan=False))
    assert set(written) == {"headline", "ours", "tasks", "details"}
    assert written["details"]["all"]["against_best"]["aisle"]["recall@20"]["ratio"] == 2.0
    assert written["details"]["all"]["against_best"]["weak"]["recall@20"]["ratio"] == 0.0
    assert written["details"]["new"]["slices"][1]["too_small"]


def test_the_table_of_shoppers_lets_two_runs_be_compared_shopper_by_shopper(judged: Judgement) -> None:
    table = judged.shoppers
    assert table.height == 2 * 3 * SHOPPERS
    assert table["group: half"].unique().sort().to_list() == ["few", "most"]
    other = judge(LISTS | {"all": {"aisle": LISTS["all"]["strong"]}}, QUERIES, FACTS, seed=0).shoppers
    found = compare_shoppers(table, other.reverse(), "all", "recall@20", np.random.default_rng(0))
    assert (found.shoppers, found.mean_a, found.mean_b, found.probability_not_better) == (SHOPPERS, 1.0, 0.5, 0.0)
    fewer = compare_shoppers(
        table, other.filter(pl.col("user_id") < "u010"), "all", "recall@20", np.random.default_rng(0)
    )
    assert fewer.shoppers == 10


def test_the_same_seed_gives_the_same_judgement(judged: Judgement) -> None:
    assert judged_shop(seed=0).as_json() == judged.as_json()
    assert judged_shop(seed=1).as_json() != judged.as_json()
