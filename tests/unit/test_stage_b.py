"""Stage B: what a step's targets are told from, what it costs to miss them, and that fitting learns what follows."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from services.ranking.ordering import interest_scores
from services.ranking.ordering.interest import Interest
from tests.unit.numbered_events import ITEMS, daily, numbered
from training import stage_b
from training.config import VECTOR_SIZE, InterestTowerConfig
from training.dataset import Sequences
from training.histories import HistoryBatch, HistorySampler
from training.interest_tower import InterestTower, ItemVectors
from training.stage_b import all_item_vectors, fit_interest_tower

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = InterestTowerConfig(
    layers=1,
    heads=2,
    dropout=0.0,
    steps=0,
    batch_size=8,
    targets="all",
    target_events=1,
    target_days=100.0,
    uniform_negatives=16,
    residual_dropout=0.0,
)
TURNS = [[(first + step * at) % ITEMS for at in range(12)] for first in range(ITEMS) for step in (1, 2)]
"""Some go through the items one by one, some leave one out each time: two events say which."""


def turns() -> Sequences:
    return numbered(*(daily(*rows) for rows in TURNS))


def towers(config: InterestTowerConfig, seed: int = 0) -> tuple[InterestTower, ItemVectors]:
    torch.manual_seed(seed)
    text = torch.nn.functional.normalize(torch.randn(ITEMS, VECTOR_SIZE), dim=1)
    return InterestTower(config), ItemVectors(text, config.residual_dropout)


def next_item(tower: InterestTower, items: ItemVectors, rows: list[int]) -> int:
    """What is thought to come after purchases of these rows, one a day."""
    vectors = items.eval().all()
    history = vectors[torch.tensor([rows])]
    types = torch.ones(1, len(rows), dtype=torch.int64)
    ages = torch.arange(len(rows) - 1, -1, -1.0)[None]
    with torch.inference_mode():
        interests = tower.eval()(history, types, ages)[0].numpy()
    return int(interest_scores(Interest(interests, is_fallback=False), vectors.detach().numpy()).argmax())


def one_type(found: Sequences) -> Sequences:
    """All purchases, all alike."""
    size = found.rows.size
    return replace(found, event_types=np.ones(size, np.int64), weights=np.ones(size))


def test_what_follows_two_events_is_learned_and_the_loss_falls() -> None:
    config = replace(CONFIG, steps=200, interest_count=2, learning_rate=4e-3, residual_learning_rate=1e-2)
    tower, items = towers(config)
    losses = fit_interest_tower(tower, items, one_type(turns()), config, np.random.default_rng(0))
    assert len(losses) == 200
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
    right = [next_item(tower, items, rows[:6]) == rows[6] for rows in TURNS]
    assert sum(right) >= 9


def test_the_same_seed_fits_the_same_weights_and_another_seed_others() -> None:
    config = replace(CONFIG, steps=3, dropout=0.1, residual_dropout=0.2)
    fitted = []
    for seed in (0, 0, 1):
        tower, items = towers(config)
        torch.manual_seed(seed)
        fit_interest_tower(tower, items, one_type(turns()), config, np.random.default_rng(seed))
        fitted.append(all_item_vectors(items).tobytes())
    assert fitted[0] == fitted[1] != fitted[2]


def test_without_steps_nothing_moves() -> None:
    tower, items = towers(CONFIG)
    before = items.all().detach().clone()
    assert fit_interest_tower(tower, items, one_type(turns()), CONFIG, np.random.default_rng(0)) == []
    torch.testing.assert_close(items.all(), before)


# what targets are told from


def candidates(item_count: int, uniform: int, expected: float = 0.5) -> "stage_b._Candidates":
    config = replace(CONFIG, uniform_negatives=uniform)
    return stage_b._Candidates(np.full(item_count, expected), config, np.random.default_rng(0))


def test_every_target_is_a_candidate_once_and_candidates_are_sorted() -> None:
    targets = np.array([[-1, 70, 3], [70, 9, -1]])
    rows, log_q = candidates(100, uniform=20).draw(targets)
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert {70, 3, 9} <= set(rows.tolist())
    assert 3 < rows.numel() <= 23
    assert log_q.shape == rows.shape


def test_where_as_many_are_drawn_as_there_are_all_items_are_candidates_without_correction() -> None:
    rows, log_q = candidates(10, uniform=10).draw(np.array([[4, -1]]))
    assert rows.tolist() == list(range(10))
    assert not log_q.any()


def test_the_correction_is_the_log_of_how_often_an_item_is_a_candidate() -> None:
    found = HistorySampler(turns(), CONFIG)
    expected = (
        CONFIG.batch_size * found.mean_targets * np.append(found.target_share * [0.01, 0.1, 0, 0, 0], np.zeros(95))
    )
    rng = np.random.default_rng(1)
    config = replace(CONFIG, uniform_negatives=16)
    drawer = stage_b._Candidates(expected, config, rng)
    drawn: Counter[int] = Counter()
    told: dict[int, float] = {}
    for _ in range(4000):
        rows, log_q = drawer.draw(np.repeat(np.arange(100), rng.poisson(expected))[None])
        drawn.update(rows.tolist())
        told |= dict(zip(rows.tolist(), log_q.tolist(), strict=True))
    for row in (0, 1, 50):
        assert drawn[row] / 4000 == pytest.approx(np.exp(told[row]), abs=0.03)


# what it costs


def test_the_loss_is_the_weighted_cross_entropy_of_the_targets_over_the_candidates() -> None:
    config = replace(CONFIG, interest_count=2)
    tower, items = towers(config)
    batch = HistorySampler(one_type(turns()), config).sample(3, np.random.default_rng(0))
    rows, log_q = torch.tensor([0, 1, 3, 4]), torch.tensor([0.0, -1.0, -0.5, -2.0])
    batch = replace(batch, targets=np.where(batch.targets == 2, -1, batch.targets))
    found = stage_b._interest_loss(tower, items, batch, rows, log_q)
    assert float(found.detach()) == pytest.approx(plain_loss(tower, items, batch, rows, log_q), rel=1e-4)


def plain_loss(
    tower: InterestTower, items: ItemVectors, batch: HistoryBatch, rows: torch.Tensor, log_q: torch.Tensor
) -> float:
    """One target at a time."""
    total = weight = 0.0
    vectors = items.all().detach()
    for number, place in zip(*np.nonzero(batch.targets >= 0), strict=True):
        beginning = (
            part[number : number + 1, : place + 1] for part in (batch.rows, batch.event_types, batch.ages_days)
        )
        history, types, ages = (torch.from_numpy(part) for part in beginning)
        with torch.inference_mode():
            interests = tower(vectors[history], types, ages)[0]
        scores = [max(float(one @ vectors[row]) for one in interests) for row in rows] - log_q.numpy()
        chosen = rows.tolist().index(batch.targets[number, place])
        loss = np.log(np.exp(scores).sum()) - scores[chosen]
        total += float(batch.weights[number, place]) * loss
        weight += float(batch.weights[number, place])
    return total / weight


def test_item_vectors_are_rounded_as_the_bundle_stores_them() -> None:
    _, items = towers(CONFIG)
    found = all_item_vectors(items)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, found.astype(np.float16).astype(np.float32))
    np.testing.assert_allclose(found, items.all().detach().numpy(), rtol=1e-3, atol=1e-6)


def test_first_engagements_are_told_from_items_not_had_before(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Spy(HistorySampler):
        def had(self, batch: HistoryBatch, candidates: np.ndarray) -> np.ndarray:
            asked.append("had")
            return super().had(batch, candidates)

    monkeypatch.setattr(stage_b, "HistorySampler", Spy)
    for targets, times in (("all", 0), ("first", 1)):
        config = replace(CONFIG, steps=1, targets=targets)  # type: ignore[arg-type]
        fit_interest_tower(*towers(config), one_type(turns()), config, np.random.default_rng(0))
        assert asked == ["had"] * times


def test_an_item_had_before_takes_no_part_in_the_loss() -> None:
    tower, items = towers(CONFIG)
    batch = HistorySampler(one_type(turns()), CONFIG).sample(3, np.random.default_rng(0))
    rows, log_q = torch.arange(ITEMS), torch.zeros(ITEMS)
    had = np.zeros((*batch.targets.shape, ITEMS), dtype=bool)
    had[..., 0] = batch.targets != 0
    without = torch.arange(1, ITEMS)
    batch = replace(batch, targets=np.where(batch.targets == 0, -1, batch.targets))
    masked = stage_b._interest_loss(tower, items, batch, rows, log_q, had)
    left_out = stage_b._interest_loss(tower, items, batch, without, log_q[without])
    assert float(masked.detach()) == pytest.approx(float(left_out.detach()), rel=1e-5)
