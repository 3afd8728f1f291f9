"""The interest tower and the item vectors: what padding, order and a missing residual must not change."""

import pytest
import torch
from torch import Tensor, nn

from features import spec
from training.config import VECTOR_SIZE, InterestTowerConfig
from training.interest_tower import InterestTower, ItemVectors

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def interest_tower() -> InterestTower:
    torch.manual_seed(0)
    return InterestTower(InterestTowerConfig(interest_count=3, layers=2)).eval()


def histories(count: int, length: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Random histories without padding."""
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(count, length, VECTOR_SIZE, generator=generator),
        torch.randint(1, len(spec.EVENT_TYPES) + 1, (count, length), generator=generator),
        torch.rand(count, length, generator=generator) * 90,
    )


@pytest.mark.parametrize("padding", [1, 7, 43])
def test_left_padding_of_any_length_and_content_changes_no_interest(
    interest_tower: InterestTower, padding: int
) -> None:
    history = histories(4, 7)
    vectors, _, ages = histories(4, padding, seed=1)
    filler = (100 * vectors, torch.zeros(4, padding, dtype=torch.int64), ages)
    padded = [torch.cat(parts, dim=1) for parts in zip(filler, history, strict=True)]
    with torch.inference_mode():
        torch.testing.assert_close(interest_tower(*padded), interest_tower(*history), atol=1e-5, rtol=1e-4)


def test_an_event_is_not_influenced_by_later_ones(interest_tower: InterestTower) -> None:
    seen: list[Tensor] = []
    hook = interest_tower.blocks[-1].register_forward_hook(lambda *call: seen.append(call[-1]))
    history = histories(3, 9)
    with torch.inference_mode():
        interest_tower(*history)
        interest_tower(*(part[:, :5] for part in history))
    hook.remove()
    whole, beginning = seen
    torch.testing.assert_close(whole[:, :5], beginning, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("place", [0, 4])
def test_every_event_of_the_history_is_looked_at(interest_tower: InterestTower, place: int) -> None:
    vectors, types, ages = histories(1, 5)
    other_type = types.clone()
    other_type[0, place] = types[0, place] % len(spec.EVENT_TYPES) + 1
    other_age = ages.clone()
    other_age[0, place] += 30
    other_vector = vectors.clone()
    other_vector[0, place] = other_vector[0, place].flip(0)
    with torch.inference_mode():
        before = interest_tower(vectors, types, ages)
        assert before.shape == (1, 3, VECTOR_SIZE)
        for changed in ((other_vector, types, ages), (vectors, other_type, ages), (vectors, types, other_age)):
            assert (interest_tower(*changed) - before).abs().max() > 1e-4


def test_an_empty_history_gives_finite_interests(interest_tower: InterestTower) -> None:
    nothing = (torch.zeros(2, 5, VECTOR_SIZE), torch.zeros(2, 5, dtype=torch.int64), torch.zeros(2, 5))
    with torch.inference_mode():
        assert interest_tower(*nothing).isfinite().all()


def test_an_item_without_a_residual_is_its_text() -> None:
    text = torch.randn(6, VECTOR_SIZE)
    vectors = ItemVectors(text, dropout=0.5)
    torch.testing.assert_close(vectors.all(), text)
    torch.testing.assert_close(vectors.train()(torch.tensor([3, 0])), text[[3, 0]])


def test_a_residual_is_added_and_dropped_only_in_training() -> None:
    text = torch.randn(1, VECTOR_SIZE)
    vectors = ItemVectors(text, dropout=0.25)
    nn.init.ones_(vectors.residual.weight)
    rows = torch.zeros(4_000, dtype=torch.int64)
    torch.testing.assert_close(vectors.eval()(rows), (text + 1).expand(4_000, -1))
    torch.manual_seed(0)
    added = (vectors.train()(rows) - text)[:, 0].round()
    assert set(added.tolist()) == {0.0, 1.0}
    assert (added == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
