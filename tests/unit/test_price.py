"""Dearer items move up among those of similar score: the same items, by score and price."""

import math
from typing import Any

import numpy as np
import pytest
from aisle.v1 import recommendation_service_pb2 as api
from hypothesis import given
from hypothesis import strategies as st

from features.encode import Floats
from features.vocab import Rows
from services.ranking.ordering import RankedList
from services.ranking.ordering.price import WEIGHTS, Doubles, PriceRerank, price_percentiles, price_reranked
from tests.strategies import unhurried
from tests.unit.ordering_inputs import contents

NAN = float("nan")

levels = st.sampled_from(PriceRerank)
few_prices = st.lists(st.sampled_from([NAN, 0.0, 1.0, 2.5, 9.99, 1e6]), min_size=1, max_size=20).map(np.array)
seeds = st.integers(0, 2**32 - 1)


def a_list(rows: Rows, scores: Floats) -> RankedList:
    """These rows by these scores, each with numbers of its own."""
    rng = np.random.default_rng(rows.size)
    interest = np.where(rows % 3 == 0, np.nan, rng.random(rows.size)).astype(np.float32)
    return RankedList(rows, scores, interest, rng.integers(1, 10, rows.size).astype(np.uint8))


def in_catalogue_order(scores: list[float]) -> RankedList:
    return a_list(np.arange(len(scores), dtype=np.int32), np.array(scores, np.float32))


def a_shop(seed: int, count: int) -> tuple[RankedList, Doubles]:
    """Distinct falling scores, some prices unknown and some alike; rows are not places."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(2 * count)[:count].astype(np.int32)
    scores = np.sort(rng.standard_normal(count).astype(np.float32))[::-1]
    price = np.round(rng.gamma(2.0, 3.0, 2 * count))
    price[rng.random(2 * count) < 0.2] = np.nan
    return a_list(rows, scores), price


def by_item(ranked: RankedList) -> dict[int, Any]:
    rows, *numbers = contents(ranked)
    return dict(zip(rows, zip(*numbers, strict=True), strict=True))


def reranked_rows(ranked: RankedList, price: list[float], level: PriceRerank) -> list[int]:
    rows: list[int] = price_reranked(ranked, np.array(price), level).rows.tolist()
    return rows


def test_levels_are_named_and_numbered_as_in_the_api() -> None:
    named = {f"PRICE_RERANK_LEVEL_{level.name}": level.value for level in PriceRerank}
    assert named | {"PRICE_RERANK_LEVEL_UNSPECIFIED": 0} == dict(api.PriceRerankLevel.items())


@pytest.mark.parametrize("level", PriceRerank)
def test_of_no_item_and_of_one_there_is_one_order(level: PriceRerank) -> None:
    for scores in ([], [2.0]):
        ranked = in_catalogue_order(scores)
        for price in (5.0, NAN):
            assert contents(price_reranked(ranked, np.array([price]), level)) == contents(ranked)


def test_none_is_the_list_itself() -> None:
    ranked = in_catalogue_order([3.0, 2.0, 1.0])
    assert price_reranked(ranked, np.array([1.0, 2.0, 3.0]), PriceRerank.NONE) is ranked


def test_each_level_reaches_further_down_the_scores() -> None:
    """Three cheap items, each followed by a dear one: by 0.02, 0.26 and 1.18 standard deviations. Cheap and dear
    are half the percentiles apart, so that the levels reach 0.125, 0.5 and 1.75."""
    ranked = in_catalogue_order([10.0, 9.9, 6.0, 4.8, 2.0, -3.5])
    price = [1.0, 9.0, 1.0, 9.0, 1.0, 9.0]
    assert reranked_rows(ranked, price, PriceRerank.LOW) == [1, 0, 2, 3, 4, 5]
    assert reranked_rows(ranked, price, PriceRerank.MEDIUM) == [1, 0, 3, 2, 4, 5]
    assert reranked_rows(ranked, price, PriceRerank.HIGH) == [1, 3, 0, 2, 5, 4]


def test_equal_scores_are_ordered_by_price_and_equal_prices_keep_their_order() -> None:
    ranked = in_catalogue_order([0.1] * 6)
    price = [2.0, 7.0, NAN, 7.0, 0.5, 2.0]
    for level in WEIGHTS:
        assert reranked_rows(ranked, price, level) == [1, 3, 2, 0, 5, 4]
        alternating = reranked_rows(in_catalogue_order([0.1] * 200), [5.0, 6.0] * 100, level)
        assert alternating == [*range(1, 200, 2), *range(0, 200, 2)]


def test_without_any_price_and_with_one_price_for_all_the_order_stays() -> None:
    ranked = in_catalogue_order([3.0, 2.0, 2.0, 1.0])
    for price in ([NAN] * 4, [5.0] * 4, [5.0, NAN, 5.0, NAN]):
        assert reranked_rows(ranked, price, PriceRerank.HIGH) == [0, 1, 2, 3]


@unhurried
@given(few_prices)
def test_a_percentile_is_the_share_of_known_prices_below_with_half_of_the_equal_ones(price: Doubles) -> None:
    known = [each for each in price.tolist() if not math.isnan(each)]
    expected = [
        0.5 if math.isnan(each) else sum((other < each) + 0.5 * (other == each) for other in known) / len(known)
        for each in price.tolist()
    ]
    assert price_percentiles(price).tolist() == pytest.approx(expected)


@unhurried
@given(seeds, st.integers(1, 40), levels)
def test_the_same_items_with_their_numbers_twice_over(seed: int, count: int, level: PriceRerank) -> None:
    ranked, price = a_shop(seed, count)
    moved = price_reranked(ranked, price, level)
    assert by_item(moved) == by_item(ranked)
    assert contents(price_reranked(ranked, price, level)) == contents(moved)
    for name in ("rows", "scores", "interest", "sources"):
        assert getattr(moved, name).dtype == getattr(ranked, name).dtype


def dearer_first(ranked: RankedList, price: Doubles) -> set[tuple[int, int]]:
    """Pairs of which the dearer stands first; an unknown price is the middle."""
    rank = dict(zip(ranked.rows.tolist(), price_percentiles(price[ranked.rows]).tolist(), strict=True))
    rows = ranked.rows.tolist()
    return {(one, other) for at, one in enumerate(rows) for other in rows[at + 1 :] if rank[one] > rank[other] + 1e-9}


@unhurried
@given(seeds, st.integers(2, 25))
def test_every_level_keeps_what_the_lower_one_moved_up(seed: int, count: int) -> None:
    ranked, price = a_shop(seed, count)
    none, low, medium, high = (dearer_first(price_reranked(ranked, price, level), price) for level in PriceRerank)
    assert none <= low <= medium <= high


def test_place_follows_price_more_closely_with_every_level() -> None:
    """And score less: at the highest level price counts about as much."""
    rng = np.random.default_rng(8)
    scores = np.sort(rng.standard_normal(400))[::-1]
    ranked, price = in_catalogue_order(scores.tolist()), rng.permutation(400).astype(np.float64)
    places = -np.arange(400)
    lists = [price_reranked(ranked, price, level) for level in PriceRerank]
    of_price = [np.corrcoef(places, price[each.rows])[0, 1] for each in lists]
    of_score = [np.corrcoef(places, each.scores)[0, 1] for each in lists]
    assert (np.diff(of_price) > 0.02).all()
    assert (np.diff(of_score) < 0).all()
    assert of_price[-1] == pytest.approx(of_score[-1], abs=0.1)


def test_scale_of_scores_and_currency_of_prices_have_no_say() -> None:
    ranked, price = a_shop(4, 30)
    scaled = RankedList(ranked.rows, 1000 * ranked.scores - 5, ranked.interest, ranked.sources)
    for level in PriceRerank:
        moved = price_reranked(ranked, price, level).rows.tolist()
        assert price_reranked(scaled, 20 * price, level).rows.tolist() == moved
