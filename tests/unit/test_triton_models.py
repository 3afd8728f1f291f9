"""The two `model.py` files, called as the Python backend calls them; only the backend's own module is a stand-in."""

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.contracts.test_scorer import a_history
from tests.fakes import FakeScorer
from tests.tiny_bundle import write_tiny_towers

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Tensor:
    name: str
    values: Array

    def as_numpy(self) -> Array:
        return self.values


@dataclass(frozen=True)
class InferenceResponse:
    output_tensors: list[Tensor]

    def as_dict(self) -> dict[str, Array]:
        return {tensor.name: tensor.values for tensor in self.output_tensors}


def get_input_tensor_by_name(request: dict[str, Array], name: str) -> Tensor:
    return Tensor(name, request[name])


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that exists only inside the server."""
    module = ModuleType("triton_python_backend_utils")
    for part in (Tensor, InferenceResponse, get_input_tensor_by_name):
        setattr(module, part.__name__, part)
    monkeypatch.setitem(sys.modules, module.__name__, module)


def load(module: str, directory: Path, **parameters: str) -> Any:
    """A model as the server makes it; `directory` is the model's, its files lie in version `1`."""
    config = {"parameters": {key: {"string_value": value} for key, value in parameters.items()}}
    model = importlib.import_module(f"services.triton.{module}").TritonPythonModel()
    model.initialize({"model_config": json.dumps(config), "model_repository": str(directory), "model_version": "1"})
    return model


def request(*texts: bytes) -> dict[str, Array]:
    return {"text": np.array([[text] for text in texts], dtype=np.object_)}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_tiny_towers(tmp_path, seed=1)
    return tmp_path


@pytest.fixture
def model_directory(bundle: Path, backend: None) -> Iterator[Path]:
    """One model directory with the text tower's files."""
    (bundle / "model").mkdir()
    (bundle / "model" / "1").symlink_to(bundle / "text_tower")
    yield bundle / "model"
    for name in ("cpu_model", "tokenizer_model"):
        sys.modules.pop(f"services.triton.{name}", None)


async def test_requests_are_run_as_one_batch_and_answered_in_order(bundle: Path, model_directory: Path) -> None:
    model = load("cpu_model", model_directory, tower="text", max_tokens="64", threads="1")
    responses = model.execute([request(b"wine"), request(b"", b"red wine " * 100), request("ワイン".encode())])
    expected = await FakeScorer.of_bundle(bundle).text_vectors(["wine", "", "red wine " * 100, "ワイン"], 1.0)
    found = [response.as_dict()["vector"] for response in responses]
    assert [len(vectors) for vectors in found] == [1, 2, 1]
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-5)


def test_bytes_that_are_not_utf_8_are_replaced(model_directory: Path) -> None:
    model = load("cpu_model", model_directory, tower="text", max_tokens="64", threads="1")
    (response,) = model.execute([request(b"wine \xff\xfe")])
    assert np.linalg.norm(response.as_dict()["vector"]) == pytest.approx(1.0, abs=1e-5)


async def test_histories_are_run_as_one_batch(bundle: Path, model_directory: Path) -> None:
    (model_directory / "1").unlink()
    (model_directory / "1").symlink_to(bundle / "interest_tower")
    model = load("cpu_model", model_directory, tower="interest", threads="1")
    histories = [a_history(50, seed=seed) for seed in range(3)]
    names = ("history_vectors", "event_types", "ages_days")
    requests = [dict(zip(names, (part[np.newaxis] for part in history), strict=True)) for history in histories]
    responses = model.execute(requests)
    oracle = FakeScorer.of_bundle(bundle)
    for response, history in zip(responses, histories, strict=True):
        (found,) = response.as_dict()["interest_vectors"]
        np.testing.assert_allclose(found, await oracle.interest_vectors(*history, 1.0), atol=1e-5)


@pytest.mark.parametrize(("words", "width"), [(0, 16), (14, 16), (15, 32), (30, 32), (31, 64), (5000, 64)])
def test_a_request_is_as_wide_as_the_bucket_its_longest_text_needs(
    model_directory: Path, words: int, width: int
) -> None:
    model = load("tokenizer_model", model_directory, buckets="16,32,64")
    short, long = model.execute([request(b"wine"), request(b"", b"wine " * words)])
    assert short.as_dict()["input_ids"].shape == (1, 16)
    assert long.as_dict()["input_ids"].shape == long.as_dict()["attention_mask"].shape == (2, width)
    assert long.as_dict()["attention_mask"].sum(axis=1).tolist() == [2, min(words + 2, 64)]
