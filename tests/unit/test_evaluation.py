"""The comparison with baselines: both tasks, the right denominators, the list that would have been served."""

from dataclasses import replace

import numpy as np
import pytest

from features.clock import to_us
from features.encode import resolve
from features.vocab import Rows
from services.ranking.ordering import (
    CandidateLimits,
    Interest,
    OrderingModel,
    Ranker,
    Rankers,
    mask_without,
    recommend,
)
from tests.tiny_shop import AS_OF, TinyShop, ranker_text, shoppers
from training.evaluation import TASKS, K, baseline_lists, compare, judge_model, model_lists
from training.metrics import Doubles
from training.queries import Query, Window
from training.shopper_metrics import ItemFacts

NOW_US = to_us(AS_OF)
LIMITS = CandidateLimits(total=40)
"""Room for every item of the shop."""


class Favourites:
    """A baseline that scores items by their row, highest row first."""

    def scores(self, user_id: str) -> Doubles:
        """See `Scores`."""
        assert user_id.startswith("user-")
        return np.arange(40, dtype=np.float64)


def rows(*numbers: int) -> Rows:
    """Rows as an array."""
    return np.array(numbers, dtype=np.int32)


def rankers_of(shop: TinyShop) -> Rankers:
    """Two that differ."""
    return Rankers(Ranker(shop.ranker_text), Ranker(ranker_text(np.random.default_rng(77))))


@pytest.fixture(scope="module")
def queries(shop: TinyShop, model: OrderingModel) -> list[Query]:
    """Three shoppers; the last engages only with what they had before."""
    stored = shoppers(shop.items, 5, np.random.default_rng(0)).rows(named=True)[2:]
    known = [resolve(row, model.items) for row in stored]
    truths, seen = [rows(39, 5), rows(38), rows(37)], [rows(39), rows(0, 1), rows(37, 36)]
    return [
        Query(row["user_id"], NOW_US, shopper, truth, np.ones(truth.size, np.float32), before)
        for row, shopper, truth, before in zip(stored, known, truths, seen, strict=True)
    ]


@pytest.fixture(scope="module")
def interests(queries: list[Query]) -> list[Interest]:
    rng = np.random.default_rng(1)
    return [Interest(rng.standard_normal((1, 128)).astype(np.float32), is_fallback=False) for _ in queries]


def test_what_was_seen_is_masked_for_the_new_task_only(queries: list[Query]) -> None:
    lists = baseline_lists(Favourites(), queries)
    everything, new = lists["all"], lists["new"]
    for found in everything:
        assert found.tolist() == list(range(39, 39 - K, -1))
    assert 39 not in new[0]
    assert new[1].tolist() == list(range(39, 39 - K, -1))
    assert not {37, 36} & set(new[2].tolist())


@pytest.mark.parametrize("task", ["all", "new"])
def test_the_evaluated_list_is_the_served_one(
    shop: TinyShop, model: OrderingModel, queries: list[Query], interests: list[Interest], task: str
) -> None:
    rankers, window = rankers_of(shop), Window(NOW_US, model.items, queries)
    ranker = rankers.all_items if task == "all" else rankers.new_items
    found = model_lists(model, rankers, window, interests, LIMITS, task)
    for ranked, query, interest in zip(found, queries, interests, strict=True):
        excluded = query.seen if task == "new" else rows()
        allowed = mask_without(None, excluded, model.item_count)
        served = recommend(model, ranker, query.shopper, interest, LIMITS, NOW_US, allowed)
        assert ranked.rows.tolist() == served.rows[:K].tolist()
        assert not np.isin(ranked.rows, excluded).any()


def test_the_comparison_names_every_system_under_both_tasks(
    shop: TinyShop, model: OrderingModel, queries: list[Query], interests: list[Interest]
) -> None:
    rankers, window = rankers_of(shop), Window(NOW_US, model.items, queries)
    found = compare(model, rankers, window, interests, LIMITS, {"favourites": Favourites()}, seed=0)
    assert {task: set(systems) for task, systems in found.items()} == {
        "all": {"aisle", "favourites"},
        "new": {"aisle", "favourites"},
    }
    assert found["all"]["favourites"]["recall@20"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found["new"]["favourites"]["recall@20"] == pytest.approx((0.0 + 1) / 2)
    strangers = [replace(query, truth=query.truth[:0]) for query in queries]
    nothing = compare(model, rankers, replace(window, queries=strangers), interests, LIMITS, {}, seed=0)
    assert nothing["all"]["aisle"]["recall@20"] is None


def test_cold_items_are_looked_for_in_the_lists_of_the_new_task(
    shop: TinyShop, model: OrderingModel, queries: list[Query], interests: list[Interest]
) -> None:
    rankers, window = rankers_of(shop), Window(NOW_US, model.items, queries)
    facts = ItemFacts(count=40, vectors=shop.vectors)
    cold, favourites = rows(38, 1), {task: {"favourites": Favourites()} for task in TASKS}
    found = judge_model(model, rankers, window, interests, LIMITS, favourites, 0, facts=facts, cold_rows=cold)
    assert list(found.tasks) == ["all", "new", "cold"]
    assert found.tasks["cold"]["favourites"]["shoppers"] == 1
    assert found.tasks["cold"]["favourites"]["recall@20"] == 1.0
    assert found.tasks["cold"]["aisle"]["diversity@20"] == found.tasks["new"]["aisle"]["diversity@20"]
    assert found.by_task["cold"].best == "favourites"
