"""What a step of stage A asks for, against sums written out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.tiny_encoder import write_tiny_encoder
from training.activations import FrozenActivations, encoded_texts
from training.config import TextTowerConfig
from training.dataset import Texts
from training.objectives import ridge_projection, symmetric_loss, taught_loss, text_weights
from training.processes import Processes
from training.text_tower import open_text_tower

pytestmark = pytest.mark.usefixtures("one_thread")


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random vectors of length one."""
    return functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_a_text_counts_by_the_events_of_all_its_items() -> None:
    weights = text_weights(Texts(["a", "b", "c"], np.array([0, 1, 0])), np.array([3.0, 8.0, 5.0]), 0.5)
    torch.testing.assert_close(weights, torch.tensor([3.0, 3.0, 1.0]) / (7 / 3))
    flat = text_weights(Texts(["a", "b"], np.array([0, 1])), np.array([3.0, 8.0]), 0.0)
    torch.testing.assert_close(flat, torch.ones(2))


def test_the_ridge_projection_finds_a_linear_map_and_listens_to_weights() -> None:
    pooled, bias = torch.randn(500, 16, generator=torch.Generator().manual_seed(1)), torch.arange(128.0)
    map_ = torch.randn(128, 16, generator=torch.Generator().manual_seed(2))
    taught = pooled @ map_.T + bias
    taught[400:] = 0.0
    weights = torch.ones(500)
    weights[400:] = 1e-6
    weight, found = ridge_projection(pooled, taught, weights)
    torch.testing.assert_close(weight, map_, atol=2e-2, rtol=2e-2)
    torch.testing.assert_close(found, bias, atol=2e-2, rtol=2e-2)


def test_pairs_attract_both_ways_and_neither_a_text_nor_its_partner_repels() -> None:
    ids = torch.tensor([[0, 1], [2, 3], [0, 3], [4, 1]])
    vectors = unit(5, 8)[ids]
    terms = []
    for a, b in ((0, 1), (1, 0)):
        for pair, (left, right) in enumerate(ids[:, [a, b]].tolist()):
            query = vectors[pair, a]
            against = [unit(5, 8)[other] @ query / 0.2 for other in range(5) if other not in (left, right)]
            own = vectors[pair, b] @ query / 0.2
            terms.append(torch.logsumexp(torch.stack([own, *against]), dim=0) - own)
    torch.testing.assert_close(symmetric_loss(vectors, ids, 0.2), torch.stack(terms).mean())


def test_the_taught_loss_is_the_weighted_distance_from_what_is_taught(tmp_path: Path) -> None:
    texts = ["black tea", "cow milk", "oat milk", "rye bread"]
    config = TextTowerConfig(
        encoder=write_tiny_encoder(tmp_path, " ".join(texts).split()), trained_layers=1, batch_size=4, precision="fp32"
    )
    tower, tokens = open_text_tower(config)
    stored = FrozenActivations(tower, tokens, texts)
    taught, weights = unit(4, 128), torch.tensor([1.0, 4.0, 9.0, 16.0])
    loss = taught_loss(tower, stored, taught, weights, config, np.random.default_rng(0), Processes())
    distance = 1 - (encoded_texts(tower, stored, torch.arange(4)) * taught).sum(dim=1)
    torch.testing.assert_close(loss(0), (distance * weights.sqrt()).sum() / 10)
