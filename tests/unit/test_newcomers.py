"""Items without history take the places that items like them take, and items with history keep their vectors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.numbered_events import ITEMS, daily, numbered
from training.config import VECTOR_SIZE, InterestTowerConfig
from training.interest_tower import InterestTower, ItemVectors
from training.newcomers import fair_factor, with_fair_newcomers
from training.stage_b import all_item_vectors
from training.towers import FittedText, Towers

pytestmark = pytest.mark.usefixtures("one_thread")
COUNT, SHOPPERS = 400, 60
RNG = np.random.default_rng(0)
TASTES = RNG.standard_normal((SHOPPERS, 1, VECTOR_SIZE)).astype(np.float32)
VECTORS = RNG.standard_normal((COUNT, VECTOR_SIZE)).astype(np.float32)
STRIPPED = np.arange(0, COUNT, 10)


def places(vectors: np.ndarray) -> float:
    best = np.argsort(-(TASTES[:, 0] @ vectors.T), axis=1)[:, :20]
    return float(np.isin(best, STRIPPED).mean())


@pytest.mark.parametrize("explained", [0.3, 0.6, 2.0])
def test_stripped_items_take_as_many_places_as_before(explained: float) -> None:
    """Where a text explains so much of a vector, the factor undoes it."""
    factor = fair_factor(TASTES, VECTORS, explained * VECTORS, STRIPPED)
    assert factor == pytest.approx(1 / explained, rel=0.05)
    raised = VECTORS.copy()
    raised[STRIPPED] *= factor * explained
    assert places(raised) == pytest.approx(places(VECTORS), abs=0.005)


def test_texts_that_explain_the_wrong_thing_get_no_more_places_than_their_share() -> None:
    explained = 0.1 * RNG.standard_normal(VECTORS.shape).astype(np.float32)
    raised = VECTORS.copy()
    raised[STRIPPED] = fair_factor(TASTES, VECTORS, explained, STRIPPED) * explained[STRIPPED]
    assert places(raised) <= places(VECTORS) + 0.02


def test_items_with_events_keep_their_vectors_and_others_get_their_texts_at_the_fair_length() -> None:
    torch.manual_seed(0)
    events = numbered(*(daily(0, 1, 2, 3),) * 3)
    events = replace(events, event_types=np.ones(events.rows.size, np.int64))
    text = np.random.default_rng(0).standard_normal((ITEMS, VECTOR_SIZE)).astype(np.float32)
    items = ItemVectors(torch.from_numpy(text), dropout=0.0).eval()
    with torch.no_grad():
        items.residual.weight[:4] = torch.randn(4, VECTOR_SIZE)
    interest = InterestTower(InterestTowerConfig(layers=1)).eval()
    read = FittedText(torch.nn.Identity(), text, held_out=np.array([1, 3], dtype=np.int32))  # type: ignore[arg-type]
    towers = Towers(read, interest, items, all_item_vectors(items))
    fair = with_fair_newcomers(towers, events, seed=0)
    np.testing.assert_allclose(fair.vectors[:4], towers.vectors[:4], atol=2e-3)
    factor = fair.items.adapter.weight[0, 0].item()
    assert factor != 1.0
    np.testing.assert_allclose(fair.vectors[4], factor * towers.vectors[4], rtol=2e-3, atol=2e-3)
    assert towers.items.adapter.weight[0, 0].item() == 1.0
    taught = replace(towers, text=replace(read, held_out=np.empty(0, dtype=np.int32)))
    assert with_fair_newcomers(taught, events, seed=0) is taught
