"""An int8 text tower behind the real Triton: its vectors agree with the fp32 ones, which the catalogue has."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from torch import nn

from features import bundle as files
from services.common.scorer import TritonScorer
from services.common.towers import TowerModels
from services.triton.repository import LEAST_COSINE, build_repository
from tests.fakes import FakeScorer
from tests.integration.conftest import TinyTriton
from tests.tiny_bundle import write_tiny_bundle
from tests.tiny_encoder import write_tiny_encoder
from training.config import TextTowerConfig
from training.export import export_text_tower
from training.package import write_smaller_text_towers
from training.text_tower import open_text_tower

WORDS = [f"word{number}" for number in range(40)]
TEXTS = [" ".join(WORDS[(start * step) % 40] for step in range(1, 2 + start % 7)) for start in range(40)]
VERSION = "tiny.int8"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny towers whose text tower is a transformer of random weights, written in all three precisions."""
    root = tmp_path_factory.mktemp("int8")
    write_tiny_bundle(root, VERSION, seed=4)
    model, tokens = open_text_tower(TextTowerConfig(encoder=write_tiny_encoder(root / "encoder", WORDS)))
    export_text_tower(model, nn.Identity(), tokens, root / files.TEXT_TOWER)
    tokens.save(root / files.TOKENIZER)
    items = pl.DataFrame({"title": TEXTS, "description": ""})
    losses = write_smaller_text_towers(root, items, tokens.max_tokens, seed=0)
    (root / files.MANIFEST).write_text(json.dumps({"version": VERSION, files.COMPRESSION: losses}))
    return root


async def test_served_vectors_are_the_int8_towers_and_agree_with_the_fp32_towers(
    bundle: Path, tiny_triton: TinyTriton, triton_scorer: TritonScorer
) -> None:
    build_repository(bundle, "cpu", tiny_triton.repository)
    models = TowerModels.of_version(VERSION)
    await triton_scorer.load(models.text)
    served = await triton_scorer.with_models(models).text_vectors(TEXTS, timeout_seconds=10.0)
    await triton_scorer.unload(models.text)
    expected = await FakeScorer.of_bundle(bundle).text_vectors(TEXTS, timeout_seconds=10.0)
    cosines = (served * expected).sum(axis=1) / np.linalg.norm(served, axis=1) / np.linalg.norm(expected, axis=1)
    assert LEAST_COSINE <= cosines.min() < 0.99999
