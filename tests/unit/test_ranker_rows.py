"""What the ranker learns from: labels, features and groups that belong together, on a shop of forty items."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lightgbm import Booster

from features import spec
from features.clock import to_us
from features.encode import encode, resolve
from features.vocab import NO_ROWS, Rows
from services.ranking.ordering import (
    CandidateLimits,
    Interest,
    OrderingModel,
    Ranker,
    fallback_interest,
    model_scores,
)
from tests.shop import DAY_US
from tests.tiny_shop import AS_OF, TinyShop, shoppers
from training.config import RankerConfig, Task
from training.queries import Query, Window
from training.ranker import Growth, RankerRows, fit_ranker, joined, ranker_rows

NOW_US = to_us(AS_OF)
LIMITS = CandidateLimits(total=30, buy_again=10, category=8, per_category=2, popular=8)
CONFIG = RankerConfig(negatives=5, fallback_share=0.0)
EVERY_CANDIDATE = replace(CONFIG, negatives=1000)
NAMES = list(spec.MATRIX_COLUMNS)
WEIGHTS = sorted(set(spec.EVENT_WEIGHTS.values()))
"""Item row n is engaged with by an event of weight n, counted round."""
TASKS: tuple[Task, ...] = ("all", "new")


def query(model: OrderingModel, stored: dict[str, Any] | None, truth: list[int]) -> Query:
    """A shopper of the tiny shop who will engage with `truth`."""
    shopper = resolve(stored, model.items)
    user_id = stored["user_id"] if stored else "a stranger"
    rows = np.array(sorted(truth), dtype=np.int32)
    weights = np.array([WEIGHTS[row % len(WEIGHTS)] for row in rows], dtype=np.float32)
    return Query(user_id, NOW_US, shopper, rows, weights, np.unique(shopper.repeat_rows))


@pytest.fixture(scope="module")
def asked(shop: TinyShop, model: OrderingModel) -> "Asked":
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


Asked = tuple[Window, list[Interest]]


def rows_of(
    model: OrderingModel,
    asked: Asked,
    task: Task,
    config: RankerConfig = CONFIG,
    limits: CandidateLimits = LIMITS,
    seed: int = 0,
) -> RankerRows:
    """Rows of one task alone."""
    alone = replace(config, tasks=(task,))
    return ranker_rows(model, *asked, limits, alone, np.random.default_rng(seed))[task]


def alone(model: OrderingModel, asked: Asked, number: int) -> Asked:
    """One of the queries."""
    return Window(NOW_US, model.items, [asked[0].queries[number]]), [asked[1][number]]


@pytest.mark.parametrize("task", TASKS)
def test_groups_add_up_to_the_rows(model: OrderingModel, asked: Asked, task: Task) -> None:
    rows = rows_of(model, asked, task)
    assert rows.sizes.sum() == rows.matrix.shape[0] == rows.labels.size
    assert rows.matrix.shape[1] == len(NAMES)
    assert rows.matrix.dtype == np.float32
    assert rows.labels.dtype == np.float32
    assert rows.sizes.min() > 0


def test_a_shopper_asks_over_all_items_and_over_new_ones_and_labels_say_what_they_took(
    model: OrderingModel, asked: Asked
) -> None:
    """With room for every item, the candidates of both questions are known."""
    everything = set(range(len(model.items.vocabulary)))
    room = CandidateLimits(total=len(everything))
    taken = 0
    for number, question in enumerate(asked[0].queries[:40]):
        if np.isin(question.truth, question.seen).all():
            continue
        new_ones = everything - set(question.seen.tolist())
        for task, candidates in zip(TASKS, (everything, new_ones), strict=True):
            rows = rows_of(model, alone(model, asked, number), task, EVERY_CANDIDATE, room)
            assert rows.sizes.tolist() == [len(candidates)]
            shown = items_of(model, rows.matrix)
            assert set(shown.tolist()) == candidates
            weights = [WEIGHTS[row % len(WEIGHTS)] if row in question.truth else 0.0 for row in shown]
            np.testing.assert_allclose(rows.labels, weights)
        taken += 1
    assert taken > 20


def test_who_took_nothing_new_is_no_group_of_the_new_task(model: OrderingModel, asked: Asked) -> None:
    window, interests = asked
    room = CandidateLimits(total=len(model.items.vocabulary))
    sizes = {task: rows_of(model, asked, task, EVERY_CANDIDATE, room).sizes for task in TASKS}
    took_new = [not np.isin(question.truth, question.seen).all() for question in window.queries]
    assert sizes["all"].size == len(interests)
    assert sizes["new"].size == sum(took_new) < len(interests)


def test_only_the_tasks_that_are_asked_for_have_rows(model: OrderingModel, asked: Asked) -> None:
    for tasks in (("all",), ("new",), ("new", "all")):
        config = replace(CONFIG, tasks=tasks)
        assert tuple(ranker_rows(model, *asked, LIMITS, config, np.random.default_rng(0))) == tasks


def test_a_query_is_encoded_at_its_own_instant(model: OrderingModel, asked: Asked) -> None:
    window, interests = asked
    late = [replace(question, now_us=NOW_US + 3 * DAY_US) for question in window.queries]
    later = replace(window, queries=late), interests
    before, after = (rows_of(model, of, "all", EVERY_CANDIDATE).matrix for of in (asked, later))
    for name in ("user_idle_days", "item_age_days", "item_idle_days"):
        moved = after[:, NAMES.index(name)] - before[:, NAMES.index(name)]
        np.testing.assert_allclose(moved, 3.0, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("task", TASKS)
def test_the_features_are_those_of_a_request_at_the_windows_start(
    model: OrderingModel, asked: Asked, task: Task
) -> None:
    queries = asked[0].queries
    number = next(at for at, one in enumerate(queries) if not np.isin(one.truth, one.seen).all())
    question, interest = queries[number], asked[1][number]
    room = CandidateLimits(total=len(model.items.vocabulary))
    rows = rows_of(model, alone(model, asked, number), task, CONFIG, room)
    shown = items_of(model, rows.matrix)
    said = model_scores(model, question.shopper, interest, model.item_to_item.ask(question.shopper), shown)
    np.testing.assert_allclose(rows.matrix, encode(question.shopper, model.items, shown, said, NOW_US), atol=1e-5)


@pytest.mark.parametrize("negatives", [0, 3, 1000])
def test_negatives_are_capped_and_positives_are_not(model: OrderingModel, asked: Asked, negatives: int) -> None:
    rows = rows_of(model, asked, "all", replace(CONFIG, negatives=negatives))
    everything = rows_of(model, asked, "all", EVERY_CANDIDATE)
    assert rows.labels.sum() == pytest.approx(everything.labels.sum())
    assert len(rows.sizes) == len(everything.sizes)
    for block, whole in zip(blocks(rows), blocks(everything), strict=True):
        candidates = int((everything.labels[whole] == 0).sum())
        assert int((rows.labels[block] == 0).sum()) == min(negatives, candidates)


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.3, 0.2, 0.4), (1.0, 1, 1)])
def test_a_share_of_the_queries_is_scored_with_the_mean_of_the_history(
    model: OrderingModel, asked: Asked, share: float, low: float, high: float
) -> None:
    rows = rows_of(model, asked, "all", replace(CONFIG, fallback_share=share))
    flags = rows.matrix[:, NAMES.index("interest_fallback")]
    for block in blocks(rows):
        assert len(set(flags[block].tolist())) == 1
    assert low <= np.mean([flags[block][0] for block in blocks(rows)]) <= high


def test_a_fallback_score_is_that_of_the_fallback_vector(model: OrderingModel, asked: Asked) -> None:
    rows = rows_of(model, alone(model, asked, 7), "all", replace(CONFIG, fallback_share=1.0))
    mean = fallback_interest(model.vectors[asked[0].queries[7].shopper.history_rows]).vectors[0]
    expected = model.vectors[items_of(model, rows.matrix)] @ mean
    np.testing.assert_allclose(rows.matrix[:, NAMES.index("interest_score")], expected, atol=1e-5)


def test_the_same_seed_gives_the_same_rows(model: OrderingModel, asked: Asked) -> None:
    config = replace(CONFIG, fallback_share=0.3)
    first, again, other = (rows_of(model, asked, "all", config, seed=seed) for seed in (4, 4, 5))
    for name in ("matrix", "labels", "sizes"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.matrix.shape != other.matrix.shape or not np.array_equal(first.matrix, other.matrix)


def test_a_stranger_teaches_nothing(model: OrderingModel, asked: Asked) -> None:
    window, interests = asked
    stranger = query(model, None, list(range(20)))
    with_stranger = Window(NOW_US, model.items, [stranger, *window.queries])
    nothing = fallback_interest(model.vectors[NO_ROWS])
    rows = rows_of(model, (with_stranger, [nothing, *interests]), "all")
    np.testing.assert_array_equal(rows.matrix, rows_of(model, asked, "all").matrix)


def test_a_window_without_any_positive_is_an_error_that_names_the_task(model: OrderingModel, asked: Asked) -> None:
    window, interests = asked
    strangers = [replace(question, shopper=resolve(None, model.items)) for question in window.queries]
    loyal = [
        replace(question, truth=question.seen, truth_weights=np.ones(question.seen.size, np.float32))
        for question in window.queries
    ]
    for queries, task in ((strangers, "all"), (loyal, "new")):
        with pytest.raises(ValueError, match=f"task {task}: no query has a positive among its candidates"):
            ranker_rows(
                model, Window(NOW_US, model.items, queries), interests, LIMITS, CONFIG, np.random.default_rng(0)
            )


# --- the fit ----------------------------------------------------------------------------------------------------


def taught(seed: int, queries: int = 50, size: int = 8) -> RankerRows:
    """Groups in which the two items with the highest interest score were taken."""
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((queries * size, len(NAMES))).astype(np.float32)
    scores = matrix[:, NAMES.index("interest_score")].reshape(queries, size)
    labels = (np.argsort(np.argsort(-scores, axis=1), axis=1) < 2).astype(np.float32).ravel()
    return RankerRows(matrix, labels, np.full(queries, size, dtype=np.int64))


FIT = RankerConfig(early_stopping=5, min_data_in_leaf=10, chance_leaves=7, order_leaves=7)
MOST = Growth(chance=15, order=10)


@pytest.mark.parametrize("growth", [Growth(50, 1), Growth(1, 50)])
def test_the_ranker_orders_by_what_the_labels_follow(growth: Growth) -> None:
    ranker = Ranker(fit_ranker(taught(0, queries=200), None, FIT, 0, growth).model_text)
    unseen = taught(1)
    scores = ranker.score(unseen.matrix)
    best = [float(unseen.labels[block][scores[block].argmax()]) for block in blocks(unseen)]
    assert np.mean(best) > 0.9


@pytest.mark.parametrize("growth", [Growth(20, 1), Growth(1, 20)])
def test_what_was_bought_is_put_before_what_was_only_looked_at(growth: Growth) -> None:
    bought, looked_at = NAMES.index("interest_score"), NAMES.index("history_score")
    rows = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        matrix = rng.normal(0, 0.1, (400 * 8, len(NAMES))).astype(np.float32)
        matrix[0::8, bought] += 3
        matrix[1::8, looked_at] += 3
        labels = np.tile(np.array([1.0, 0.05, 0, 0, 0, 0, 0, 0], np.float32), 400)
        labels *= rng.random(labels.size) < 0.5
        rows.append(RankerRows(matrix, labels, np.full(400, 8)))
    ranker = Ranker(fit_ranker(rows[0], None, FIT, 0, growth).model_text)
    scores = ranker.score(rows[1].matrix).reshape(400, 8)
    first, second, *others = scores.mean(axis=0).tolist()
    assert first > second > max(others)


def test_without_validation_it_grows_exactly_the_trees_asked_for() -> None:
    fitted = fit_ranker(taught(0), None, FIT, 0, MOST)
    assert fitted.growth == MOST
    assert Booster(model_str=fitted.model_text).num_trees() == 25


def test_with_validation_it_stops_where_that_got_no_better() -> None:
    rng = np.random.default_rng(5)
    unlearnable = replace(taught(1), labels=rng.permutation(taught(1).labels))
    stopped = fit_ranker(taught(0), unlearnable, FIT, 0, MOST).growth
    assert 0 < stopped.chance < MOST.chance
    assert 0 < stopped.order < MOST.order


def test_trees_for_the_order_go_on_from_those_for_the_chance() -> None:
    chance = fit_ranker(taught(0), None, FIT, 0, Growth(15, 1)).model_text
    both = fit_ranker(taught(0), None, FIT, 0, MOST).model_text
    first = slice(chance.index("Tree=0"), chance.index("Tree=15"))
    assert both[both.index("Tree=0") : both.index("Tree=15")] == chance[first]


def test_the_same_seed_fits_the_same_text() -> None:
    """LightGBM's bagging by query once gave another model on every run, because it had two threads."""
    rows = taught(0, queries=300, size=20)
    first, *again = [fit_ranker(rows, None, FIT, 1, MOST) for _ in range(4)]
    assert again == [first] * 3
    assert fit_ranker(rows, None, FIT, 2, MOST) != first


def test_joined_rows_keep_every_windows_groups_in_order() -> None:
    windows = [taught(seed, queries=count) for seed, count in enumerate((3, 2, 1))]
    whole = joined(windows)
    assert whole.sizes.tolist() == [8] * 6
    np.testing.assert_array_equal(whole.matrix, np.concatenate([rows.matrix for rows in windows]))
    np.testing.assert_array_equal(whole.labels, np.concatenate([rows.labels for rows in windows]))
    assert joined(windows[:1]).sizes.tolist() == [8] * 3
