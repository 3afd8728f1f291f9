"""The lists that are made of it: popular, similar, bought before, recommended; each entry with its source."""

from dataclasses import replace

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from features.encode import Shopper
from services.ranking.ordering import (
    Interest,
    OrderingModel,
    Ranker,
    Source,
    buy_again,
    gather,
    nearest,
    popular,
    popular_rows,
    recommend,
    similar,
)
from tests.strategies import unhurried
from tests.tiny_shop import LIMITS, TinyShop
from tests.unit.ordering_inputs import NOW_US, an_interest, by, contents, in_order

seeds = st.integers(0, 2**32 - 1)


def test_the_popular_list_falls_by_weight_and_leaves_out_what_it_is_told_to(model: OrderingModel) -> None:
    weight = model.items.column("item_log_weight_28d")
    expected = np.argsort(-weight)
    ranked = popular(model, 10, expected[:3].astype(np.int32))
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
    scores = model.vectors @ model.vectors[context].mean(axis=0)
    scores[context] = -np.inf
    ranked = similar(model, context, 5)
    assert ranked.rows.tolist() == np.argsort(-scores)[:5].tolist()
    np.testing.assert_allclose(ranked.scores, scores[ranked.rows], atol=1e-6)
    assert set(ranked.sources) == {Source.SIMILAR}


def test_nothing_is_similar_to_the_whole_catalogue(model: OrderingModel) -> None:
    assert similar(model, np.arange(40, dtype=np.int32), 5).rows.size == 0
    assert similar(model, np.arange(39, dtype=np.int32), 5).rows.tolist() == [39]


def test_buy_again_is_what_the_shopper_had_in_the_rankers_order(model: OrderingModel, known: list[Shopper]) -> None:
    for shopper in known:
        ranked = buy_again(model, by("pair_weight_share"), shopper, an_interest(1), NOW_US)
        assert ranked.rows.tolist() == shopper.repeat_rows.tolist()  # stored heaviest first
        assert set(ranked.sources) <= {Source.BUY_AGAIN}
        rest = buy_again(model, by("pair_weight_share"), shopper, an_interest(1), NOW_US, shopper.repeat_rows[:2])
        assert rest.rows.tolist() == shopper.repeat_rows[2:].tolist()


def test_a_shopper_about_whom_nothing_is_known_has_nothing_to_buy_again(
    model: OrderingModel, ranker: Ranker, unknown: Shopper
) -> None:
    assert buy_again(model, ranker, unknown, an_interest(1), NOW_US).rows.size == 0


# the whole


def test_a_shopper_about_whom_nothing_is_known_gets_the_popular_list(
    model: OrderingModel, ranker: Ranker, unknown: Shopper
) -> None:
    ranked = recommend(model, ranker, unknown, an_interest(1), LIMITS, NOW_US, model.popular_rows[:2])
    assert contents(ranked) == contents(popular(model, LIMITS.total, model.popular_rows[:2]))


def test_a_known_shopper_gets_the_gathered_candidates_ranked(
    model: OrderingModel, ranker: Ranker, known: list[Shopper]
) -> None:
    for number, shopper in enumerate(known):
        interest = an_interest(number)
        near = nearest(model.index, shopper, interest, LIMITS)
        candidates = gather(model, shopper, model.item_to_item.ask(shopper), near, LIMITS)
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
    ranked = recommend(model, ranker, shopper, an_interest(seed), LIMITS, NOW_US, excluded)
    assert not set(ranked.rows) & set(excluded)
    assert len(set(ranked.rows)) == len(ranked.rows)


def test_what_lies_in_the_direction_of_the_interest_is_recommended_first(
    model: OrderingModel, ranker: Ranker, known: list[Shopper]
) -> None:
    for category in range(len(model.items.leaves)):
        members = model.items.leaf == category
        centre = model.vectors[members].mean(axis=0, keepdims=True)
        interest = Interest(centre / np.linalg.norm(centre), is_fallback=False)
        ranked = recommend(model, ranker, known[0], interest, LIMITS, NOW_US)
        assert members[ranked.rows[: min(3, members.sum())]].all()
