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
    """Random histories without padding, oldest event first."""
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(count, length, VECTOR_SIZE, generator=generator),
        torch.randint(1, len(spec.EVENT_TYPES) + 1, (count, length), generator=generator),
        (torch.rand(count, length, generator=generator) * 90 + 1).sort(dim=1, descending=True).values,
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


def test_the_interests_of_a_history_are_those_after_its_last_event(interest_tower: InterestTower) -> None:
    history = histories(3, 9)
    with torch.inference_mode():
        along = interest_tower.interests_along(*history)
        assert along.shape == (3, 9, 3, VECTOR_SIZE)
        for events in range(1, 10):
            beginning = interest_tower(*(part[:, :events] for part in history))
            torch.testing.assert_close(along[:, events - 1], beginning, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("place", [1, 4, 8])
def test_a_later_event_never_changes_the_interests_before_it(interest_tower: InterestTower, place: int) -> None:
    vectors, types, ages = history = histories(3, 9)
    other = vectors.clone(), types.clone(), ages.clone()
    other[0][:, place:] = 50.0
    other[1][:, place:] = types[:, place:] % len(spec.EVENT_TYPES) + 1
    other[2][:, place:] = 0.0
    with torch.inference_mode():
        before, after = interest_tower.interests_along(*history), interest_tower.interests_along(*other)
    torch.testing.assert_close(after[:, :place], before[:, :place], atol=1e-5, rtol=1e-4)
    assert (after[:, place:] - before[:, place:]).abs().amax(dim=(2, 3)).min() > 1e-3


@pytest.mark.parametrize("days", [0.25, 30.0, 400.0])
def test_how_long_ago_a_history_ended_changes_nothing(interest_tower: InterestTower, days: float) -> None:
    vectors, types, ages = histories(4, 9)
    types[0, :4] = 0
    with torch.inference_mode():
        before = interest_tower.interests_along(vectors, types, ages)
        after = interest_tower.interests_along(vectors, types, ages + days)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


def test_how_far_apart_two_events_stand_counts_once_it_is_learned() -> None:
    torch.manual_seed(0)
    tower = InterestTower(InterestTowerConfig(layers=1)).eval()
    history = histories(2, 6)
    with torch.inference_mode():
        before = tower.interests_along(*history)
        tower.distance.weight[0] = 3.0
        to_itself = tower.interests_along(*history)
        tower.distance.weight[0] = 0.0
        tower.distance.weight[2] = 3.0
        after = tower.interests_along(*history)
    assert not torch.equal(to_itself[:, 1:], before[:, 1:])
    torch.testing.assert_close(after[:, :2], before[:, :2])
    assert (after[:, 2:] - before[:, 2:]).abs().amax(dim=(2, 3)).min() > 1e-3


@pytest.mark.parametrize("place", [0, 4])
def test_every_event_of_the_history_is_looked_at(interest_tower: InterestTower, place: int) -> None:
    vectors, types, ages = histories(1, 5)
    other_type = types.clone()
    other_type[0, place] = types[0, place] % len(spec.EVENT_TYPES) + 1
    other_age = ages.clone()
    other_age[0, place] += 30 if place == 0 else -1
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


def test_an_items_text_goes_through_the_adapter_and_its_residual_does_not() -> None:
    generator = torch.Generator().manual_seed(0)
    text, residual = torch.randn(2, 6, VECTOR_SIZE, generator=generator)
    vectors = ItemVectors(text, dropout=0.5)
    matrix = torch.randn(VECTOR_SIZE, VECTOR_SIZE, generator=generator)
    with torch.no_grad():
        vectors.adapter.weight.copy_(matrix)
        vectors.residual.weight.copy_(residual)
    expected = text @ matrix.T + residual
    torch.testing.assert_close(vectors.all(), expected)
    torch.testing.assert_close(vectors.eval()(torch.tensor([3, 0])), expected[[3, 0]])


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


def test_a_tower_that_begins_at_the_mean_gives_the_scaled_mean_of_real_events() -> None:
    torch.manual_seed(0)
    tower = InterestTower(InterestTowerConfig(interest_count=2)).eval()
    tower.begin_at_mean(4.0)
    vectors = torch.randn(1, 4, VECTOR_SIZE)
    types, ages = torch.tensor([[0, 1, 2, 1]]), torch.tensor([[0.0, 9.0, 2.0, 0.0]])
    with torch.inference_mode():
        found = tower(vectors, types, ages)
    expected = 4.0 * vectors[:, 1:].mean(dim=1, keepdim=True).expand(-1, 2, -1)
    assert torch.cosine_similarity(found, expected, dim=-1).min() > 0.9
    assert (found[0, 0] - found[0, 1]).abs().max() > 1e-3


def test_items_begin_at_the_vectors_given_and_without_residual_at_what_the_text_explains() -> None:
    text, wanted = torch.randn(2, 6, VECTOR_SIZE)
    adapter = torch.randn(VECTOR_SIZE, VECTOR_SIZE)
    vectors = ItemVectors(text, dropout=0.5)
    vectors.begin_at(wanted, adapter)
    torch.testing.assert_close(vectors.all(), wanted, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        vectors.residual.weight.zero_()
    torch.testing.assert_close(vectors.all(), text @ adapter.T)
