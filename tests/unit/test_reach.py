"""Which items a new one is a neighbour of: by brute force, and looked for once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.encode import Floats
from features.live_items import LiveItem
from features.vectors import MappedVectors
from services.ranking.ordering import OrderingModel, extended
from services.ranking.ordering.reach import NEIGHBOURS, REMEMBERED, Nearest, Remembered, nearest_in_bundle, reach
from services.retrieval.index import build_index
from tests.strategies import unhurried
from tests.tiny_shop import TinyShop

WIDTH = 128


def some_vectors(seed: int, count: int) -> Floats:
    return np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)


def cosines_of(model: OrderingModel, vector: Floats) -> Floats:
    own = model.vectors[np.arange(model.item_count)]
    found: Floats = own @ vector / np.linalg.norm(own, axis=1) / np.linalg.norm(vector)
    return found


def with_sensitive(model: OrderingModel, *rows: int) -> OrderingModel:
    sensitive = model.facets.sensitive.copy()
    sensitive[list(rows)] = True
    return replace(model, facets=replace(model.facets, sensitive=sensitive))


@pytest.mark.parametrize("count", [1, 3, 70])
def test_the_nearest_are_those_of_brute_force(model: OrderingModel, count: int) -> None:
    shown = with_sensitive(model, 3, 4)
    vectors = 0.01 * some_vectors(1, count)
    nearest = nearest_in_bundle(shown, vectors)
    for vector, rows, cosines in zip(vectors, nearest.rows, nearest.cosines, strict=True):
        expected = cosines_of(shown, vector)
        expected[[3, 4]] = -np.inf
        assert rows.tolist() == np.argsort(-expected)[:REMEMBERED].tolist()
        np.testing.assert_allclose(cosines, expected[rows], atol=1e-5)


def test_vectors_in_a_file_and_lists_of_an_index_answer_alike(model: OrderingModel, tmp_path: Path) -> None:
    own = (
        model.vectors[np.arange(model.item_count)] * np.linspace(0.5, 2.0, model.item_count, dtype=np.float32)[:, None]
    )
    np.save(tmp_path / "vectors.npy", own.astype(np.float16))
    mapped = MappedVectors(tmp_path / "vectors.npy")
    whole = replace(model, vectors=mapped, index=build_index(own))
    by_lists = replace(whole, index=build_index(own, exact_rows_max=10))
    assert by_lists.index.kind == "lists"
    vectors = some_vectors(2, 5)
    one, other = (nearest_in_bundle(there, vectors) for there in (whole, by_lists))
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_allclose(one.cosines, other.cosines, atol=1e-5)


def test_what_has_no_direction_is_like_nothing(model: OrderingModel) -> None:
    vectors = np.concatenate([some_vectors(3, 1), np.zeros((1, WIDTH), np.float32)])
    nearest = nearest_in_bundle(model, vectors)
    assert (nearest.rows[0] >= 0).all()
    assert (nearest.rows[1] < 0).all()
    assert np.isposinf(reach(nearest, np.ones(model.item_count, np.bool_))).tolist() == [False, True]


def test_a_shop_of_fewer_items_than_are_remembered(shop: TinyShop) -> None:
    few = with_sensitive(shop.model(), *range(3, 40))
    nearest = nearest_in_bundle(few, some_vectors(4, 2))
    assert (nearest.rows >= 0).sum(axis=1).tolist() == [3, 3]
    none = with_sensitive(few, 0, 1, 2)
    assert (nearest_in_bundle(none, some_vectors(4, 2)).rows < 0).all()


def found(*cosines: float) -> Nearest:
    rows = np.arange(len(cosines), dtype=np.int32)[np.newaxis]
    return Nearest(rows, np.array([cosines], np.float32))


def test_the_reach_is_the_cosine_of_the_last_neighbour_that_is_there() -> None:
    nearest = found(0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
    there = np.ones(7, np.bool_)
    assert reach(nearest, there) == pytest.approx([0.5])
    there[[1, 3]] = False
    assert reach(nearest, there) == pytest.approx([0.3])
    there[[0, 2]] = False
    assert reach(nearest, there) == pytest.approx([0.3])  # fewer are there than count
    assert np.isposinf(reach(nearest, np.zeros(7, np.bool_)))


def test_what_points_elsewhere_is_no_neighbour() -> None:
    assert reach(found(0.9, 0.1, 0.0, -0.2), np.ones(4, np.bool_)) == pytest.approx([0.1])
    assert np.isposinf(reach(found(-0.1, -0.2), np.ones(2, np.bool_)))


class Counted:
    """`nearest_in_bundle`, and how many vectors it was asked for at each call."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, model: OrderingModel, vectors: Floats) -> Nearest:
        self.asked.append(len(vectors))
        return nearest_in_bundle(model, vectors)


@unhurried
@given(st.lists(st.lists(st.integers(0, 6), max_size=6), max_size=6))
def test_what_is_remembered_is_what_would_be_found(model: OrderingModel, rounds: list[list[int]]) -> None:
    every, remembered = some_vectors(5, 7), Remembered(nearest_in_bundle)
    for numbers in rounds:
        vectors = every[np.array(numbers, dtype=np.int64)]
        one, other = remembered(model, vectors), nearest_in_bundle(model, vectors)
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_allclose(one.cosines, other.cosines, atol=1e-6)


def test_a_vector_is_looked_for_once_as_long_as_it_is_asked_for(model: OrderingModel) -> None:
    vectors, counted = some_vectors(6, 3), Counted()
    remembered = Remembered(counted)
    for numbers in ([0, 1], [0, 1], [0, 1, 2], [2, 1, 2], [0, 2]):
        remembered(model, vectors[numbers])
    assert counted.asked == [2, 1, 1]  # the first was forgotten in between


def test_with_one_item_more_the_others_are_not_looked_for_again(model: OrderingModel) -> None:
    vectors, counted = some_vectors(7, 4), Counted()
    items = [LiveItem(item_id=f"new-{number}", vector=vector) for number, vector in enumerate(vectors)]
    remembered = Remembered(counted)
    extended(model, items[:3], remembered)
    extended(model, items, remembered)
    extended(model, [*items[1:], replace(items[0], title="another title")], remembered)
    changed = [replace(items[0], vector=-vectors[0]), *items[1:]]
    last = extended(model, changed, remembered)
    assert counted.asked == [3, 1, 1]
    for one in range(model.item_count):
        context = model.vectors[np.array([one])]
        assert neighbours(last, context) == neighbours(extended(model, changed), context)


def neighbours(model: OrderingModel, context: Floats) -> list[int]:
    rows: list[int] = model.index.neighbours(context).tolist()  # type: ignore[union-attr]
    return rows


@unhurried
@given(st.integers(0, 10_000))
def test_a_new_item_is_a_neighbour_of_those_it_is_most_like_and_of_no_others(model: OrderingModel, seed: int) -> None:
    vector = 0.1 * some_vectors(seed, 1)[0]
    there = extended(model, [LiveItem(item_id="new", vector=vector)])
    cosines = cosines_of(model, vector)
    of = [row for row in range(model.item_count) if neighbours(there, model.vectors[np.array([row])])]
    best = np.argsort(-cosines)[:NEIGHBOURS]
    best = best[cosines[best] > 1e-3]
    assert set(best.tolist()) <= set(of)
    assert cosines[of].min() > cosines[best[-1]] - 1e-3  # as far as half precision tells them apart


def test_what_is_gone_hidden_or_changed_counts_for_no_reach(model: OrderingModel) -> None:
    vector = some_vectors(8, 1)[0]
    nearest = np.argsort(-cosines_of(model, vector))[: NEIGHBOURS + 3].tolist()
    changes = [
        LiveItem(item_id="new", vector=vector),
        LiveItem(item_id=f"item-{nearest[0]}", deleted=True),
        LiveItem(item_id=f"item-{nearest[1]}", flags=("odd",)),
        LiveItem(item_id=f"item-{nearest[2]}", vector=-vector),
    ]
    there = extended(model, changes)
    last, beyond = nearest[-1], np.argsort(-cosines_of(model, vector))[NEIGHBOURS + 3]
    assert neighbours(there, model.vectors[np.array([last])]) == [model.item_count]
    assert neighbours(there, model.vectors[np.array([beyond])]) == []
