"""Item-to-item tables against closed forms in double precision, one ridge regression per target, and plain loops."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ranking.ordering import ItemToItem
from tests.shop import DAY_US
from tests.unit.numbered_events import ITEMS, Event, daily, numbered
from training.config import ItemToItemConfig, TableConfig
from training.dataset import Sequences
from training.item_to_item import fit_item_to_item

Doubles = npt.NDArray[np.float64]
AS_OF_DAY = 50.0
EVERY = ITEMS - 1
"""Neighbours enough to keep every weight."""
few_examples = settings(deadline=None, max_examples=25)

_events = st.lists(st.tuples(st.integers(0, ITEMS - 1), st.integers(0, 40)), min_size=1, max_size=12).map(
    lambda moments: [(row, float(on), on) for row, on in sorted(moments, key=lambda moment: moment[1])]
)
_shoppers = st.lists(_events, min_size=1, max_size=6)


def fitted(found: Sequences, table: TableConfig, neighbours: int = EVERY, max_items: int = 100) -> ItemToItem:
    """Every table alike."""
    config = ItemToItemConfig(max_items=max_items, neighbours=neighbours, lasting=table, current=table, basket=table)
    return fit_item_to_item(found, config, int(AS_OF_DAY * DAY_US))


def dense(company: ItemToItem, table: int = 0) -> Doubles:
    """Weights by item row, source by target; 0 where none is kept."""
    whole = np.zeros((ITEMS, ITEMS))
    for place, row in enumerate(company.rows):
        whole[row, company.rows[company.neighbours[table, place]]] = company.weights[table, place]
    return whole


def had(shoppers: list[list[Event]], half_life_days: float | None = None) -> Doubles:
    """What each shopper had of each item, at most 1: once, or each event halving with its age."""
    matrix = np.zeros((len(shoppers), ITEMS))
    for user, events in enumerate(shoppers):
        for row, on, _ in events:
            matrix[user, row] += 1.0 if half_life_days is None else 0.5 ** ((AS_OF_DAY - on) / half_life_days)
    return np.minimum(matrix, 1.0)


@few_examples
@given(shoppers=_shoppers, ridge=st.sampled_from([1.0, 30.0]))
def test_a_ridge_table_without_a_half_life_is_ease(shoppers: list[list[Event]], ridge: float) -> None:
    """Steck 2019, equation 8."""
    once = had(shoppers)
    inverse = np.linalg.inv(once.T @ once + ridge * np.eye(ITEMS))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    found = dense(fitted(numbered(*shoppers), TableConfig(ridge=ridge)))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@few_examples
@given(shoppers=_shoppers, ridge=st.sampled_from([1.0, 30.0]), half_life_days=st.sampled_from([7.0, 100.0]))
def test_with_a_half_life_each_item_is_regressed_on_all_others(
    shoppers: list[list[Event]], ridge: float, half_life_days: float
) -> None:
    once, lately = had(shoppers), had(shoppers, half_life_days)
    expected = np.zeros((ITEMS, ITEMS))
    for target in range(ITEMS):
        others = [row for row in range(ITEMS) if row != target]
        gram = once[:, others].T @ once[:, others] + ridge * np.eye(len(others))
        expected[others, target] = np.linalg.solve(gram, once[:, others].T @ lately[:, target])
    table = TableConfig(ridge=ridge, half_life_days=half_life_days)
    np.testing.assert_allclose(dense(fitted(numbered(*shoppers), table)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("alike", [2, ITEMS + 2])
def test_shoppers_of_the_same_items_need_a_ridge(alike: int) -> None:
    """Fewer shoppers than items and more, which are solved by shoppers and by items."""
    same = numbered(*[daily(*range(ITEMS))] * alike)
    with pytest.raises(ValueError, match="ridge 1e-12; raise it"):
        fitted(same, TableConfig(ridge=1e-12))
    assert dense(fitted(same, TableConfig(ridge=1.0))).all(where=~np.eye(ITEMS, dtype=bool))


@few_examples
@given(shoppers=_shoppers, reach=st.integers(1, 5), shrinkage=st.sampled_from([0.0, 5.0]))
def test_a_sequence_table_counts_who_follows_whom(shoppers: list[list[Event]], reach: int, shrinkage: float) -> None:
    follows, often = np.zeros((ITEMS, ITEMS)), np.zeros(ITEMS)
    for events in shoppers:
        rows = [row for row, _, _ in events]
        for at, row in enumerate(rows):
            often[row] += 1
            for apart in range(1, reach + 1):
                if at + apart < len(rows):
                    follows[row, rows[at + apart]] += 1 / apart
    expected = np.zeros((ITEMS, ITEMS))
    for source in range(ITEMS):
        for target in range(ITEMS):
            if source != target and often[source] and often[target]:
                company = follows[source, target] + 0.5 * follows[target, source]
                expected[source, target] = company / (np.sqrt(often[source] * often[target]) + shrinkage)
    table = TableConfig(kind="sequence", reach=reach, shrinkage=shrinkage)
    np.testing.assert_allclose(dense(fitted(numbered(*shoppers), table)), expected, rtol=1e-3, atol=1e-4)


def test_nobody_follows_the_last_event_of_another_shopper() -> None:
    table = TableConfig(kind="sequence", reach=3, shrinkage=0.0)
    assert not dense(fitted(numbered(daily(0), daily(1), daily(2)), table)).any()


MIXED = numbered(daily(0, 1, 2, 3, 4), daily(0, 1, 2), daily(0, 1, 3), daily(1, 4, 4, 4, 4))


def test_only_the_items_with_most_shoppers_have_neighbours() -> None:
    assert fitted(MIXED, TableConfig(), max_items=2).rows.tolist() == [0, 1]
    assert fitted(MIXED, TableConfig(), max_items=3).rows.tolist() == [0, 1, 2]
    assert fitted(numbered(daily(3, 1)), TableConfig()).rows.tolist() == [1, 3]


def test_what_has_no_neighbours_is_no_company_either() -> None:
    company = fitted(MIXED, TableConfig(ridge=1.0), max_items=3)
    few = numbered(daily(0, 1, 2), daily(0, 1, 2), daily(0, 1), daily(1))
    np.testing.assert_allclose(dense(company), dense(fitted(few, TableConfig(ridge=1.0))), atol=1e-6)


@pytest.mark.parametrize("neighbours", [1, 2, 3])
def test_only_the_weights_largest_in_size_are_kept(neighbours: int) -> None:
    table = TableConfig(ridge=1.0)
    whole, kept = dense(fitted(MIXED, table)), fitted(MIXED, table, neighbours=neighbours)
    assert kept.neighbours.shape == kept.weights.shape == (3, ITEMS, neighbours)
    for row in range(ITEMS):
        largest = np.sort(np.abs(whole[row]))[-neighbours:]
        kept_row = dense(kept)[row]
        np.testing.assert_array_equal(np.sort(np.abs(kept_row))[-neighbours:], largest)
        np.testing.assert_array_equal(kept_row[kept_row != 0], whole[row][kept_row != 0])


def test_the_tables_are_those_that_were_asked_for() -> None:
    tables = TableConfig(ridge=3.0), TableConfig(kind="sequence", reach=1), TableConfig(kind="basket", shrinkage=1.0)
    lasting, current, basket = tables
    config = ItemToItemConfig(lasting=lasting, current=current, basket=basket)
    every = fit_item_to_item(MIXED, config, int(AS_OF_DAY * DAY_US))
    for number, table in enumerate(tables):
        np.testing.assert_array_equal(dense(every, number), dense(fitted(MIXED, table)))
    assert not np.array_equal(dense(every, 0), dense(every, 1))


@few_examples
@given(shoppers=_shoppers, shrinkage=st.sampled_from([0.0, 2.0]))
def test_a_basket_table_counts_sessions_that_hold_both(shoppers: list[list[Event]], shrinkage: float) -> None:
    baskets = [
        {row for row, _, session in events if session == one}
        for events in shoppers
        for one in {session for _, _, session in events}
    ]
    often = [sum(row in basket for basket in baskets) for row in range(ITEMS)]
    expected = np.zeros((ITEMS, ITEMS))
    for source, target in permutations(range(ITEMS), 2):
        if often[source] and often[target]:
            both = sum({source, target} <= basket for basket in baskets)
            expected[source, target] = both / (np.sqrt(often[source] * often[target]) + shrinkage)
    found = fitted(numbered(*shoppers), TableConfig(kind="basket", shrinkage=shrinkage))
    np.testing.assert_allclose(dense(found), expected, rtol=1e-3, atol=1e-4)


def test_of_nothing_there_is_no_company() -> None:
    nothing = replace(numbered(daily(0)), user_ids=[], starts=np.zeros(1, np.int64), rows=np.empty(0, np.int32))
    empty = np.empty(0, np.int64)
    nothing = replace(nothing, times_us=empty, sessions=empty, event_types=empty, weights=np.empty(0))
    assert fitted(nothing, TableConfig()).rows.size == 0


@pytest.mark.parametrize(("field", "value"), [("ridge", 0.0), ("shrinkage", -1.0), ("reach", 0)])
def test_settings_that_make_no_table_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        TableConfig(**{field: value})


def test_a_table_without_items_or_neighbours_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="max_items"):
        ItemToItemConfig(max_items=0)
    with pytest.raises(ValueError, match="neighbours"):
        ItemToItemConfig(neighbours=0)
