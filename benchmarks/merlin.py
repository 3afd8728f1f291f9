"""A running Triton with the Merlin shape in it (merlin_steps), and what asks it.

The real server of `.venv-triton`, with this project's own environment for the model's Python process: Feast's SDK,
FAISS and LightGBM's trees run there as they do in Aisle's ranking process, on the same versions.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.grpc.model_config_pb2 import (
    TYPE_FP32,
    TYPE_INT32,
    TYPE_UINT8,
    ModelConfig,
    ModelInput,
    ModelInstanceGroup,
    ModelOutput,
    ModelParameter,
)

from features import bundle as files
from features.encode import Floats
from features.vocab import Rows
from services.ranking.ordering import Ranker
from services.triton.embedded import start_triton

_ROOT = Path(__file__).resolve().parents[1]
_START_SECONDS = 120.0
"""The model's process imports Feast."""
_CALL_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Shop:
    """Where the model finds what it answers from."""

    bundle: Path
    feast_dir: Path
    offline_dir: Path
    redis: str
    """Of the online store, host:port, both views materialised."""


class MerlinClient:
    """Asks the running server."""

    def __init__(self, address: str) -> None:
        """Connects at the first call."""
        self._client = InferenceServerClient(address)

    def recommend(self, model: str, user_id: str, count: int) -> tuple[Rows, Floats]:
        """The `count` best rows for a shopper and their scores."""
        user = np.frombuffer(user_id.encode(), np.uint8)
        inputs = [_tensor("user_id", user, "UINT8"), _tensor("count", np.array([count], np.int32), "INT32")]
        answer = self._client.infer(model, inputs, client_timeout=_CALL_SECONDS)
        rows, scores = answer.as_numpy("rows"), answer.as_numpy("scores")
        if rows is None or scores is None or not rows.size:
            raise ValueError(f"{model}: an empty answer for shopper {user_id!r}")
        return rows, scores

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


@contextmanager
def merlin_shape(shop: Shop, models: dict[str, str], folder: Path, triton_venv: Path) -> Iterator[MerlinClient]:
    """A server with one model for each way to item rows.

    Args:
        shop: what it answers from.
        models: name → `merlin_steps.FEAST` or `PIPELINE`.
        folder: for the model repository and the server's log; the repository in it is replaced.
        triton_venv: where Triton is installed.

    Raises:
        ProcessError: a model does not load; the message ends with the server's log.
    """
    repository = folder / "repository"
    shutil.rmtree(repository, ignore_errors=True)
    ranker_code = folder / "ranker.code"
    ranker_code.unlink(missing_ok=True)  # may be another bundle's
    ranker_code.parent.mkdir(parents=True, exist_ok=True)
    Ranker.load(shop.bundle / files.RANKER).compile(ranker_code)  # here: the server waits for a model only so long
    for name, items in models.items():
        version = repository / name / "1"
        version.mkdir(parents=True)
        shutil.copy2(Path(__file__).with_name("merlin_model.py"), version / "model.py")
        (repository / name / "config.pbtxt").write_text(
            text_format.MessageToString(_config(name, shop, items, ranker_code))
        )
    with start_triton(repository, list(models), folder, triton_venv, timeout_seconds=_START_SECONDS) as triton:
        client = MerlinClient(triton.grpc_address)
        try:
            yield client
        finally:
            client.close()


def _config(name: str, shop: Shop, items: str, ranker_code: Path) -> ModelConfig:
    config = ModelConfig(
        name=name,
        backend="python",
        input=[
            ModelInput(name="user_id", data_type=TYPE_UINT8, dims=[-1]),
            ModelInput(name="count", data_type=TYPE_INT32, dims=[1]),
        ],
        output=[
            ModelOutput(name="rows", data_type=TYPE_INT32, dims=[-1]),
            ModelOutput(name="scores", data_type=TYPE_FP32, dims=[-1]),
        ],
        instance_group=[ModelInstanceGroup(kind=ModelInstanceGroup.KIND_CPU, count=1)],
    )
    parameters = {
        "EXECUTION_ENV_PATH": sys.prefix,
        "paths": f"{_ROOT}:{_ROOT / 'protos'}",
        "bundle": shop.bundle.resolve(),
        "ranker_code": ranker_code.resolve(),
        "feast_dir": shop.feast_dir.resolve(),
        "offline_dir": shop.offline_dir.resolve(),
        "redis": shop.redis,
        "items": items,
    }
    for key, value in parameters.items():
        config.parameters[key].CopyFrom(ModelParameter(string_value=str(value)))
    return config


def _tensor(name: str, values: Any, datatype: str) -> InferInput:
    return InferInput(name, values.shape, datatype).set_data_from_numpy(values)
