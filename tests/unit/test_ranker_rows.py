"""What the ranker learns from: labels, features and groups that belong together, on a shop of forty items."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from features import spec
from features.clock import to_us
from features.encode import encode, resolve
from features.vocab import Rows
from services.ranking.ordering import CandidateLimits, Interest, OrderingModel, Ranker, fallback_interest
from tests.tiny_shop import AS_OF, TinyShop, shoppers
from training.config import RankerConfig
from training.queries import Query, Window
from training.ranker import RankerRows, fit_ranker, joined, ranker_rows, tree_count

NOW_US = to_us(AS_OF)
LIMITS = CandidateLimits(total=30, buy_again=10, category=8, per_category=2, popular=8)
CONFIG = RankerConfig(negatives=5, fallback_share=0.0)
EVERY_CANDIDATE = replace(CONFIG, negatives=1000)
NAMES = list(spec.MATRIX_COLUMNS)


def query(model: OrderingModel, stored: dict[str, Any] | None, truth: list[int]) -> Query:
    """A shopper of the tiny shop who will engage with `truth`."""
    shopper = resolve(stored, model.items)
    user_id = stored["user_id"] if stored else "a stranger"
    return Query(user_id, shopper, np.array(sorted(truth), dtype=np.int32), np.unique(shopper.repeat_rows))


@pytest.fixture(scope="module")
def asked(shop: TinyShop, model: OrderingModel) -> tuple[Window, list[Interest]]:
    """Two hundred known shoppers with random truths, and the tower's answers for them."""
    rng = np.random.default_rng(3)
    count = len(model.items.vocabulary)
    stored = shoppers(shop.items, 202, rng).rows(named=True)[2:]
    queries = [query(model, row, rng.permutation(count)[: rng.integers(1, 12)].tolist()) for row in stored]
    interests = [Interest(rng.standard_normal((2, 128)).astype(np.float32), is_fallback=False) for _ in queries]
    return Window(NOW_US, model.items, queries), interests


def blocks(rows: RankerRows) -> list[slice]:
    """Where each group's rows lie."""
    ends = np.cumsum(rows.sizes).tolist()
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def items_of(model: OrderingModel, matrix: np.ndarray) -> Rows:
    """The item row of each matrix row, told by its item features, which no two items of the shop share."""
    same = (matrix[:, None, : model.items.matrix.shape[1]] == model.items.matrix[None]).all(axis=2)
    assert (same.sum(axis=1) == 1).all()
    rows: Rows = same.argmax(axis=1).astype(np.int32)
    return rows


def test_groups_add_up_to_the_rows(model: OrderingModel, asked: tuple[Window, list[Interest]]) -> None:
    rows = ranker_rows(model, *asked, LIMITS, CONFIG, np.random.default_rng(0))
    assert rows.sizes.sum() == rows.matrix.shape[0] == rows.labels.size
    assert rows.matrix.shape[1] == len(NAMES)
    assert rows.matrix.dtype == np.float32
    assert rows.labels.dtype == np.int8
    assert rows.sizes.min() > 0


def test_a_shopper_asks_over_all_items_and_then_over_new_ones_and_labels_say_what_they_took(
    model: OrderingModel, asked: tuple[Window, list[Interest]]
) -> None:
    """With room for every item, the candidates of both questions are known."""
    window, interests = asked
    everything = set(range(len(model.items.vocabulary)))
    room = CandidateLimits(total=len(everything))
    group_counts = set()
    for question, interest in zip(window.queries[:40], interests, strict=False):
        alone = Window(NOW_US, model.items, [question])
        rows = ranker_rows(model, alone, [interest], room, EVERY_CANDIDATE, np.random.default_rng(0))
        expected = [everything, everything - set(question.seen.tolist())]
        has_new_truth = not np.isin(question.truth, question.seen).all()
        assert len(rows.sizes) == 1 + has_new_truth
        group_counts.add(len(rows.sizes))
        for block, candidates in zip(blocks(rows), expected, strict=False):
            shown = items_of(model, rows.matrix[block])
            assert sorted(shown.tolist()) == sorted(candidates)
            assert rows.labels[block].tolist() == [int(row in question.truth) for row in shown]
    assert group_counts == {1, 2}


def test_the_features_are_those_of_a_request_at_the_windows_start(
    model: OrderingModel, asked: tuple[Window, list[Interest]]
) -> None:
    window, interests = asked
    question, interest = window.queries[5], interests[5]
    alone = Window(NOW_US, model.items, [question])
    rows = ranker_rows(model, alone, [interest], LIMITS, CONFIG, np.random.default_rng(0))
    for block in blocks(rows):
        shown = items_of(model, rows.matrix[block])
        scores = (model.vectors[shown] @ interest.vectors.T).max(axis=1)
        expected = encode(question.shopper, model.items, shown, scores, NOW_US, interest_fallback=False)
        np.testing.assert_allclose(rows.matrix[block], expected, atol=1e-5)


@pytest.mark.parametrize("negatives", [0, 3, 1000])
def test_negatives_are_capped_and_positives_are_not(
    model: OrderingModel, asked: tuple[Window, list[Interest]], negatives: int
) -> None:
    config = replace(CONFIG, negatives=negatives)
    rows = ranker_rows(model, *asked, LIMITS, config, np.random.default_rng(0))
    everything = ranker_rows(model, *asked, LIMITS, EVERY_CANDIDATE, np.random.default_rng(0))
    assert rows.labels.sum() == everything.labels.sum()
    assert len(rows.sizes) == len(everything.sizes)
    for block, whole in zip(blocks(rows), blocks(everything), strict=True):
        candidates = int((everything.labels[whole] == 0).sum())
        assert int((rows.labels[block] == 0).sum()) == min(negatives, candidates)


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.3, 0.2, 0.4), (1.0, 1, 1)])
def test_a_share_of_the_queries_is_scored_with_the_mean_of_the_history(
    model: OrderingModel, asked: tuple[Window, list[Interest]], share: float, low: float, high: float
) -> None:
    config = replace(CONFIG, fallback_share=share)
    rows = ranker_rows(model, *asked, LIMITS, config, np.random.default_rng(0))
    flags = rows.matrix[:, NAMES.index("interest_fallback")]
    for block in blocks(rows):
        assert len(set(flags[block].tolist())) == 1
    assert low <= np.mean([flags[block][0] for block in blocks(rows)]) <= high


def test_a_fallback_score_is_that_of_the_fallback_vector(
    model: OrderingModel, asked: tuple[Window, list[Interest]]
) -> None:
    window, interests = asked
    question = window.queries[7]
    alone = Window(NOW_US, model.items, [question])
    rows = ranker_rows(
        model, alone, interests[7:8], LIMITS, replace(CONFIG, fallback_share=1.0), np.random.default_rng(0)
    )
    mean = fallback_interest(model.vectors[question.shopper.history_rows]).vectors[0]
    expected = model.vectors[items_of(model, rows.matrix)] @ mean
    np.testing.assert_allclose(rows.matrix[:, NAMES.index("interest_score")], expected, atol=1e-5)


def test_the_same_seed_gives_the_same_rows(model: OrderingModel, asked: tuple[Window, list[Interest]]) -> None:
    config = replace(CONFIG, fallback_share=0.3)
    first, again, other = (
        ranker_rows(model, *asked, LIMITS, config, np.random.default_rng(seed)) for seed in (4, 4, 5)
    )
    for name in ("matrix", "labels", "sizes"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.matrix.shape != other.matrix.shape or not np.array_equal(first.matrix, other.matrix)


def test_a_stranger_teaches_nothing(model: OrderingModel, asked: tuple[Window, list[Interest]]) -> None:
    window, interests = asked
    stranger = query(model, None, list(range(20)))
    with_stranger = Window(NOW_US, model.items, [stranger, *window.queries])
    nothing = fallback_interest(model.vectors[:0])
    rows = ranker_rows(model, with_stranger, [nothing, *interests], LIMITS, CONFIG, np.random.default_rng(0))
    without = ranker_rows(model, window, interests, LIMITS, CONFIG, np.random.default_rng(0))
    np.testing.assert_array_equal(rows.matrix, without.matrix)


def test_a_window_without_any_positive_is_an_error(model: OrderingModel, asked: tuple[Window, list[Interest]]) -> None:
    window, interests = asked
    bored = [replace(question, truth=np.empty(0, np.int32)) for question in window.queries]
    with pytest.raises(ValueError, match="no query has a positive among its candidates"):
        ranker_rows(model, Window(NOW_US, model.items, bored), interests, LIMITS, CONFIG, np.random.default_rng(0))


# --- the fit ----------------------------------------------------------------------------------------------------


def taught(seed: int, queries: int = 50, size: int = 8) -> RankerRows:
    """Groups in which the two items with the highest interest score were taken."""
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((queries * size, len(NAMES))).astype(np.float32)
    scores = matrix[:, NAMES.index("interest_score")].reshape(queries, size)
    labels = (np.argsort(np.argsort(-scores, axis=1), axis=1) < 2).astype(np.int8).ravel()
    return RankerRows(matrix, labels, np.full(queries, size, dtype=np.int64))


FIT = RankerConfig(max_trees=20, early_stopping=5, min_data_in_leaf=10, num_leaves=7)


def test_the_ranker_orders_by_what_the_labels_follow() -> None:
    ranker = Ranker(fit_ranker(taught(0), None, FIT, seed=0, trees=20))
    unseen = taught(1)
    scores = ranker.score(unseen.matrix)
    best = [int(unseen.labels[block][scores[block].argmax()]) for block in blocks(unseen)]
    assert np.mean(best) > 0.9


def test_without_validation_it_grows_exactly_the_trees_asked_for() -> None:
    assert tree_count(fit_ranker(taught(0), None, FIT, seed=0, trees=7)) == 7


def test_with_validation_it_stops_where_that_got_no_better() -> None:
    rng = np.random.default_rng(5)
    unlearnable = replace(taught(1), labels=rng.permutation(taught(1).labels))
    assert tree_count(fit_ranker(taught(0), unlearnable, FIT, seed=0, trees=20)) < 20
    assert 0 < tree_count(fit_ranker(taught(0), taught(1), FIT, seed=0, trees=20)) <= 20


def test_the_same_seed_fits_the_same_text() -> None:
    """LightGBM's bagging by query once gave another model on every run, because it had two threads."""
    rows = taught(0, queries=300, size=20)
    first, *again = [fit_ranker(rows, None, FIT, seed=1, trees=10) for _ in range(4)]
    assert again == [first] * 3
    assert fit_ranker(rows, None, FIT, seed=2, trees=10) != first


def test_joined_rows_keep_both_windows_groups() -> None:
    first, second = taught(0, queries=3), taught(1, queries=2)
    both = joined(first, second)
    assert both.sizes.tolist() == [8] * 5
    np.testing.assert_array_equal(both.matrix, np.concatenate([first.matrix, second.matrix]))
    np.testing.assert_array_equal(both.labels, np.concatenate([first.labels, second.labels]))
