"""Fitting: from the zero-shot encoder to towers that know what is bought together; same seed, same numbers."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import AutoModel

from features import spec
from features.schema import Dataset
from tests.shop import dataset, day, event, events, item, items
from tests.tiny_encoder import write_tiny_encoder
from training import objectives
from training.activations import FrozenActivations, encoded_texts
from training.config import CompanyConfig, InterestTowerConfig, TextTowerConfig, TrainConfig
from training.dataset import item_texts, sequences
from training.text_tower import TextTower
from training.towers import Foundation, Towers, ends, fit_interest, fit_text, lay_foundation

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = ["oat", "cow", "milk", "rye", "white", "bread", "green", "black", "tea", "fresh", "big", "small", "of", "the"]
FP16 = 2e-3
"""How far the frozen layers' stored activations may move a number."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder"), WORDS)


@pytest.fixture(scope="module")
def groceries() -> Dataset:
    """Two kinds of baskets that never mix: oat milk with rye bread, and cow milk with green tea."""
    shelf = {"OAT": "oat milk", "RYE": "rye bread", "COW": "cow milk", "TEA": "green tea"}
    baskets = {"even": ["OAT", "RYE"], "odd": ["COW", "TEA"]}
    happened = [
        event(f"household-{number}-{kind}", name, on + 0.1 * place, session_id=f"{number}-{kind}-{on}")
        for number in range(6)
        for kind, names in baskets.items()
        for on in range(0, 40, 4)
        for place, name in enumerate(names)
    ]
    catalogue = items(*(item(name) | {"title": title} for name, title in sorted(shelf.items())))
    return dataset(events(*happened), catalogue)


def config_of(
    encoder: str, text_steps: int = 0, interest_steps: int = 0, start: Literal["factors", "text"] = "factors"
) -> TrainConfig:
    """A run of a few steps."""
    return TrainConfig(
        text=TextTowerConfig(
            encoder=encoder,
            trained_layers=1,
            steps=text_steps,
            batch_size=16,
            company=CompanyConfig(steps=text_steps, batch_size=16, uniform_negatives=8, temperature=0.2),
        ),
        interest=InterestTowerConfig(
            start=start, layers=1, steps=interest_steps, batch_size=8, uniform_negatives=8, targets="all"
        ),
    )


def foundation_of(data: Dataset, config: TrainConfig) -> Foundation:
    """The foundation of a run over the whole catalogue."""
    return lay_foundation(item_texts(data.items), config)


def fitted(data: Dataset, foundation: Foundation, config: TrainConfig, seed: int = 0) -> Towers:
    """Both towers on all events."""
    everything = sequences(data, data.items, day(100))
    return fit_interest(fit_text(foundation, everything, config, seed), everything, config, seed)


def test_without_a_step_the_text_tower_is_the_zero_shot_encoder_compressed(encoder: str, groceries: Dataset) -> None:
    config = config_of(encoder)
    foundation = foundation_of(groceries, config)
    text = fit_text(foundation, sequences(groceries, groceries.items, day(100)), config, seed=0)
    ids, mask = foundation.tokens(groceries.items["title"].to_list())
    with torch.inference_mode():
        whole = AutoModel.from_pretrained(encoder).eval()(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = (whole * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        centred = functional.normalize(pooled - pooled.mean(dim=0), dim=-1)
    np.testing.assert_allclose(text.row_vectors @ text.row_vectors.T, centred @ centred.T, atol=FP16)
    for name, value in foundation.tower.state_dict().items():
        torch.testing.assert_close(text.tower.state_dict()[name], value, atol=0, rtol=0)


def test_without_a_step_items_are_their_texts_rounded_to_half_precision(encoder: str, groceries: Dataset) -> None:
    config = config_of(encoder, start="text")
    towers = fitted(groceries, foundation_of(groceries, config), config)
    np.testing.assert_array_equal(towers.vectors, towers.text.row_vectors.astype(np.float16).astype(np.float32))
    assert towers.vectors.dtype == np.float32


def test_items_begin_at_the_factors_and_interests_at_their_mean(encoder: str, groceries: Dataset) -> None:
    config = config_of(encoder)
    towers = fitted(groceries, foundation_of(groceries, config), config)
    cow, oat, rye, tea = towers.vectors / np.linalg.norm(towers.vectors, axis=1, keepdims=True)
    assert min(cow @ tea, oat @ rye) > 0.9
    assert abs(cow @ oat) < 0.1
    history = torch.from_numpy(towers.vectors[[1, 1]])[None]
    with torch.inference_mode():
        interest = towers.interest(history, torch.full((1, 2), spec.EVENT_CODES["purchase"]), torch.zeros(1, 2))
    scores = towers.vectors @ interest[0, 0].numpy()
    assert scores[[1, 2]].min() > scores[[0, 3]].max() + 0.5


def test_fitting_is_in_torchs_deterministic_mode_and_leaves_it_as_it_was(
    encoder: str, groceries: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it, two threads add gradients up as they arrive: now and then other towers from the same seed."""
    modes: list[bool] = []
    step = torch.autograd.backward

    def watched(loss: torch.Tensor) -> None:
        modes.append(torch.are_deterministic_algorithms_enabled())
        step(loss)

    monkeypatch.setattr(torch.autograd, "backward", watched)
    config = config_of(encoder, text_steps=1, interest_steps=1)
    fitted(groceries, foundation_of(groceries, config), config)
    assert modes == [True] * 3
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("objective", ["company", "pairs"])
def test_stage_a_draws_together_what_is_bought_together_and_apart_what_is_not(
    encoder: str, groceries: Dataset, objective: Literal["company", "pairs"]
) -> None:
    """It once drew everything together: the text itself was among the candidates against it."""
    config = config_of(encoder, text_steps=30)
    config = replace(config, text=replace(config.text, objective=objective))
    foundation = foundation_of(groceries, config)
    everything = sequences(groceries, groceries.items, day(100))
    before, after = (
        fit_text(foundation, everything, made, seed=0).row_vectors for made in (config_of(encoder), config)
    )
    cow, oat, rye, tea = range(4)
    together, apart = [(oat, rye), (cow, tea)], [(oat, cow), (oat, tea), (rye, cow), (rye, tea)]
    cosine_before, cosine_after = before @ before.T, after @ after.T
    assert min(cosine_after[pair] for pair in together) > max(cosine_after[pair] for pair in apart) + 0.1
    assert all(cosine_after[pair] < cosine_before[pair] for pair in apart)


def test_stage_b_points_interests_at_what_comes_next(encoder: str, groceries: Dataset) -> None:
    """Over text vectors that are told apart easily, unlike those of random weights."""
    config = config_of(encoder, interest_steps=60)
    everything = sequences(groceries, groceries.items, day(100))
    text = fit_text(foundation_of(groceries, config), everything, config, seed=0)
    apart = np.random.default_rng(0).standard_normal(text.row_vectors.shape).astype(np.float32)
    apart /= np.linalg.norm(apart, axis=1, keepdims=True)
    towers = fit_interest(replace(text, row_vectors=apart), everything, config, seed=0)
    cow, oat, rye, tea = range(4)
    for own, other in (([oat, rye], [cow, tea]), ([cow, tea], [oat, rye])):
        history = torch.from_numpy(towers.vectors[own * 2])[None]
        with torch.inference_mode():
            interest = towers.interest(history, torch.full((1, 4), spec.EVENT_CODES["purchase"]), torch.ones(1, 4))
        scores = towers.vectors @ interest[0, 0].numpy()
        assert scores[own].min() > scores[other].max() + 0.5


def test_the_same_seed_fits_the_same_numbers_and_another_seed_others(encoder: str, groceries: Dataset) -> None:
    config = config_of(encoder, text_steps=3, interest_steps=3)
    foundation = foundation_of(groceries, config)
    first, again, other = (fitted(groceries, foundation, config, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.text.row_vectors, again.text.row_vectors)
    np.testing.assert_array_equal(first.vectors, again.vectors)
    for name, value in first.interest.state_dict().items():
        torch.testing.assert_close(again.interest.state_dict()[name], value, atol=0, rtol=0)
    assert not np.array_equal(first.vectors, other.vectors)


def test_a_loss_that_is_no_number_stops_the_run(encoder: str, groceries: Dataset) -> None:
    config = config_of(encoder, text_steps=4)
    config = replace(config, text=replace(config.text, objective="pairs", temperature=float("nan")))
    with pytest.raises(FloatingPointError, match="the loss became nan; lower the learning rate"):
        fitted(groceries, foundation_of(groceries, config), config)


@pytest.mark.parametrize(
    ("losses", "words"),
    [([], "unchanged (no steps)"), ([2.0], "2.000 → 2.000"), ([4.0, 2.0, *[0.0] * 16, 1.0, 0.0], "3.000 → 0.500")],
)
def test_a_loss_curve_is_told_by_its_ends(losses: list[float], words: str) -> None:
    assert ends(losses) == words


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: TextTowerConfig(max_tokens=3), "max_tokens must be at least 4, got 3"),
        (lambda: TextTowerConfig(batch_size=1), "batch_size must be at least 2, got 1"),
        (lambda: TextTowerConfig(steps=-1), "steps must be at least 0, got -1"),
        (lambda: TextTowerConfig(dropout=1.0), r"dropout must lie in \[0, 1\), got 1.0"),
        (lambda: TextTowerConfig(rank=0), "rank must be at least 1, got 0"),
        (lambda: CompanyConfig(targets=0), "company.targets must be at least 1, got 0"),
        (lambda: InterestTowerConfig(interest_count=0), "interest_count must be at least 1, got 0"),
        (lambda: InterestTowerConfig(heads=3), "heads must divide 128, got 3"),
    ],
)
def test_a_setting_out_of_range_is_named(make: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()


def test_held_out_texts_are_not_taught(encoder: str, groceries: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = config_of(encoder, text_steps=2)
    config = replace(plain, text=replace(plain.text, held_out=0.25))
    read: set[int] = set()

    def watched(tower: TextTower, activations: FrozenActivations, which: torch.Tensor) -> torch.Tensor:
        read.update(which.tolist())
        return encoded_texts(tower, activations, which)

    monkeypatch.setattr(objectives, "encoded_texts", watched)
    everything = sequences(groceries, groceries.items, day(100))
    foundation = foundation_of(groceries, config)
    found = fit_text(foundation, everything, config, seed=0)
    assert found.held_out.size == 1
    assert read == {0, 1, 2, 3} - set(foundation.texts.of_row[found.held_out].tolist())
    assert fit_text(foundation_of(groceries, plain), everything, plain, seed=0).held_out.size == 0
