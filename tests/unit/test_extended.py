"""A model with live items is the model that training would have made of the catalogue as it stands."""

from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import spec
from features.encode import Floats, item_columns, resolve
from features.live_items import LiveItem, from_json, items_table, to_json
from features.schema import ITEMS
from features.transforms import item_features, known_events
from features.vectors import MappedVectors, every_vector
from features.vocab import NO_ROWS, Rows
from services.ranking.ordering import (
    CandidateLimits,
    Conditions,
    Facets,
    ItemToItem,
    Mask,
    OrderingModel,
    kept,
    nearest,
    popular,
    popular_rows,
    similar,
    tie_keys,
    trending,
    wanted,
)
from services.ranking.ordering.extended import extended
from services.ranking.ordering.facets import AttributeRule
from services.ranking.ordering.interest import Interest
from services.retrieval.index import build_index
from tests import shop
from tests.strategies import unhurried

AS_OF = shop.day(60)
WIDTH = 16
COUNT = 30
PATHS = ((), ("bakery",), ("bakery", "bread"), ("cellar", "red"), ("cellar", "red", "old"))
NEW_PATHS = (*PATHS, ("garden", "seeds"))
CONDITIONS = (
    Conditions(),
    Conditions(allow_sensitive=True),
    Conditions(in_stock_only=True),
    Conditions(include_categories=("bakery", "garden")),
    Conditions(exclude_categories=("red",), allow_sensitive=True),
    Conditions(include_brands=("b1", "b9")),
    Conditions(exclude_brands=("b1",)),
    Conditions(minimum_price=2.0, maximum_price=6.0),
    Conditions(attributes=(AttributeRule(name="size", include_values=("large", "huge")),)),
    Conditions(attributes=(AttributeRule(name="size", exclude_values=("large",)),)),
)


def an_item(name: str, rng: np.random.Generator, *, vector: bool, of: tuple[tuple[str, ...], ...]) -> LiveItem:
    return LiveItem(
        item_id=name,
        title=name,
        category=of[int(rng.integers(len(of)))],
        brand=[None, "b1", "b2", "b9"][int(rng.integers(4))],
        price=None if rng.random() < 0.2 else float(rng.integers(1, 9)),
        attributes=tuple(("size", size) for size in ("large", "small", "huge") if rng.random() < 0.3),
        in_stock=bool(rng.random() < 0.7),
        sensitive=bool(rng.random() < 0.2),
        deleted=bool(rng.random() < 0.2),
        flags=("odd",) if rng.random() < 0.2 else (),
        vector=a_vector(rng) if vector else None,
    )


def a_vector(rng: np.random.Generator) -> Floats:
    """Small whole numbers: scores are exact, and many are equal."""
    return rng.integers(-2, 3, WIDTH).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Corner:
    """What training knew."""

    items: pl.DataFrame
    features: pl.DataFrame
    vectors: Floats
    model: OrderingModel


def happened(rng: np.random.Generator) -> pl.DataFrame:
    """Events of most items, at prices that no catalogue has."""
    rows = []
    for number in range(200):
        item, on = int(rng.integers(COUNT - 5)), float(rng.uniform(0, 59))
        price = None if item % 3 else 20.5 + item
        event_id = f"event-{number}"
        rows.append(shop.event(f"user-{number % 50}", f"item-{item}", on, price=price, event_id=event_id))
    return shop.events(*rows)


def assembled(items: pl.DataFrame, vectors: Floats, popular: Rows | None = None) -> tuple[OrderingModel, pl.DataFrame]:
    """What training makes of a catalogue, with what happened in the corner shop."""
    events = known_events(happened(np.random.default_rng(5)), AS_OF)
    features = item_features(events, items, shop.promotions(), AS_OF)
    columns = item_columns(items, features, AS_OF)
    rows = popular_rows(columns) if popular is None else popular
    model = OrderingModel.assemble(columns, vectors, build_index(vectors), company(), rows, Facets.of(items))
    return model, features


def company() -> ItemToItem:
    tables = len(spec.I2I_TABLES)
    rows = np.array([1, 4, 9], np.int32)
    return ItemToItem(
        rows, np.tile(np.array([[1], [2], [0]], np.int32), (tables, 1, 1)), np.ones((tables, 3, 1), np.float32)
    )


def corner() -> Corner:
    rng = np.random.default_rng(1)
    listed = [replace(an_item(f"item-{row}", rng, vector=False, of=PATHS), deleted=False) for row in range(COUNT)]
    items = items_table(listed)
    vectors = np.stack([a_vector(rng) for _ in range(COUNT)])
    model, features = assembled(items, vectors)
    return Corner(items, features, vectors, model)


CORNER = corner()


@dataclass(frozen=True, slots=True)
class Joined:
    """The catalogue as it stands, assembled from scratch, and what of it is gone."""

    model: OrderingModel
    gone: Mask

    def names(self, rows: Rows) -> list[str]:
        return self.model.items.vocabulary.names(rows)


def joined(changes: list[LiveItem]) -> Joined:
    """Rows of the bundle first, new items behind by tie key; a deleted item of the bundle stays as it was."""
    of_id = {change.item_id: change for change in changes}
    before = CORNER.items["item_id"].to_list()
    new = [change for change in of_id.values() if change.item_id not in before]
    new = [change for change in new if not (change.deleted and change.vector is None)]
    new = [new[place] for place in np.argsort(tie_keys([change.item_id for change in new]))]
    rows, vectors = [], []
    for row, name in enumerate(before):
        change = of_id.get(name)
        if change is None or change.deleted:
            rows.append(CORNER.items[row])
            vectors.append(CORNER.vectors[row])
        else:
            rows.append(as_rows(change))
            vectors.append(CORNER.vectors[row] if change.vector is None else change.vector)
    for change in new:
        rows.append(as_rows(change))
        vectors.append(np.zeros(WIDTH, np.float32) if change.vector is None else change.vector)
    order = np.concatenate([CORNER.model.popular_rows, np.arange(COUNT, COUNT + len(new), dtype=np.int32)])
    model, _ = assembled(pl.concat(rows), np.stack(vectors), order)
    gone = [name in of_id and of_id[name].deleted for name in model.items.vocabulary.ids]
    return Joined(model, np.array(gone, dtype=np.bool_))


def as_rows(change: LiveItem) -> pl.DataFrame:
    return items_table([change]).with_columns(sensitive=pl.lit(change.is_hidden))


@st.composite
def changes(draw: st.DrawFn) -> list[LiveItem]:
    """Some of the bundle's items, and new ones."""
    rng = np.random.default_rng(draw(st.integers(0, 100_000)))
    old = draw(st.lists(st.integers(0, COUNT - 1), unique=True, max_size=12))
    new = draw(st.integers(0, 8))
    names = [f"item-{row}" for row in old] + [f"new-{number}" for number in range(new)]
    return [an_item(name, rng, vector=bool(rng.random() < 0.7), of=NEW_PATHS) for name in names]


def masks(changed: list[LiveItem]) -> Mask:
    """Which rows no search may find: without a vector, and not the bundle's."""
    model = extended(CORNER.model, changed)
    bare = {change.item_id for change in changed if change.vector is None}
    return np.array(
        [row >= COUNT and name in bare for row, name in enumerate(model.items.vocabulary.ids)], dtype=np.bool_
    )


@unhurried
@given(changes())
def test_columns_are_those_of_the_joined_catalogue(changed: list[LiveItem]) -> None:
    found, expected = extended(CORNER.model, changed), joined(changed).model
    assert found.items.vocabulary.ids == expected.items.vocabulary.ids
    for kind, codes in (("leaves", "leaf"), ("categories", "category")):
        assert named(found, kind, codes) == named(expected, kind, codes)
    np.testing.assert_allclose(found.items.matrix, expected.items.matrix, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.tie_keys, expected.tie_keys)
    np.testing.assert_array_equal(found.rows_by_key, expected.rows_by_key)
    np.testing.assert_array_equal(found.little_known, expected.little_known)
    np.testing.assert_array_equal(every_vector(found.vectors), expected.vectors[np.arange(len(expected.vectors))])


def named(model: OrderingModel, kind: str, codes: str) -> list[str]:
    names = [*getattr(model.items, kind).ids, ""]
    return [names[code] for code in getattr(model.items, codes)]


@unhurried
@given(changes())
def test_codes_of_the_bundle_stay(changed: list[LiveItem]) -> None:
    found = extended(CORNER.model, changed)
    for kind in ("leaves", "categories"):
        before = getattr(CORNER.model.items, kind).ids
        assert getattr(found.items, kind).ids[: len(before)] == before


@unhurried
@given(changes())
def test_filters_let_through_what_they_would_of_the_joined_catalogue(changed: list[LiveItem]) -> None:
    found, expected = extended(CORNER.model, changed), joined(changed)
    for conditions in CONDITIONS:
        for ask in (kept, wanted):
            mask = ask(expected.model.facets, conditions) & ~expected.gone
            np.testing.assert_array_equal(ask(found.facets, conditions), mask)


@unhurried
@given(changes())
def test_popular_and_trending_lists_are_those_of_the_joined_catalogue(changed: list[LiveItem]) -> None:
    found, expected = extended(CORNER.model, changed), joined(changed)
    np.testing.assert_array_equal(found.popular_rows, expected.model.popular_rows)
    for code, name in enumerate(found.items.leaves.ids):
        [other] = expected.model.items.leaves.rows([name])
        rows = expected.model.popular_in_leaf[other] if other >= 0 else NO_ROWS  # everything has left it
        np.testing.assert_array_equal(found.popular_in_leaf[code], rows)
    allowed = found.facets.without_sensitive
    assert popular(found, 40, allowed).rows.tolist() == popular(expected.model, 40, allowed).rows.tolist()
    assert trending(found, 40, allowed).rows.tolist() == trending(expected.model, 40, allowed).rows.tolist()


@unhurried
@given(changes(), st.integers(0, 1000), st.integers(1, 40), st.booleans())
def test_nearest_items_are_those_of_the_joined_catalogue(
    changed: list[LiveItem], seed: int, count: int, every: bool
) -> None:
    found, expected, rng = extended(CORNER.model, changed), joined(changed), np.random.default_rng(seed)
    there = ~expected.gone & ~masks(changed)
    asked = None if every else rng.random(there.size) < 0.6
    allowed = there if asked is None else there & asked
    queries = np.stack([a_vector(rng) for _ in range(3)])
    for one, other in zip(
        found.index.search(queries, count, asked), expected.model.index.search(queries, count, allowed), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@unhurried
@given(changes(), st.integers(0, 1000), st.integers(1, 40))
def test_similar_items_are_the_nearest_with_new_ones_as_long_as_the_context(
    changed: list[LiveItem], seed: int, count: int
) -> None:
    found, expected, rng = extended(CORNER.model, changed), joined(changed), np.random.default_rng(seed)
    context = rng.integers(0, COUNT, 2).astype(np.int32)
    query = expected.model.vectors[context].mean(axis=0)
    other = [change.item_id for change in changed if change.vector is not None and not change.deleted]
    rows = expected.model.items.vocabulary.rows(other)
    vectors = every_vector(expected.model.vectors)
    lengths = np.maximum(np.linalg.norm(vectors[rows], axis=1, keepdims=True), 1e-9)
    vectors[rows] *= np.linalg.norm(query) / lengths
    allowed = ~expected.gone & ~masks(changed)
    allowed[context] = False
    scores = vectors @ query
    like = similar(found, context, count)
    best = np.sort(scores[allowed])[::-1][:count]
    assert allowed[like.rows].all()
    np.testing.assert_allclose(scores[like.rows], best, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(like.scores, best, rtol=2e-3, atol=2e-3)


@unhurried
@given(changes(), st.randoms(use_true_random=False))
def test_the_order_of_changes_does_not_matter(changed: list[LiveItem], luck: Random) -> None:
    shuffled = list(changed)
    luck.shuffle(shuffled)
    one, other = extended(CORNER.model, changed), extended(CORNER.model, shuffled)
    assert one.items.vocabulary.ids == other.items.vocabulary.ids
    np.testing.assert_array_equal(one.items.matrix, other.items.matrix)


def test_nothing_that_happened_is_the_very_model() -> None:
    assert extended(CORNER.model, []) is CORNER.model
    never_seen = LiveItem(item_id="never-seen", deleted=True)
    assert extended(CORNER.model, [never_seen]) is CORNER.model


def test_the_bundles_arrays_stay_as_they_are() -> None:
    rng = np.random.default_rng(2)
    names = [f"item-{row}" for row in range(COUNT)] + ["new"]
    before, fresh = CORNER.model, corner().model
    extended(before, [an_item(name, rng, vector=True, of=NEW_PATHS) for name in names])
    np.testing.assert_array_equal(before.items.matrix, fresh.items.matrix)
    np.testing.assert_array_equal(before.facets.price, fresh.facets.price)
    np.testing.assert_array_equal(every_vector(before.vectors), every_vector(fresh.vectors))


def test_a_shopper_of_its_taste_is_shown_a_new_item() -> None:
    vector = np.full(WIDTH, 2.0, np.float32)
    found = extended(CORNER.model, [LiveItem(item_id="new", vector=vector)])
    shopper = resolve(None, found.items)
    rows = nearest(found, shopper, Interest(vector[np.newaxis], is_fallback=False), CandidateLimits(total=5))
    assert found.items.vocabulary.names(rows)[0] == "new"
    context = found.items.vocabulary.rows(["new"])
    back = similar(found, context, 5)
    assert COUNT not in back.rows
    first = np.argmax(CORNER.vectors @ vector)
    assert back.rows[0] == first


def test_what_stands_in_a_history_is_still_known_when_it_is_deleted() -> None:
    found = extended(CORNER.model, [LiveItem(item_id="item-3", deleted=True)])
    row: dict[str, Any] = {feature.name: feature.default for feature in spec.USER_FEATURES}
    row |= {"last_event_us": 1, "history_item_ids": ["item-3"], "history_event_types": [1], "history_times_us": [1]}
    assert resolve(row, found.items).history_rows.tolist() == [3]
    np.testing.assert_array_equal(found.vectors[np.array([3])], CORNER.vectors[[3]])
    assert not wanted(found.facets, Conditions(allow_sensitive=True))[3]


def test_mapped_vectors_may_lie_below(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("vectors") / "vectors.npy"
    np.save(path, CORNER.vectors.astype(np.float16))
    base = replace(CORNER.model, vectors=MappedVectors(path))
    other = np.ones(WIDTH, np.float32)
    found = extended(base, [LiveItem(item_id="item-2", vector=other), LiveItem(item_id="new")])
    expected = np.concatenate([CORNER.vectors, np.zeros((1, WIDTH), np.float32)])
    expected[2] = other
    np.testing.assert_array_equal(every_vector(found.vectors), expected)
    assert found.vectors[NO_ROWS].shape == (0, WIDTH)


def test_a_vector_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="odd: vector of shape"):
        extended(CORNER.model, [LiveItem(item_id="odd", vector=np.ones(3, np.float32))])


def test_an_extended_model_is_not_extended_again() -> None:
    once = extended(CORNER.model, [LiveItem(item_id="new", vector=np.ones(WIDTH, np.float32))])
    with pytest.raises(TypeError, match="extended one already"):
        extended(once, [LiveItem(item_id="newer", vector=np.ones(WIDTH, np.float32))])


@unhurried
@given(changes())
def test_json_keeps_everything_but_the_vector(changed: list[LiveItem]) -> None:
    for change in changed:
        again = from_json(to_json(change))
        assert again == change
        assert again.vector is None
    assert items_table(changed).schema == ITEMS


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"item_id":""}', '{"item_id":"a","price":-1}', '{"item_id":"a","attributes":[{}]}']
)
def test_what_is_no_item_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"item_id|a:|Expecting"):
        from_json(text)
