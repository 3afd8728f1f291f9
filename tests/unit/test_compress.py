"""Compressed text towers: what they cost is measured against fp32, and loud channels do not drown the others."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from torch import nn

from tests.tiny_encoder import write_tiny_encoder
from training import graph_int8
from training.compress import FP16, INT8, compress, encode_batches, text_batches
from training.config import VECTOR_SIZE, TextTowerConfig
from training.export import export_text_tower
from training.text_tower import open_text_tower

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = [f"word{number}" for number in range(40)]
TEXTS = [" ".join(WORDS[(start * step) % 40] for step in range(1, 2 + start % 7)) for start in range(40)]
MAX_TOKENS = 16


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported tower of random weights, three of whose hidden units are a hundred times louder than the rest."""
    folder = tmp_path_factory.mktemp("tower")
    config = TextTowerConfig(encoder=write_tiny_encoder(folder / "encoder", WORDS), trained_layers=1)
    model, tokens = open_text_tower(config)
    layer = model.upper[0]
    layer.intermediate.dense.weight.data[:3] *= 100.0  # type: ignore[index, operator, union-attr]
    layer.output.dense.weight.data[:, :3] /= 100.0  # type: ignore[index, operator, union-attr]
    export_text_tower(model, nn.Identity(), tokens, folder / "model.onnx")
    tokens.save(folder / "tokenizer.json")
    return folder


@pytest.fixture(scope="module")
def facts(tower: Path) -> dict[str, dict[str, float]]:
    return compress(tower, TEXTS, MAX_TOKENS, seed=0)


def test_both_towers_say_what_they_cost_on_texts_that_did_not_calibrate(facts: dict[str, dict[str, float]]) -> None:
    assert set(facts) == {FP16, INT8}
    assert facts[FP16]["cosine_p1"] > 0.9999
    assert 0.99 < facts[INT8]["cosine_p1"] < facts[INT8]["cosine_mean"] < 0.99999
    assert all(loss["texts"] == len(TEXTS) // 2 for loss in facts.values())
    assert facts[INT8]["megabytes"] < facts[FP16]["megabytes"]


def test_the_stated_cosines_are_those_of_the_written_files(tower: Path, facts: dict[str, dict[str, float]]) -> None:
    judging = [TEXTS[i] for i in np.random.default_rng(0).permutation(len(TEXTS))[len(TEXTS) // 2 :]]
    batches = text_batches(tower / "tokenizer.json", judging, MAX_TOKENS)
    fp32, int8 = (encode_batches(tower / name, batches) for name in ("model.onnx", INT8))
    cosines = (fp32 * int8).sum(axis=1) / np.linalg.norm(fp32, axis=1) / np.linalg.norm(int8, axis=1)
    assert facts[INT8]["cosine_mean"] == pytest.approx(cosines.mean(), abs=1e-6)
    assert facts[INT8]["cosine_p1"] == pytest.approx(np.percentile(cosines, 1), abs=1e-6)


def test_loud_hidden_units_set_apart_leave_the_others_their_precision(
    tower: Path, tmp_path: Path, facts: dict[str, dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.onnx").write_bytes((tower / "model.onnx").read_bytes())
    (tmp_path / "tokenizer.json").write_bytes((tower / "tokenizer.json").read_bytes())
    monkeypatch.setattr(graph_int8, "LOUD_UNITS", 0)
    naive = compress(tmp_path, TEXTS, MAX_TOKENS, seed=0)[INT8]
    assert 1 - facts[INT8]["cosine_mean"] < 0.5 * (1 - naive["cosine_mean"])


def test_weights_are_int8_and_the_perceptron_of_loud_units_is_not(
    tower: Path, facts: dict[str, dict[str, float]]
) -> None:
    graph = onnx.load(tower / INT8).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    quantised = [name for name in kinds if name.endswith(("_quantized", ".int8"))]
    assert len(quantised) >= 2 * 6
    assert all(kinds[name] == onnx.TensorProto.INT8 for name in quantised)
    kept = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in kinds]
    assert sorted(node.name.rpartition(".")[2] for node in kept) == ["down", "down", "up", "up"]
    assert facts


def test_a_rewritten_graph_computes_the_same_before_it_is_quantised(tower: Path, tmp_path: Path) -> None:
    batches = text_batches(tower / "tokenizer.json", TEXTS, MAX_TOKENS)
    (tmp_path / "fused.onnx").write_bytes(graph_int8.fused(tower / "model.onnx"))
    np.testing.assert_allclose(
        encode_batches(tmp_path / "fused.onnx", batches), encode_batches(tower / "model.onnx", batches), atol=2e-5
    )


def test_batches_hold_every_text_once_by_length_and_vectors_come_back_in_order(tower: Path) -> None:
    batches = text_batches(tower / "tokenizer.json", TEXTS, MAX_TOKENS, batch_size=8)
    assert sorted(np.concatenate([batch.position for batch in batches]).tolist()) == list(range(len(TEXTS)))
    widths = [batch.feed["input_ids"].shape[1] for batch in batches]
    assert widths == sorted(widths)
    together = encode_batches(tower / "model.onnx", batches)
    assert together.shape == (len(TEXTS), VECTOR_SIZE)
    for place in (0, 17, 39):
        alone = encode_batches(tower / "model.onnx", text_batches(tower / "tokenizer.json", [TEXTS[place]], MAX_TOKENS))
        np.testing.assert_allclose(together[place], alone[0], atol=1e-5)


def test_one_text_is_too_few(tower: Path) -> None:
    with pytest.raises(ValueError, match="texts: 1 given"):
        compress(tower, TEXTS[:1], MAX_TOKENS, seed=0)
