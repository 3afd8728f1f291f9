"""Ways of encoding texts with one bundle's text tower: behind Triton, batched or not, and in the caller's process.

Callers at once are asyncio tasks over one connection.
"""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from google.protobuf import text_format
from tokenizers import Tokenizer

from features.bundle import TEXT_CONFIG
from features.encode import Floats
from services.common.scorer import TritonScorer
from services.common.towers import TowerModels
from services.triton.embedded import start_triton
from services.triton.model_configs import cpu_text_tower
from services.triton.repository import build_repository

VENV = Path(".venv-triton")
CALLERS = 16
THREADS = 2
"""Of the graph, on both sides; the number is that of services/triton/model_configs.py."""

_TIMEOUT_SECONDS = 60.0
_UNBATCHED = "text_tower_unbatched"

Encode = Callable[[Sequence[str]], Floats]


@dataclass(frozen=True, slots=True)
class Ways:
    """Ways of encoding the same texts; each takes up to 64 of them, or any number where it says so."""

    served: Encode
    """One request to Triton."""
    at_once: Encode
    """Any number, a request each, CALLERS of them at a time."""
    unbatched: Encode
    """As `at_once`, where Triton batches nothing."""
    in_process: Encode
    """ONNX Runtime and the tokeniser in this process."""


@contextmanager
def opened(root: Path, version: str, venv: Path = VENV) -> Iterator[Ways]:
    """Start Triton with the text tower of the bundle at `root`, batched and not, and open the same graph here."""
    models = TowerModels.of_version(version)
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        repository = Path(folder) / "repository"
        build_repository(root, "cpu", repository)
        max_tokens = json.loads((root / TEXT_CONFIG).read_text())["max_tokens"]
        _write_unbatched(repository, models.text, max_tokens)
        with start_triton(repository, [models.text, _UNBATCHED], Path(folder), venv) as triton:
            served = runner.run(_scorer(triton.grpc_address, models))
            unbatched = served.with_models(TowerModels(_UNBATCHED, models.interest))
            try:
                yield Ways(
                    lambda texts: runner.run(served.text_vectors(list(texts), _TIMEOUT_SECONDS)),
                    lambda texts: runner.run(_each_alone(served, texts)),
                    lambda texts: runner.run(_each_alone(unbatched, texts)),
                    in_process(repository / models.text / "1", max_tokens),
                )
            finally:
                runner.run(served.close())


def in_process(tower: Path, max_tokens: int) -> Encode:
    """The tower without a server: `model.onnx` and `tokenizer.json` of a folder."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(tower / "model.onnx"), options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(tower / "tokenizer.json"))
    tokenizer.enable_truncation(max_length=max_tokens)
    tokenizer.enable_padding()

    def encode(texts: Sequence[str]) -> Floats:
        encodings = tokenizer.encode_batch(list(texts))
        feed: dict[str, Any] = {
            "input_ids": np.array([encoding.ids for encoding in encodings], dtype=np.int64),
            "attention_mask": np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64),
        }
        vectors: Floats = session.run(["vectors"], feed)[0]
        return vectors

    return encode


async def _scorer(address: str, models: TowerModels) -> TritonScorer:
    return TritonScorer(address, models)  # belongs to the loop it is made in


async def _each_alone(scorer: TritonScorer, texts: Sequence[str]) -> Floats:
    waiting = asyncio.Semaphore(CALLERS)

    async def one(text: str) -> Floats:
        async with waiting:
            return await scorer.text_vectors([text], _TIMEOUT_SECONDS)

    return np.concatenate(await asyncio.gather(*(one(text) for text in texts)))


def _write_unbatched(repository: Path, text_model: str, max_tokens: int) -> None:
    shutil.copytree(repository / text_model, repository / _UNBATCHED)
    config = cpu_text_tower(_UNBATCHED, max_tokens)
    config.ClearField("dynamic_batching")
    (repository / _UNBATCHED / "config.pbtxt").write_text(text_format.MessageToString(config))
