"""Lists: in the order of their scores, ties by a fixed key, each entry with its source."""

import hashlib
from dataclasses import replace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import spec
from features.clock import to_us
from features.encode import Floats, Shopper, encode, resolve
from services.ranking.ordering import (
    NO_ROWS,
    Interest,
    OrderingModel,
    RankedList,
    Ranker,
    Source,
    buy_again,
    fallback_interest,
    gather,
    interest_scores,
    nearest,
    popular,
    popular_rows,
    rank,
    recommend,
    requested,
    similar,
    tie_keys,
)
from tests.strategies import unhurried
from tests.tiny_shop import AS_OF, LIMITS, TinyShop, shoppers

NOW_US = to_us(AS_OF)
seeds = st.integers(0, 2**32 - 1)


class ColumnRanker:
    """Scores an item by one column of the matrix, so that the right order is known."""

    def __init__(self, name: str) -> None:
        self._column = spec.MATRIX_COLUMNS.index(name)

    def score(self, matrix: Floats) -> Floats:
        return matrix[:, self._column]


def by(name: str) -> Ranker:
    return cast(Ranker, ColumnRanker(name))


@pytest.fixture(scope="module")
def ranker(shop: TinyShop) -> Ranker:
    return Ranker(shop.ranker_text)


@pytest.fixture(scope="module")
def known(shop: TinyShop, model: OrderingModel) -> list[Shopper]:
    """Twenty shoppers about whom something is known; the first about whom only that."""
    frame = shoppers(shop.items, 20, np.random.default_rng(3))
    return [resolve(row, model.items) for row in frame.iter_rows(named=True)]


@pytest.fixture(scope="module")
def unknown(model: OrderingModel) -> Shopper:
    return resolve(None, model.items)


def an_interest(seed: int, count: int = 2) -> Interest:
    vectors = np.random.default_rng(seed).standard_normal((count, 128)).astype(np.float32)
    return Interest(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), is_fallback=False)


def contents(ranked: RankedList) -> list[Any]:
    return [ranked.rows.tolist(), ranked.scores.tolist(), ranked.interest.tolist(), ranked.sources.tolist()]


# interest


@unhurried
@given(seed=seeds, interests=st.integers(1, 5), items=st.integers(0, 20))
def test_an_interest_score_is_the_largest_dot_product(seed: int, interests: int, items: int) -> None:
    interest = an_interest(seed, interests)
    vectors = np.random.default_rng(seed + 1).standard_normal((items, 128)).astype(np.float32)
    expected = [max(float(np.dot(item, one)) for one in interest.vectors) for item in vectors]
    found = interest_scores(interest, vectors)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.array(expected, np.float32), atol=1e-5)


def test_the_fallback_interest_is_the_mean_of_the_history() -> None:
    history = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.5, 0.5]], np.float32)
    interest = fallback_interest(history)
    assert interest.vectors.tolist() == [[0.5, 0.5]]
    assert interest.is_fallback
    assert interest.vectors.dtype == np.float32


def test_the_fallback_interest_of_no_history_is_zeros() -> None:
    interest = fallback_interest(np.empty((0, 128), np.float32))
    assert interest.is_fallback
    assert interest.vectors.tolist() == [[0.0] * 128]


# rank


def test_a_list_falls_by_score_and_carries_each_items_interest(model: OrderingModel, unknown: Shopper) -> None:
    interest = an_interest(1)
    ranked = rank(model, by("interest_score"), unknown, requested(np.arange(40, dtype=np.int32)), interest, NOW_US)
    expected = interest_scores(interest, model.vectors)
    assert ranked.rows.tolist() == np.argsort(-expected).tolist()
    np.testing.assert_allclose(ranked.interest, expected[ranked.rows], atol=1e-6)
    assert ranked.scores.tolist() == ranked.interest.tolist()


def test_a_shoppers_scores_are_those_that_each_item_gets_alone(
    model: OrderingModel, ranker: Ranker, known: list[Shopper]
) -> None:
    for shopper in known:
        interest = an_interest(7)
        ranked = rank(model, ranker, shopper, requested(np.arange(40, dtype=np.int32)), interest, NOW_US)
        assert (np.diff(ranked.scores) <= 0).all()
        for row, score in zip(ranked.rows, ranked.scores, strict=True):
            one = np.array([row], np.int32)
            scores = interest_scores(interest, model.vectors[one])
            matrix = encode(shopper, model.items, one, scores, NOW_US, interest_fallback=False)
            np.testing.assert_allclose(ranker.score(matrix), [score], atol=1e-6)


@pytest.mark.parametrize("is_fallback", [True, False])
def test_the_ranker_is_told_whether_the_interest_is_the_fallback(
    model: OrderingModel, unknown: Shopper, is_fallback: bool
) -> None:
    interest = replace(an_interest(1), is_fallback=is_fallback)
    ranked = rank(model, by("interest_fallback"), unknown, requested(model.popular_rows), interest, NOW_US)
    assert ranked.scores.tolist() == [float(is_fallback)] * 40


def test_nothing_to_rank_is_an_empty_list(model: OrderingModel, ranker: Ranker, known: list[Shopper]) -> None:
    assert contents(rank(model, ranker, known[1], requested(NO_ROWS), an_interest(1), NOW_US)) == [[], [], [], []]


@unhurried
@given(order=st.permutations(range(40)))
def test_equal_scores_are_ordered_by_the_tie_key_whatever_the_order_of_the_candidates(
    model: OrderingModel, unknown: Shopper, order: list[int]
) -> None:
    candidates = requested(np.array(order, np.int32))
    interest = an_interest(1)
    ranked = rank(model, by("user_idle_days"), unknown, candidates, interest, NOW_US)
    ids = model.items.vocabulary.ids
    digests = {name: hashlib.blake2b(name.encode(), digest_size=8).digest()[::-1] for name in ids}
    assert [ids[row] for row in ranked.rows] == sorted(ids, key=digests.__getitem__)


def test_tie_keys_are_the_same_on_every_machine() -> None:
    assert tie_keys(["item-0", "ñandú"]).tolist() == [13389778750212198947, 9908790778342940130]
    assert tie_keys([]).size == 0


def test_the_head_of_a_list_is_its_beginning(model: OrderingModel) -> None:
    ranked = popular(model, 10)
    assert contents(ranked.head(3)) == [column[:3] for column in contents(ranked)]
    assert contents(ranked.head(99)) == contents(ranked)


# popular, similar, buy again


def test_the_popular_list_falls_by_weight_and_leaves_out_what_it_is_told_to(model: OrderingModel) -> None:
    weight = model.items.column("item_log_weight_28d")
    expected = np.argsort(-weight)
    ranked = popular(model, 10, expected[:3].astype(np.int32))
    assert ranked.rows.tolist() == expected[3:13].tolist()
    assert ranked.scores.tolist() == weight[ranked.rows].tolist()
    assert set(ranked.interest) == {0.0}
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
        candidates = gather(model, shopper, nearest(model.index, shopper, interest, LIMITS), LIMITS)
        expected = rank(model, ranker, shopper, candidates, interest, NOW_US)
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
