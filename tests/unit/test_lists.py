"""The lists that are made of it: popular, similar, bought before, recommended; each entry with its source."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import spec
from features.encode import Shopper, resolve
from features.vectors import every_vector
from services.ranking.ordering import (
    Interest,
    ItemToItem,
    Mask,
    OrderingModel,
    RankedList,
    Ranker,
    Source,
    bought_together,
    buy_again,
    nearest,
    others_you_may_like,
    popular,
    popular_rows,
    recently_viewed,
    recommend,
    similar,
    trending,
)
from tests.strategies import unhurried
from tests.tiny_shop import LIMITS, TinyShop, gathered
from tests.unit.ordering_inputs import NOW_US, an_interest, by, contents, in_order

seeds = st.integers(0, 2**32 - 1)


def without(*rows: int) -> Mask:
    """The shop's forty items but these."""
    return ~np.isin(np.arange(40), rows)


def test_the_popular_list_falls_by_weight_and_leaves_out_what_it_is_told_to(model: OrderingModel) -> None:
    weight = model.items.column("item_log_weight_28d")
    expected = np.argsort(-weight)
    ranked = popular(model, 10, without(*expected[:3]))
    assert ranked.rows.tolist() == expected[3:13].tolist()
    assert ranked.scores.tolist() == weight[ranked.rows].tolist()
    assert np.isnan(ranked.interest).all()
    assert set(ranked.sources) == {Source.POPULAR}
    assert len(popular(model, 1000).rows) == 40


def test_equally_popular_items_are_ordered_by_the_tie_key(shop: TinyShop) -> None:
    flat = replace(shop, features=shop.features.with_columns(item_log_weight_28d=pl.lit(1.0, pl.Float32))).model()
    assert popular_rows(flat.items).tolist() == np.argsort(flat.tie_keys).tolist()


def test_similar_items_are_the_nearest_to_the_mean_without_the_context(model: OrderingModel) -> None:
    context = np.array([4, 17], np.int32)
    scores = every_vector(model.vectors) @ model.vectors[context].mean(axis=0)
    scores[context] = -np.inf
    ranked = similar(model, context, 5)
    assert ranked.rows.tolist() == np.argsort(-scores)[:5].tolist()
    np.testing.assert_allclose(ranked.scores, scores[ranked.rows], atol=1e-6)
    assert set(ranked.sources) == {Source.SIMILAR}


def test_what_is_trending_sells_this_week_and_more_than_before(shop: TinyShop) -> None:
    trends, weeks = np.full(40, -0.5, np.float32), np.ones(40, np.float32)
    trends[[7, 9, 11, 13]] = (0.2, 0.9, 0.9, 0.9)
    weeks[[7, 9, 11, 13]] = (5.0, 2.0, 0.0, 0.5)
    changed = shop.features.with_columns(item_trend=pl.Series(trends), item_log_weight_7d=pl.Series(weeks))
    model = replace(shop, features=changed).model()
    ranked = trending(model, 10)
    assert ranked.rows.tolist() == [9, 7, 13]  # 11 rises from nothing to nothing
    np.testing.assert_allclose(ranked.scores, [1.8, 1.0, 0.45], rtol=1e-6)
    assert set(ranked.sources) == {Source.TRENDING}
    assert trending(model, 1, without(9)).rows.tolist() == [7]


def test_an_item_is_little_known_while_fewer_than_twenty_shoppers_had_it(shop: TinyShop) -> None:
    shoppers = np.log1p(np.arange(40, dtype=np.float32))
    model = replace(shop, features=shop.features.with_columns(item_log_users=pl.Series(shoppers))).model()
    assert np.flatnonzero(model.little_known).tolist() == list(range(20))


def test_recently_viewed_is_what_was_looked_at_latest_first_and_once(model: OrderingModel) -> None:
    day_us = 86_400_000_000
    kinds = ("view", "purchase", "click", "view", "review", "view")
    shopper = replace(
        resolve(None, model.items),
        last_event_us=10 * day_us,
        history_rows=np.array([3, 4, 5, 3, 6, 8], np.int32),
        history_event_types=np.array([spec.EVENT_CODES[kind] for kind in kinds]),
        history_times_us=np.array([1, 2, 3, 4, 9, 10]) * day_us,
    )
    ranked = recently_viewed(shopper)
    assert ranked.rows.tolist() == [8, 3, 5]
    assert ranked.scores.tolist() == [0.0, -6.0, -7.0]
    assert set(ranked.sources) == {Source.RECENTLY_VIEWED}
    assert recently_viewed(shopper, without(8, 5)).rows.tolist() == [3]
    assert recently_viewed(resolve(None, model.items)).rows.size == 0


@pytest.mark.parametrize(("make", "table"), [(others_you_may_like, "lasting"), (bought_together, "basket")])
def test_what_keeps_company_with_the_context_comes_first_and_then_what_is_similar(
    shop: TinyShop, make: Callable[..., RankedList], table: str
) -> None:
    """Items 1 and 2 keep company with 0, 3 with 4; nobody with the rest, and in the other tables nobody with any."""
    tables, of_table = len(spec.I2I_TABLES), spec.I2I_TABLES.index(table)
    weights = np.zeros((tables, 5, 2), np.float32)
    neighbours = np.zeros((tables, 5, 2), np.int32)
    neighbours[of_table, 0], weights[of_table, 0] = (1, 2), (0.5, 2.0)
    neighbours[of_table, 4], weights[of_table, 4] = (3, 2), (1.0, 0.25)
    model = replace(shop, item_to_item=ItemToItem(np.arange(5, dtype=np.int32), neighbours, weights)).model()
    context = np.array([0, 4], np.int32)
    ranked = make(model, context, 6)
    assert ranked.rows[:3].tolist() == [2, 3, 1]
    assert ranked.scores[:3].tolist() == [2.25, 1.0, 0.5]
    behind = similar(model, context, 3, without(1, 2, 3))
    assert ranked.rows[3:].tolist() == behind.rows.tolist()
    assert (np.diff(ranked.scores) <= 0).all()
    assert ranked.sources.tolist() == [Source.BOUGHT_TOGETHER] * 3 + [Source.SIMILAR] * 3
    assert make(model, context, 2, without(2)).rows.tolist() == [3, 1]
    alone = make(model, np.array([9], np.int32), 4)
    assert alone.rows.tolist() == similar(model, np.array([9], np.int32), 4).rows.tolist()


def test_a_list_that_is_filled_up_goes_on_falling(model: OrderingModel) -> None:
    first = similar(model, np.array([4], np.int32), 3)
    whole = first.filled_with(popular(model, 5, without(*first.rows)))
    assert whole.rows.tolist() == [*first.rows, *popular(model, 5, without(*first.rows)).rows]
    assert (np.diff(whole.scores) <= 1e-6).all()
    assert whole.scores[:3].tolist() == first.scores.tolist()
    nothing = first.head(0)
    assert nothing.filled_with(first).scores.tolist() == first.scores.tolist()
    assert first.filled_with(nothing).rows.tolist() == first.rows.tolist()


def test_nothing_is_similar_to_the_whole_catalogue(model: OrderingModel) -> None:
    assert similar(model, np.arange(40, dtype=np.int32), 5).rows.size == 0
    assert similar(model, np.arange(39, dtype=np.int32), 5).rows.tolist() == [39]


def test_buy_again_is_what_the_shopper_had_in_the_rankers_order(model: OrderingModel, known: list[Shopper]) -> None:
    for shopper in known:
        ranked = buy_again(model, by("pair_weight_share"), shopper, an_interest(1), NOW_US)
        assert ranked.rows.tolist() == shopper.repeat_rows.tolist()  # stored heaviest first
        assert set(ranked.sources) <= {Source.BUY_AGAIN}
        rest = buy_again(
            model, by("pair_weight_share"), shopper, an_interest(1), NOW_US, without(*shopper.repeat_rows[:2])
        )
        assert rest.rows.tolist() == shopper.repeat_rows[2:].tolist()


def test_a_shopper_about_whom_nothing_is_known_has_nothing_to_buy_again(
    model: OrderingModel, ranker: Ranker, unknown: Shopper
) -> None:
    assert buy_again(model, ranker, unknown, an_interest(1), NOW_US).rows.size == 0


# the whole


def test_a_shopper_about_whom_nothing_is_known_gets_the_popular_list(
    model: OrderingModel, ranker: Ranker, unknown: Shopper
) -> None:
    ranked = recommend(model, ranker, unknown, an_interest(1), LIMITS, NOW_US, without(*model.popular_rows[:2]))
    assert contents(ranked) == contents(popular(model, LIMITS.total, without(*model.popular_rows[:2])))


def test_a_known_shopper_gets_the_gathered_candidates_ranked(
    model: OrderingModel, ranker: Ranker, known: list[Shopper]
) -> None:
    for number, shopper in enumerate(known):
        interest = an_interest(number)
        near = nearest(model, shopper, interest, LIMITS)
        candidates = gathered(model, shopper, model.item_to_item.ask(shopper), near, LIMITS)
        expected = in_order(model, ranker, shopper, candidates, interest)
        found = recommend(model, ranker, shopper, interest, LIMITS, NOW_US)
        assert contents(found) == contents(expected)
        sources = dict(zip(candidates.rows, candidates.sources, strict=True))
        assert dict(zip(found.rows, found.sources, strict=True)) == sources


@unhurried
@given(seed=seeds)
def test_an_excluded_item_is_never_recommended(
    model: OrderingModel, ranker: Ranker, known: list[Shopper], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    excluded = rng.permutation(40)[: rng.integers(0, 40, endpoint=True)].astype(np.int32)
    shopper = known[rng.integers(len(known))]
    ranked = recommend(model, ranker, shopper, an_interest(seed), LIMITS, NOW_US, without(*excluded))
    assert not set(ranked.rows) & set(excluded)
    assert len(set(ranked.rows)) == len(ranked.rows)


def test_what_lies_in_the_direction_of_the_interest_is_recommended_first(
    model: OrderingModel, ranker: Ranker, known: list[Shopper]
) -> None:
    for category in range(len(model.items.leaves)):
        members = model.items.leaf == category
        centre = model.vectors[np.flatnonzero(members)].mean(axis=0, keepdims=True)
        interest = Interest(centre / np.linalg.norm(centre), is_fallback=False)
        ranked = recommend(model, ranker, known[0], interest, LIMITS, NOW_US)
        assert members[ranked.rows[: min(3, members.sum())]].all()
