"""Which items keep company with what a shopper has had: the sums, who has none, the best, and what is refused."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import spec
from features.encode import Shopper, resolve
from services.ranking.ordering import ItemToItem, ItemToItemScores, OrderingModel, Ranker, Source, recommend
from services.ranking.ordering.item_to_item import LATEST_DECAY, LATEST_EVENTS
from tests.strategies import unhurried
from tests.tiny_shop import LIMITS, TinyShop, random_item_to_item
from tests.unit.ordering_inputs import NOW_US, an_interest, contents

COUNT = 40
EVERY_ROW = np.arange(COUNT, dtype=np.int32)
TABLES = len(spec.I2I_TABLES)
seeds = st.integers(0, 2**32 - 1)


def who_had(model: OrderingModel, had: list[int], history: list[int]) -> Shopper:
    """A shopper who has had these rows, and whose events with rows are these, newest last."""
    rows = np.array(had, dtype=np.int32), np.array(history, dtype=np.int32)
    return replace(resolve(None, model.items), last_event_us=1, repeat_rows=rows[0], history_rows=rows[1])


def random_shopper(model: OrderingModel, rng: np.random.Generator) -> Shopper:
    had = rng.permutation(COUNT)[: rng.integers(0, COUNT + 1)].tolist()
    return who_had(model, had, rng.integers(0, COUNT, rng.integers(0, 30)).tolist())


def plain_sums(company: ItemToItem, shopper: Shopper) -> list[dict[int, float]]:
    """For each question to each table the sum of every row, one neighbour at a time."""
    newest_first = shopper.history_rows[::-1].tolist()[:LATEST_EVENTS]
    questions = {
        "all": [(row, 1.0) for row in shopper.repeat_rows.tolist()],
        "latest": [(row, LATEST_DECAY**age) for age, row in enumerate(newest_first)],
    }
    place_of = {row: place for place, row in enumerate(company.rows.tolist())}
    found = []
    for question, table in (("all", 0), ("all", 1), ("latest", 0), ("latest", 1)):
        sums: dict[int, float] = defaultdict(float)
        for row, weight in questions[question]:
            if row in place_of:
                of_row = company.neighbours[table, place_of[row]], company.weights[table, place_of[row]]
                for place, share in zip(*of_row, strict=True):
                    sums[int(company.rows[place])] += weight * float(share)
        found.append(sums)
    return found


@unhurried
@given(seed=seeds)
def test_a_sum_is_over_the_neighbours_of_what_was_had_and_the_newest_events_count_most(
    model: OrderingModel, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    company, shopper = random_item_to_item(COUNT, rng), random_shopper(model, rng)
    asked = rng.permutation(EVERY_ROW)
    found = company.ask(shopper).of(asked)
    expected = [[sums.get(row, 0.0) for sums in plain_sums(company, shopper)] for row in asked.tolist()]
    assert found.dtype == np.float32
    assert found.shape == (COUNT, len(spec.I2I_FEATURES))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_row_without_neighbours_scores_nothing_whoever_asks(shop: TinyShop, model: OrderingModel) -> None:
    company = shop.item_to_item
    without = np.setdiff1d(EVERY_ROW, company.rows)
    assert without.size == COUNT // 4
    everything = who_had(model, list(range(COUNT)), list(range(COUNT)))
    assert not company.ask(everything).of(without).any()
    assert not company.ask(who_had(model, without.tolist(), without.tolist())).of(EVERY_ROW).any()


def test_only_the_latest_events_are_the_second_question_and_each_older_one_counts_less(model: OrderingModel) -> None:
    one, other = 3, 8
    ring = np.array([[[1], [0]]] * TABLES, np.int32)
    company = ItemToItem(np.array([one, other], np.int32), ring, np.ones((TABLES, 2, 1), np.float32))
    scores = company.ask(who_had(model, [one], [one, *[20] * 9])).of(np.array([other], np.int32))
    np.testing.assert_allclose(scores, [[1.0, 1.0, LATEST_DECAY**9, LATEST_DECAY**9]], rtol=1e-6)
    too_old = company.ask(who_had(model, [one], [one, *[20] * 10])).of(np.array([other], np.int32))
    assert too_old.tolist() == [[1.0, 1.0, 0.0, 0.0]]


@unhurried
@given(seed=seeds, feature=st.integers(0, len(spec.I2I_FEATURES) - 1), count=st.integers(1, COUNT + 5))
def test_the_best_are_the_allowed_rows_with_the_largest_positive_sums_best_first(
    model: OrderingModel, seed: int, feature: int, count: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = random_item_to_item(COUNT, rng).ask(random_shopper(model, rng))
    allowed = rng.random(COUNT) < 0.7
    sums = scores.of(EVERY_ROW)[:, feature]
    found = scores.best(feature, count, allowed)
    worthy = np.flatnonzero(allowed & (sums > 0))
    assert found.dtype == np.int32
    assert found.size == min(count, worthy.size) == len(set(found.tolist()))
    assert set(found.tolist()) <= set(worthy.tolist())
    assert sums[found].tolist() == sorted(sums[worthy], reverse=True)[:count]


def test_rows_with_equal_sums_are_no_more_than_asked_for() -> None:
    rows = np.arange(10, dtype=np.int32)
    sums = np.append(np.ones(10, np.float32), np.float32(0))
    no_weights = np.zeros((len(spec.I2I_TABLES), 10, 1), np.float32)
    scores = ItemToItemScores(
        ItemToItem(rows, no_weights.astype(np.int32), no_weights), np.tile(sums, (len(spec.I2I_FEATURES), 1))
    )
    assert scores.best(0, 4, np.ones(10, dtype=bool)).tolist() == [0, 1, 2, 3]


def test_what_is_saved_is_what_is_loaded(shop: TinyShop, tmp_path: Path) -> None:
    for name, company in (("full.npz", shop.item_to_item), ("empty.npz", ItemToItem.empty())):
        company.save(tmp_path / name)
        loaded = ItemToItem.load(tmp_path / name)
        for array in ItemToItem.__slots__:
            before, after = getattr(company, array), getattr(loaded, array)
            np.testing.assert_array_equal(after, before, err_msg=array)
            assert (after.dtype, after.shape) == (before.dtype, before.shape)


@pytest.mark.parametrize("missing", ["rows", "neighbours", "weights"])
def test_a_missing_array_is_named(shop: TinyShop, tmp_path: Path, missing: str) -> None:
    company, path = shop.item_to_item, tmp_path / "company.npz"
    arrays = {name: getattr(company, name) for name in ItemToItem.__slots__ if name != missing}
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=rf"company\.npz: array '{missing}' is missing"):
        ItemToItem.load(path)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("rows", lambda rows: rows[:-1], r"neighbours has shape \(3, 30, 5\), expected \(3, 29, k\)"),
        ("rows", lambda rows: rows[::-1], "rows are not ascending"),
        ("rows", lambda rows: rows - rows[0] - 1, "rows are not ascending catalogue rows"),
        ("neighbours", lambda places: places[:1], r"neighbours has shape \(1, 30, 5\), expected \(3, 30, k\)"),
        ("neighbours", lambda places: places + 1, "neighbours are not places below 30"),
        ("neighbours", lambda places: places - 1, "neighbours are not places below 30"),
        ("weights", lambda weights: weights[0], r"weights has shape \(30, 5\), expected \(3, 30, k\)"),
        ("weights", lambda weights: weights[..., :-1], r"weights has shape \(3, 30, 4\), neighbours \(3, 30, 5\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(shop: TinyShop, name: str, change: object, words: str) -> None:
    assert callable(change)
    with pytest.raises(ValueError, match=f"item-to-item {words}"):
        replace(shop.item_to_item, **{name: change(getattr(shop.item_to_item, name))})


def test_without_any_company_every_list_is_still_made(
    model: OrderingModel, ranker: Ranker, known: list[Shopper], unknown: Shopper
) -> None:
    lonely = replace(model, item_to_item=ItemToItem.empty())
    for number, shopper in enumerate([*known, unknown]):
        interest = an_interest(number)
        found = recommend(lonely, ranker, shopper, interest, LIMITS, NOW_US)
        assert 0 < found.rows.size <= LIMITS.total
        assert Source.BOUGHT_TOGETHER not in found.sources
        assert not lonely.item_to_item.ask(shopper).of(found.rows).any()
        without = replace(LIMITS, bought_together=0)
        same = recommend(lonely, ranker, shopper, interest, without, NOW_US)
        assert contents(found) == contents(same)


def test_with_company_some_of_it_is_recommended(model: OrderingModel, ranker: Ranker, known: list[Shopper]) -> None:
    lists = [recommend(model, ranker, shopper, an_interest(1), LIMITS, NOW_US) for shopper in known]
    assert any(Source.BOUGHT_TOGETHER in found.sources for found in lists)
