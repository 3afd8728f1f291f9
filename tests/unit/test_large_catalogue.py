"""A catalogue beyond the exact index, at a fiftieth of the size that is promised: what serving opens, and what it
lists."""

from pathlib import Path

import numpy as np
import pytest

from features.clock import to_us
from features.encode import item_columns, resolve
from features.vectors import MappedVectors, every_vector
from services.ranking.ordering import (
    Conditions,
    Facets,
    Interest,
    Mask,
    OrderingModel,
    RankedList,
    fallback_interest,
    popular_rows,
    recommend,
    wanted,
)
from services.ranking.release import Release, open_release
from services.retrieval.index import Index, build_index
from tests.large_shop import AS_OF, Catalogue, catalogue, large_shoppers, write_large_bundle

ITEMS, EXACT_ROWS_MAX = 20_000, 10_000


@pytest.fixture(scope="module")
def shop() -> Catalogue:
    return catalogue(ITEMS)


@pytest.fixture(scope="module")
def release(shop: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Release:
    bundles = tmp_path_factory.mktemp("bundles")
    write_large_bundle(bundles, shop, EXACT_ROWS_MAX, tree_count=10)
    return open_release(bundles)


@pytest.fixture(autouse=True)
def read_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A query reads a tenth of the rows."""
    monkeypatch.setattr("services.retrieval.index.READ_ROWS", ITEMS // 10)
    monkeypatch.setattr("services.retrieval.index.READ_ROWS_PER_RESULT", 1)


def in_memory(shop: Catalogue, release: Release, index: Index) -> OrderingModel:
    """The shop as training holds it, with an index of its own."""
    columns = item_columns(shop.items, shop.features, AS_OF)
    company, facets = release.model.item_to_item, Facets.of(shop.items)
    return OrderingModel.assemble(columns, shop.vectors, index, company, popular_rows(columns), facets)


def lists(model: OrderingModel, release: Release, shop: Catalogue, allowed: Mask | None = None) -> list[RankedList]:
    """What some shoppers are recommended."""
    found = []
    for row in large_shoppers(shop, 20).values():
        shopper = resolve(row, model.items)
        mean = fallback_interest(model.vectors[shopper.history_rows[-3:]]).vectors
        interest, ranker = Interest(mean, is_fallback=False), release.rankers.all_items
        found.append(recommend(model, ranker, shopper, interest, release.limits, to_us(AS_OF), allowed))
    return found


def test_the_vectors_stay_in_their_file_and_come_out_as_they_went_in(shop: Catalogue, release: Release) -> None:
    vectors = release.model.vectors
    assert isinstance(vectors, MappedVectors)
    assert len(vectors) == ITEMS
    rows = np.array([ITEMS - 1, 0, 7, 7], np.int32)
    assert vectors[rows].dtype == np.float32
    np.testing.assert_array_equal(vectors[rows], shop.vectors[rows])
    np.testing.assert_array_equal(every_vector(vectors), shop.vectors)
    with pytest.raises(IndexError):
        vectors[np.array([ITEMS], np.int32)]


@pytest.mark.parametrize("stored", [np.zeros(4, np.float16), np.zeros((4, 2), np.int32)])
def test_a_file_of_anything_else_is_refused(tmp_path: Path, stored: np.ndarray) -> None:
    np.save(tmp_path / "vectors.npy", stored)
    with pytest.raises(ValueError, match=r"vectors\.npy: .*expected floats \(N, D\)"):
        MappedVectors(tmp_path / "vectors.npy")


def test_lists_are_to_the_bit_those_that_evaluation_ranks(shop: Catalogue, release: Release) -> None:
    evaluated = in_memory(shop, release, build_index(shop.vectors, exact_rows_max=EXACT_ROWS_MAX))
    for ours, theirs in zip(lists(release.model, release, shop), lists(evaluated, release, shop), strict=True):
        for part in ("rows", "scores", "interest", "sources"):
            np.testing.assert_array_equal(getattr(ours, part), getattr(theirs, part))


@pytest.mark.parametrize("filtered", [{}, {"include_categories": ("department 3", "department 4")}])
def test_lists_hold_nearly_all_that_an_exact_index_proposes(
    shop: Catalogue, release: Release, filtered: dict[str, tuple[str, ...]]
) -> None:
    assert release.model.index.kind == "lists"
    exact = in_memory(shop, release, build_index(shop.vectors))
    assert exact.index.kind == "flat"
    allowed = wanted(release.model.facets, Conditions(**filtered))  # type: ignore[arg-type] # only tuples
    pairs = zip(lists(release.model, release, shop, allowed), lists(exact, release, shop, allowed), strict=True)
    shares = [np.isin(theirs.rows, ours.rows).mean() for ours, theirs in pairs]
    assert 0.95 < np.mean(shares) <= 1.0
