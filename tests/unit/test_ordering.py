"""Scores and their order: interest scores, the ranker's part, ties by a fixed key."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.encode import Shopper, encode
from features.vectors import every_vector
from services.ranking.ordering import (
    NO_ROWS,
    OrderingModel,
    Ranker,
    fallback_interest,
    interest_scores,
    model_scores,
    popular,
    requested,
    tie_keys,
)
from services.ranking.ordering.interest import LATEST_ITEMS, history_scores
from tests.strategies import unhurried
from tests.unit.ordering_inputs import NOW_US, an_interest, by, contents, in_order

seeds = st.integers(0, 2**32 - 1)


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


@unhurried
@given(seed=seeds, events=st.integers(0, 30))
def test_a_history_score_is_the_mean_dot_product_with_the_ten_latest_items(seed: int, events: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((12, 128)).astype(np.float32)
    history, rows = rng.integers(0, 12, events).astype(np.int32), rng.permutation(12)[:7].astype(np.int32)
    products = [[float(np.dot(vectors[row], vectors[had])) for had in history[-LATEST_ITEMS:]] for row in rows]
    expected = [sum(values) / max(len(values), 1) for values in products]
    found = history_scores(vectors, history, vectors[rows])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_every_models_word_reaches_the_matrix(model: OrderingModel, known: list[Shopper]) -> None:
    for number, shopper in enumerate(known):
        interest, together = an_interest(number), model.item_to_item.ask(shopper)
        rows = np.arange(40, dtype=np.int32)[::-1]
        vectors = model.vectors[rows]
        said = model_scores(model, shopper, interest, together, rows)
        np.testing.assert_array_equal(said.interest, interest_scores(interest, vectors))
        np.testing.assert_array_equal(said.history, history_scores(model.vectors, shopper.history_rows, vectors))
        np.testing.assert_array_equal(said.item_to_item, together.of(rows))
        assert not said.interest_fallback


# rank


def test_a_list_falls_by_score_and_carries_each_items_interest(model: OrderingModel, unknown: Shopper) -> None:
    interest = an_interest(1)
    ranked = in_order(model, by("interest_score"), unknown, requested(np.arange(40, dtype=np.int32)), interest)
    expected = interest_scores(interest, every_vector(model.vectors))
    assert ranked.rows.tolist() == np.argsort(-expected).tolist()
    np.testing.assert_allclose(ranked.interest, expected[ranked.rows], atol=1e-6)
    assert ranked.scores.tolist() == ranked.interest.tolist()


def test_a_shoppers_scores_are_those_that_each_item_gets_alone(
    model: OrderingModel, ranker: Ranker, known: list[Shopper]
) -> None:
    for shopper in known:
        interest = an_interest(7)
        ranked = in_order(model, ranker, shopper, requested(np.arange(40, dtype=np.int32)), interest)
        assert (np.diff(ranked.scores) <= 0).all()
        for row, score in zip(ranked.rows, ranked.scores, strict=True):
            one = np.array([row], np.int32)
            said = model_scores(model, shopper, interest, model.item_to_item.ask(shopper), one)
            matrix = encode(shopper, model.items, one, said, NOW_US)
            np.testing.assert_allclose(ranker.score(matrix), [score], atol=1e-6)


@pytest.mark.parametrize("is_fallback", [True, False])
def test_the_ranker_is_told_whether_the_interest_is_the_fallback(
    model: OrderingModel, unknown: Shopper, is_fallback: bool
) -> None:
    interest = replace(an_interest(1), is_fallback=is_fallback)
    ranked = in_order(model, by("interest_fallback"), unknown, requested(model.popular_rows), interest)
    assert ranked.scores.tolist() == [float(is_fallback)] * 40


def test_nothing_to_rank_is_an_empty_list(model: OrderingModel, ranker: Ranker, known: list[Shopper]) -> None:
    assert contents(in_order(model, ranker, known[1], requested(NO_ROWS), an_interest(1))) == [[], [], [], []]


@unhurried
@given(order=st.permutations(range(40)))
def test_equal_scores_are_ordered_by_the_tie_key_whatever_the_order_of_the_candidates(
    model: OrderingModel, unknown: Shopper, order: list[int]
) -> None:
    candidates = requested(np.array(order, np.int32))
    interest = an_interest(1)
    ranked = in_order(model, by("user_idle_days"), unknown, candidates, interest)
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
