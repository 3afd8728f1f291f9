"""Triton's `model.py` on the cpu target: one tower, run by ONNX Runtime inside the Python backend.

It is copied into the model repository and runs in the server's own environment, so it imports nothing of Aisle.
Which tower it is stands in the model configuration's `parameters`. One instance with two threads measured best;
spinning is off, because a thread that spins takes the core from the ranking process.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer

Tensors = dict[str, npt.NDArray[Any]]


class InterestTower:
    """History → interest vectors; the tensors go to the graph as they are."""

    inputs = ("history_vectors", "event_types", "ages_days")
    output = "interest_vectors"

    def __init__(self, directory: Path, parameters: dict[str, str]) -> None:
        """Load `model.onnx` from the model's version directory."""
        self._session = _session(directory / "model.onnx", int(parameters["threads"]))

    def __call__(self, tensors: Tensors) -> npt.NDArray[np.float32]:
        """Interest vectors [B, K, 128] for [B, T, 128], [B, T] and [B, T]."""
        vectors: npt.NDArray[np.float32] = self._session.run([self.output], tensors)[0]
        return vectors


class TextTower:
    """Text → item vector, tokeniser included."""

    inputs = ("text",)
    output = "vector"

    def __init__(self, directory: Path, parameters: dict[str, str]) -> None:
        """Load `model.onnx` and `tokenizer.json` from the model's version directory."""
        self._session = _session(directory / "model.onnx", int(parameters["threads"]))
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.enable_truncation(max_length=int(parameters["max_tokens"]))
        self._tokenizer.enable_padding()  # to the longest of the batch; the mask hides it

    def __call__(self, tensors: Tensors) -> npt.NDArray[np.float32]:
        """Item vectors [B, 128] for UTF-8 texts [B, 1]; bytes that are not UTF-8 are replaced, never refused."""
        texts = [text.decode("utf-8", errors="replace") for text in tensors["text"].ravel()]
        encodings = self._tokenizer.encode_batch(texts)
        feed = {
            "input_ids": np.array([encoding.ids for encoding in encodings], dtype=np.int64),
            "attention_mask": np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64),
        }
        vectors: npt.NDArray[np.float32] = self._session.run(["vectors"], feed)[0]
        return vectors


def _session(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class TritonPythonModel:
    """What the Python backend calls: loads the tower once, runs all waiting requests as one batch."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the tower named by parameter `tower` (`text` or `interest`)."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        directory = Path(args["model_repository"]) / args["model_version"]
        self._tower: TextTower | InterestTower
        if parameters["tower"] == "text":
            self._tower = TextTower(directory, parameters)
        else:
            self._tower = InterestTower(directory, parameters)

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response per request, in order, out of one run over the rows of all of them."""
        parts = [_tensors(request, self._tower.inputs) for request in requests]
        batch = {name: np.concatenate([part[name] for part in parts]) for name in self._tower.inputs}
        ends = np.cumsum([len(part[self._tower.inputs[0]]) for part in parts])
        outputs = np.split(self._tower(batch), ends[:-1])
        return [
            pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor(self._tower.output, output)])
            for output in outputs
        ]


def _tensors(request: Any, names: tuple[str, ...]) -> Tensors:
    return {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in names}
