"""The comparison with baselines: both tasks, the right denominators, the list that would have been served."""

import math
from dataclasses import replace

import numpy as np
import pytest

from features.clock import to_us
from features.encode import resolve
from features.vocab import Rows
from services.ranking.ordering import CandidateLimits, Interest, OrderingModel, Ranker, recommend
from tests.tiny_shop import AS_OF, TinyShop, shoppers
from training.evaluation import K, baseline_lists, compare, model_lists, per_shopper, summary
from training.metrics import Doubles
from training.queries import Query, Window

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


@pytest.fixture(scope="module")
def queries(shop: TinyShop, model: OrderingModel) -> list[Query]:
    """Three shoppers; the last engages only with what they had before."""
    stored = shoppers(shop.items, 5, np.random.default_rng(0)).rows(named=True)[2:]
    known = [resolve(row, model.items) for row in stored]
    truths, seen = [rows(39, 5), rows(38), rows(37)], [rows(39), rows(0, 1), rows(37, 36)]
    return [
        Query(row["user_id"], shopper, truth, before)
        for row, shopper, truth, before in zip(stored, known, truths, seen, strict=True)
    ]


@pytest.fixture(scope="module")
def interests(queries: list[Query]) -> list[Interest]:
    rng = np.random.default_rng(1)
    return [Interest(rng.standard_normal((1, 128)).astype(np.float32), is_fallback=False) for _ in queries]


def test_what_was_seen_is_masked_for_the_new_task_only(queries: list[Query]) -> None:
    everything, new = (baseline_lists(Favourites(), queries, task) for task in ("all", "new"))
    for found in everything:
        assert found.tolist() == list(range(39, 39 - K, -1))
    assert 39 not in new[0]
    assert new[1].tolist() == list(range(39, 39 - K, -1))
    assert not {37, 36} & set(new[2].tolist())


def test_a_shopper_without_a_new_truth_is_not_counted_for_the_new_task(queries: list[Query]) -> None:
    lists = [rows(39, 38), rows(38), rows(37)]
    everything, new = (per_shopper(lists, queries, task)[f"recall@{K}"] for task in ("all", "new"))
    assert everything.tolist() == [0.5, 1.0, 1.0]
    assert new[:2].tolist() == [0.0, 1.0]
    assert math.isnan(new[2])


def test_a_summary_is_the_mean_over_shoppers_with_a_truth() -> None:
    values = {"recall@20": np.array([0.0, 1.0, np.nan])}
    found = summary(values, [rows(0, 1), rows(1)], item_count=8, seed=0)
    assert found["recall@20"] == 0.5
    assert found["shoppers"] == 2
    assert found["coverage@20"] == 2 / 8
    assert found["recall@20_interval"] == (0.0, 1.0)
    nothing = summary({"recall@20": np.array([np.nan])}, [], item_count=8, seed=0)
    assert nothing == {"recall@20": None, "shoppers": 0, "coverage@20": 0.0}


@pytest.mark.parametrize("task", ["all", "new"])
def test_the_evaluated_list_is_the_served_one(
    shop: TinyShop, model: OrderingModel, queries: list[Query], interests: list[Interest], task: str
) -> None:
    ranker, window = Ranker(shop.ranker_text), Window(NOW_US, model.items, queries)
    found = model_lists(model, ranker, window, interests, LIMITS, task)
    for ranked, query, interest in zip(found, queries, interests, strict=True):
        excluded = query.seen if task == "new" else rows()
        served = recommend(model, ranker, query.shopper, interest, LIMITS, NOW_US, excluded)
        assert ranked.rows.tolist() == served.rows[:K].tolist()
        assert not np.isin(ranked.rows, excluded).any()


def test_the_comparison_names_every_system_under_both_tasks(
    shop: TinyShop, model: OrderingModel, queries: list[Query], interests: list[Interest]
) -> None:
    ranker, window = Ranker(shop.ranker_text), Window(NOW_US, model.items, queries)
    found = compare(model, ranker, window, interests, LIMITS, {"favourites": Favourites()}, seed=0)
    assert {task: set(systems) for task, systems in found.items()} == {
        "all": {"aisle", "favourites"},
        "new": {"aisle", "favourites"},
    }
    assert found["all"]["favourites"]["recall@20"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found["new"]["favourites"]["recall@20"] == pytest.approx((0.0 + 1) / 2)
    strangers = [replace(query, truth=query.truth[:0]) for query in queries]
    nothing = compare(model, ranker, replace(window, queries=strangers), interests, LIMITS, {}, seed=0)
    assert nothing["all"]["aisle"]["recall@20"] is None
