"""Adapters learn with few parameters, and what leaves is a plain tower that reads as the adapted one did."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from tests.tiny_encoder import write_tiny_encoder
from training.activations import FrozenActivations, text_vectors
from training.config import CompanyConfig, TextTowerConfig
from training.dataset import Sequences, Texts
from training.export import export_text_tower
from training.peft_tower import add_adapters, merge_adapters, trained_share
from training.stage_a import fit_text_tower
from training.text_tower import TextTower, Tokens, open_text_tower

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = ["black tea", "cow milk", "oat milk", "rye bread"]
STEPS = 40


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TextTowerConfig:
    encoder = write_tiny_encoder(tmp_path_factory.mktemp("encoder"), " ".join(TEXTS).split())
    return TextTowerConfig(
        encoder=encoder,
        trained_layers=1,
        steps=STEPS,
        batch_size=4,
        rank=2,
        alpha=4.0,
        precision="fp32",
        company=CompanyConfig(steps=30, batch_size=16, uniform_negatives=4, temperature=0.2),
    )


def opened(config: TextTowerConfig) -> tuple[TextTower, Tokens, FrozenActivations]:
    """A tower with its activations."""
    torch.manual_seed(0)
    tower, tokens = open_text_tower(config)
    return tower, tokens, FrozenActivations(tower, tokens, TEXTS)


def baskets() -> Sequences:
    """Tea with cow milk, oat milk with rye bread, for twelve shoppers over ten days."""
    rows = np.array([[0, 1], [2, 3]] * 6).repeat(5, axis=0).reshape(12, 10).astype(np.int32)
    times = np.tile(np.arange(10) * 86_400_000_000, 12)
    return Sequences(
        user_ids=[f"household-{number:02d}" for number in range(12)],
        starts=np.arange(13) * 10,
        rows=rows.flatten(),
        weights=np.ones(120),
        event_types=np.full(120, 5),
        times_us=times,
        sessions=np.arange(120) // 2,
        counts=np.bincount(rows.flatten(), minlength=4).astype(float),
        item_count=4,
    )


def test_lora_trains_its_adapters_and_the_projection_alone(config: TextTowerConfig) -> None:
    tower, *_ = opened(config)
    before = trained_share(tower)
    assert add_adapters(tower, replace(config, tuning="lora"), STEPS) is None
    learning = {name for name, value in tower.named_parameters() if value.requires_grad}
    assert {"projection.weight", "projection.bias"} < learning
    assert all("lora_" in name for name in learning if not name.startswith("projection"))
    assert trained_share(tower) < before


def test_a_merged_tower_has_the_plain_tower_s_weights_by_name_and_reads_alike(config: TextTowerConfig) -> None:
    tower, _, stored = opened(config)
    names = list(tower.state_dict())
    add_adapters(tower, replace(config, tuning="lora"), STEPS)
    with torch.no_grad():
        for name, value in tower.named_parameters():
            if "lora_" in name:
                value.normal_(std=0.1)
    adapted = text_vectors(tower.eval(), stored)
    merge_adapters(tower)
    assert sorted(tower.state_dict()) == sorted(names)
    np.testing.assert_allclose(text_vectors(tower, stored), adapted, atol=1e-5)


def test_adalora_s_budget_falls_to_its_target(config: TextTowerConfig) -> None:
    tower, _, stored = opened(config)
    budget = add_adapters(tower, replace(config, tuning="adalora"), STEPS)
    assert budget is not None
    adapters = sum("lora_E" in name for name, _ in tower.named_parameters())
    parameters = [value for value in tower.parameters() if value.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=0.01)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = tower.head(*stored(torch.arange(4))).sum() + budget.penalty()
        torch.autograd.backward(loss)
        optimizer.step()
        if step == 0:
            assert budget.directions_in_use() == 3 * adapters
        budget.update(step)
    assert budget.directions_in_use() == 2 * adapters


@pytest.mark.parametrize("tuning", ["lora", "adalora"])
def test_adapters_learn_from_pairs_what_goes_with_what(
    config: TextTowerConfig, tuning: Literal["lora", "adalora"], tmp_path: Path
) -> None:
    texts = Texts(TEXTS, np.arange(4))
    tower, tokens, stored = opened(config)
    adapted = replace(config, tuning=tuning, objective="pairs", batch_size=8)
    losses = fit_text_tower(tower, stored, texts, baskets(), adapted, np.random.default_rng(0))
    assert losses[-1] < losses[0]
    tea, cow, oat, rye = range(4)
    vectors = text_vectors(tower, stored)
    cosine = vectors @ vectors.T
    assert min(cosine[tea, cow], cosine[oat, rye]) > max(cosine[tea, oat], cosine[cow, rye], cosine[cow, oat]) + 0.1
    if tuning == "adalora":
        export_text_tower(tower, nn.Identity(), tokens, tmp_path / "model.onnx")
