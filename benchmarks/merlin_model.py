"""Triton's `model.py` of the Merlin shape: one model that answers a shopper's whole request.

It is copied into the model repository and runs in the server's own Python process, in the environment that parameter
EXECUTION_ENV_PATH of its configuration names. Tensors go in and out by DLPack: the backend was built for numpy 1, and
what it makes of numpy 2's arrays is empty.
"""

import json
import sys
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """What the Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load what the parameters name: where this project lies, the bundle, the stores and the way to item rows."""
        parameters = {
            name: value["string_value"] for name, value in json.loads(args["model_config"])["parameters"].items()
        }
        sys.path[:0] = parameters["paths"].split(":")
        # The backend renames a capsule otherwise than numpy expects, which then complains on the error stream.
        sys.unraisablehook = lambda _: None
        from features.lean_imports import block  # noqa: PLC0415 - is found only now

        block("torch", "transformers", "sklearn", "matplotlib")  # before what would import them when installed
        from benchmarks.merlin_steps import open_steps  # noqa: PLC0415 - as above

        self._steps = open_steps(
            parameters["bundle"],
            parameters["ranker_code"],
            parameters["feast_dir"],
            parameters["offline_dir"],
            parameters["redis"],
            parameters["items"],
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response per request: rows of the bundle and their scores, best first."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        user_id = bytes(np.from_dlpack(pb_utils.get_input_tensor_by_name(request, "user_id")).ravel()).decode()
        count = int(np.from_dlpack(pb_utils.get_input_tensor_by_name(request, "count")).ravel()[0])
        rows, scores = self._steps(user_id, count)
        tensors = [pb_utils.Tensor.from_dlpack("rows", rows), pb_utils.Tensor.from_dlpack("scores", scores)]
        return pb_utils.InferenceResponse(output_tensors=tensors)
