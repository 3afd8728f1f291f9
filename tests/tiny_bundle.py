"""Two tiny towers with the signatures of the real ones: seconds of training replaced by a few matrices.

The text tower averages token embeddings, turns them and scales them to length one. The interest tower is a mean of the
history's vectors, weighted by event type and age, once per half-life: a shopper's interests point to what the shopper
had, so that the right answer of a whole chain is known. The last position counts once more, so that a history padded at
the wrong end is noticed. Same seed, same files.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from services.common.towers import VECTOR_WIDTH

HALF_LIVES_DAYS = (7.0, 90.0)
"""One interest vector for each."""

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_OPSET = [helper.make_opsetid("", 17)]


def write_tiny_towers(root: Path, seed: int) -> None:
    """Write `text_tower/` and `interest_tower/` of a bundle under `root`.

    Args:
        root: Bundle directory; made if missing.
        seed: Of the text tower's weights; another seed gives other vectors.
    """
    rng = np.random.default_rng(seed)
    text, interest = root / "text_tower", root / "interest_tower"
    for directory in (text, interest):
        directory.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    tokenizer.save(str(text / "tokenizer.json"))
    (text / "config.json").write_text(json.dumps({"max_tokens": 64}))
    (interest / "config.json").write_text(json.dumps({"interest_count": len(HALF_LIVES_DAYS)}))
    onnx.save(_text_tower(tokenizer.get_vocab_size(), rng), text / "model.onnx")
    onnx.save(_interest_tower(), interest / "model.onnx")


def write_tiny_bundle(root: Path, version: str, seed: int) -> None:
    """Write the towers and a manifest that says only the version: enough for the model repository."""
    write_tiny_towers(root, seed)
    (root / "manifest.json").write_text(json.dumps({"version": version}))


def _tokenizer() -> Tokenizer:
    """WordPiece down to single letters: any Latin word is known, other scripts are [UNK]."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokens = [*special, *_LETTERS, *(f"##{letter}" for letter in _LETTERS), "##s", "milk", "bread", "wine", "red"]
    vocabulary = {token: row for row, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def _text_tower(vocabulary_size: int, rng: np.random.Generator) -> Any:
    constants = {
        "embedding": rng.standard_normal((vocabulary_size, 32)),
        "projection": rng.standard_normal((32, VECTOR_WIDTH)),
        "tiny": np.array(1e-9),
    }
    nodes = [
        helper.make_node("Gather", ["embedding", "input_ids"], ["tokens"]),  # [B, T, 32]
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        *_weighted_sum("mask", "tokens", "total"),
        *_unit_length("total", "projection", "vectors"),
    ]
    inputs = [_value(name, TensorProto.INT64, ["batch", "tokens_"]) for name in ("input_ids", "attention_mask")]
    return _model(nodes, inputs, _value("vectors", TensorProto.FLOAT, ["batch", VECTOR_WIDTH]), constants)


def _interest_tower() -> Any:
    """weight = (1 + type / 4) · 2^(-age / half-life) where type > 0, else 0; and 1 more at the last position."""
    constants: dict[str, npt.NDArray[Any]] = {
        "one": np.array(1.0),
        "quarter": np.array(0.25),
        "tiny": np.array(1e-9),
        "identity": np.eye(VECTOR_WIDTH),
        "decay": -np.log(2.0) / np.array(HALF_LIVES_DAYS).reshape(1, -1, 1),
    }
    nodes = [
        helper.make_node("Cast", ["event_types"], ["types"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["types", "quarter"], ["bonus"]),
        helper.make_node("Add", ["bonus", "one"], ["strength"]),
        helper.make_node("Cast", ["event_types"], ["is_event"], to=TensorProto.BOOL),
        helper.make_node("Cast", ["is_event"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["strength", "mask"], ["event_weight"]),
        *_per_half_life(),
        helper.make_node("MatMul", ["weight", "history_vectors"], ["weighted"]),  # [B, K, 128]
        helper.make_node("Gather", ["history_vectors", "last"], ["newest"], axis=1),  # [B, 1, 128]
        helper.make_node("Add", ["weighted", "newest"], ["total"]),
        *_unit_length("total", "identity", "interest_vectors"),
    ]
    inputs = [
        _value("history_vectors", TensorProto.FLOAT, ["batch", "positions", VECTOR_WIDTH]),
        _value("event_types", TensorProto.INT64, ["batch", "positions"]),
        _value("ages_days", TensorProto.FLOAT, ["batch", "positions"]),
    ]
    output = _value("interest_vectors", TensorProto.FLOAT, ["batch", len(HALF_LIVES_DAYS), VECTOR_WIDTH])
    return _model(nodes, inputs, output, constants)


def _per_half_life() -> list[Any]:
    return [
        helper.make_node("Unsqueeze", ["ages_days", "first_axis"], ["ages"]),  # [B, 1, T]
        helper.make_node("Mul", ["ages", "decay"], ["exponent"]),  # [B, K, T]
        helper.make_node("Exp", ["exponent"], ["recency"]),
        helper.make_node("Unsqueeze", ["event_weight", "first_axis"], ["event_weights"]),
        helper.make_node("Mul", ["recency", "event_weights"], ["weight"]),
    ]


def _weighted_sum(weights: str, vectors: str, output: str) -> list[Any]:
    """[B, T] and [B, T, D] → [B, D]."""
    return [
        helper.make_node("Unsqueeze", [weights, "last"], ["column"]),
        helper.make_node("Mul", [vectors, "column"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "first_axis"], [output], keepdims=0),
    ]


def _unit_length(vectors: str, projection: str, output: str) -> list[Any]:
    return [
        helper.make_node("MatMul", [vectors, projection], ["projected"]),
        helper.make_node("ReduceL2", ["projected"], ["norm"], axes=[-1], keepdims=1),
        helper.make_node("Max", ["norm", "tiny"], ["divisor"]),
        helper.make_node("Div", ["projected", "divisor"], [output]),
    ]


def _value(name: str, kind: int, shape: list[str | int]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(nodes: list[Any], inputs: list[Any], output: Any, constants: dict[str, npt.NDArray[Any]]) -> Any:
    positions = {"first_axis": np.array([1]), "last": np.array([-1])}
    tensors = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()]
    tensors += [numpy_helper.from_array(array, name) for name, array in positions.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "tower", inputs, [output], tensors), opset_imports=_OPSET, ir_version=9
    )
    onnx.checker.check_model(model, full_check=True)
    return model
