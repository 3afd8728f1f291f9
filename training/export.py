"""Towers to ONNX, proven against torch before they leave.

Shapes as in the bundle's contract: text_tower int64 [B, T] twice → `vectors` float32 [B, D]; interest_tower float32
[B, T, D], int64 [B, T], float32 [B, T] → `interest_vectors` float32 [B, K, D]; B and T are free.
"""

import logging
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from features import spec
from features.encode import Floats
from training.config import VECTOR_SIZE
from training.dataset import Ints
from training.interest_tower import InterestTower
from training.queries import InterestRun
from training.text_tower import TextTower, Tokens

_OPSET = 18
_TOLERANCE = 1e-4


class ExportError(Exception):
    """The exported graph does not compute what the torch module computes."""


class _Adapted(nn.Module):
    """The text tower with the adapter that the item vectors went through, so that a new item's vector is of their
    kind."""

    def __init__(self, tower: TextTower, adapter: nn.Module) -> None:
        super().__init__()
        self.tower, self.adapter = tower, adapter

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Item vectors float32 [B, D] from int64 [B, T] twice."""
        vectors: torch.Tensor = self.adapter(self.tower(input_ids, attention_mask))
        return vectors


def export_text_tower(tower: TextTower, adapter: nn.Module, tokens: Tokens, path: Path) -> None:
    """Write the text tower, followed by the item vectors' adapter.

    Raises:
        ExportError: if its vectors differ from torch's by more than 1e-4.
    """
    ids, mask = tokens(["a short text", "a longer text that is padded against the short one"])
    module = _Adapted(tower, adapter)
    _export(module, (ids, mask), ["input_ids", "attention_mask"], "vectors", path)
    other = tokens(["one", "two words", "three little words, comma"])
    _prove(module, other, ["input_ids", "attention_mask"], path)


def export_interest_tower(tower: InterestTower, path: Path) -> None:
    """Write the interest tower.

    Raises:
        ExportError: if its vectors differ from torch's by more than 1e-4.
    """
    names = ["history_vectors", "event_types", "ages_days"]
    _export(tower, _histories(2), names, "interest_vectors", path)
    _prove(tower, _histories(5), names, path)


def _histories(count: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(count)
    length = spec.HISTORY_LENGTH
    types = torch.randint(1, len(spec.EVENT_TYPES), (count, length), generator=generator)
    types[0, : length // 2] = 0
    return (
        torch.randn(count, length, VECTOR_SIZE, generator=generator),
        types,
        torch.rand(count, length, generator=generator) * 90,
    )


def _export(module: nn.Module, inputs: tuple[torch.Tensor, ...], names: list[str], output: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it lists every operator of torchvision that is not there
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        torch.onnx.export(
            module.eval(),
            inputs,
            path,
            input_names=names,
            output_names=[output],
            dynamic_shapes=tuple({0: batch, 1: length} for _ in inputs),
            opset_version=_OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _prove(module: nn.Module, inputs: tuple[torch.Tensor, ...], names: list[str], path: Path) -> None:
    with torch.inference_mode():
        expected = module(*inputs).numpy()
    session = open_session(path)
    found = session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})[0]
    difference = float(np.abs(found - expected).max())
    if not difference <= _TOLERANCE:
        raise ExportError(f"{path}: differs from torch by {difference:.2e}, at most {_TOLERANCE:.0e} is allowed")


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU with two threads."""
    onnxruntime.disable_telemetry_events()  # it reports sessions to its maker otherwise
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def onnx_interest_run(path: Path) -> InterestRun:
    """The exported interest tower as a function over batches."""
    session = open_session(path)

    def run(history_vectors: Floats, event_types: Ints, ages_days: Floats) -> Floats:
        inputs = {"history_vectors": history_vectors, "event_types": event_types, "ages_days": ages_days}
        result: Floats = session.run(None, inputs)[0]
        return result

    return run


def torch_interest_run(tower: InterestTower) -> InterestRun:
    """The torch interest tower as a function over batches."""

    def run(history_vectors: Floats, event_types: Ints, ages_days: Floats) -> Floats:
        with torch.inference_mode():
            inputs = (torch.from_numpy(part) for part in (history_vectors, event_types, ages_days))
            result: Floats = tower(*inputs).numpy()
        return result

    return run
