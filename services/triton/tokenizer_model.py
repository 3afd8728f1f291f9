"""Triton's `model.py` on the gpu target for the first step of the text tower: text → token ids.

It is copied into the model repository and runs in the server's container, so it imports nothing of Aisle. Every
request is padded to the smallest of a few widths (buckets) that holds its longest text: requests of equal width are
batched in front of the encoder, and TensorRT meets few shapes.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer


class TritonPythonModel:
    """`text` (string [B, 1]) → `input_ids` and `attention_mask` (int64 [B, bucket])."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load `tokenizer.json`; parameter `buckets` lists the widths, ascending, separated by commas."""
        config = json.loads(args["model_config"])
        self._buckets = [int(width) for width in config["parameters"]["buckets"]["string_value"].split(",")]
        path = Path(args["model_repository"]) / args["model_version"] / "tokenizer.json"
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.enable_truncation(max_length=self._buckets[-1])

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response per request, in order; a request's width depends on its own texts only."""
        return [self._respond(pb_utils.get_input_tensor_by_name(request, "text").as_numpy()) for request in requests]

    def _respond(self, texts: npt.NDArray[np.object_]) -> Any:
        encodings = self._tokenizer.encode_batch([text.decode("utf-8", errors="replace") for text in texts.ravel()])
        longest = max(len(encoding) for encoding in encodings)
        width = next(bucket for bucket in self._buckets if bucket >= longest)
        input_ids = np.zeros((len(encodings), width), dtype=np.int64)
        attention_mask = np.zeros((len(encodings), width), dtype=np.int64)
        for row, encoding in enumerate(encodings):
            input_ids[row, : len(encoding)] = encoding.ids
            attention_mask[row, : len(encoding)] = 1
        tensors = [pb_utils.Tensor("input_ids", input_ids), pb_utils.Tensor("attention_mask", attention_mask)]
        return pb_utils.InferenceResponse(output_tensors=tensors)
