"""The gpu target as far as a machine without a GPU can tell.

The real server accepts its configurations up to the point where it looks for the ONNX Runtime backend, which this build
lacks. With that backend replaced by a Python model that runs the same graph, everything else is run for real: names,
shapes, warm-up samples, the ensemble and the tokenizer.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from google.protobuf import text_format
from tokenizers import Tokenizer
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup
from tritonclient.utils import InferenceServerException

from services.common.scorer import TritonScorer
from services.common.towers import TowerModels
from services.triton.repository import build_repository
from tests.contracts.test_scorer import a_history
from tests.fakes import FakeScorer
from tests.integration.conftest import TinyTriton
from tests.tiny_bundle import write_tiny_bundle

VERSION = "gpu.1"
MODELS = TowerModels.of_version(VERSION)
TIMEOUT_SECONDS = 10.0
TEXTS = ["", "wine", "wine " * 15, "wine " * 40, "wine " * 3000, "ワイン"]

RUNS_THE_GRAPH = """
import json
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.output = config["output"][0]["name"]
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self.session = onnxruntime.InferenceSession(str(path))

    def execute(self, requests):
        return [pb_utils.InferenceResponse([self.run(request)]) for request in requests]

    def run(self, request):
        feed = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}
        return pb_utils.Tensor(self.output, self.session.run([self.output], feed)[0])
"""


@pytest.fixture
def gpu_repository(tiny_triton: TinyTriton, tmp_path: Path) -> Path:
    """The gpu target of a tiny bundle, in the running server's repository."""
    write_tiny_bundle(tmp_path, VERSION, seed=4)
    build_repository(tmp_path, "gpu", tiny_triton.repository)
    return tiny_triton.repository


@pytest.fixture
def client(tiny_triton: TinyTriton) -> Iterator[InferenceServerClient]:
    """A connection on which the test itself loads models; those it made are unloaded at the end."""
    with InferenceServerClient(tiny_triton.process.grpc_address) as client:
        yield client
        for model in (MODELS.text, MODELS.interest, "text_tokenizer_gpu_1", "text_encoder_gpu_1"):
            client.unload_model(model, unload_dependents=True)


def replace_onnx_backend(model: Path) -> ModelConfig:
    config = text_format.Parse((model / "config.pbtxt").read_text(), ModelConfig())
    assert config.backend == "onnxruntime"
    config.backend = "python"
    config.instance_group[0].kind = ModelInstanceGroup.KIND_CPU
    config.ClearField("optimization")
    (model / "config.pbtxt").write_text(text_format.MessageToString(config))
    (model / "1" / "model.py").write_text(RUNS_THE_GRAPH)
    return config


@pytest.fixture
def stand_in(gpu_repository: Path, client: InferenceServerClient) -> None:
    """Both towers of the gpu target are loaded, their graphs run by Python."""
    for model in ("text_encoder_gpu_1", MODELS.interest):
        replace_onnx_backend(gpu_repository / model)
    for model in (MODELS.text, MODELS.interest):
        client.load_model(model)


@pytest.mark.parametrize("model", ["text_encoder_gpu_1", MODELS.interest])
def test_a_configuration_is_refused_only_for_the_backend_that_this_server_lacks(
    gpu_repository: Path, client: InferenceServerClient, model: str
) -> None:
    with pytest.raises(
        InferenceServerException, match="unable to find backend library for backend 'onnxruntime'"
    ) as caught:
        client.load_model(model)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_a_configuration_that_is_not_well_formed_is_refused_otherwise(
    gpu_repository: Path, client: InferenceServerClient
) -> None:
    with (gpu_repository / MODELS.interest / "config.pbtxt").open("a") as config:
        config.write("max_batch: 64\n")
    with pytest.raises(InferenceServerException, match="failed to poll from model repository") as caught:
        client.load_model(MODELS.interest)
    assert caught.value.status() == "StatusCode.INTERNAL"


def test_a_warm_up_sample_of_a_wrong_shape_is_found(gpu_repository: Path, client: InferenceServerClient) -> None:
    config = replace_onnx_backend(gpu_repository / MODELS.interest)
    config.model_warmup[0].inputs["ages_days"].dims[0] = 49
    (gpu_repository / MODELS.interest / "config.pbtxt").write_text(text_format.MessageToString(config))
    with pytest.raises(InferenceServerException, match="ages_days"):
        client.load_model(MODELS.interest)


async def test_the_ensemble_answers_as_the_cpu_target_does(
    stand_in: None, triton_scorer: TritonScorer, tmp_path: Path
) -> None:
    scorer, oracle = triton_scorer.with_models(MODELS), FakeScorer.of_bundle(tmp_path)
    found = await scorer.text_vectors(TEXTS * 12, TIMEOUT_SECONDS)
    np.testing.assert_allclose(found, await oracle.text_vectors(TEXTS * 12, TIMEOUT_SECONDS), atol=1e-5)
    history = a_history(30)
    interests = await scorer.interest_vectors(*history, TIMEOUT_SECONDS)
    np.testing.assert_allclose(interests, await oracle.interest_vectors(*history, TIMEOUT_SECONDS), atol=1e-5)


@pytest.mark.parametrize(("texts", "width"), [(["wine " * 14], 16), (["wine " * 15, ""], 32), (TEXTS, 64)])
def test_texts_are_padded_to_the_smallest_bucket_that_holds_them(
    gpu_repository: Path, client: InferenceServerClient, tmp_path: Path, texts: list[str], width: int
) -> None:
    client.load_model("text_tokenizer_gpu_1")
    tokenizer = Tokenizer.from_file(str(tmp_path / "text_tower" / "tokenizer.json"))
    tokenizer.enable_truncation(64)
    encoded = np.array([[text.encode()] for text in texts], dtype=np.object_)
    request = InferInput("text", encoded.shape, "BYTES").set_data_from_numpy(encoded)
    result = client.infer("text_tokenizer_gpu_1", [request])
    input_ids: npt.NDArray[np.int64] = result.as_numpy("input_ids")
    mask: npt.NDArray[np.int64] = result.as_numpy("attention_mask")
    assert input_ids.shape == mask.shape == (len(texts), width)
    for row, text in enumerate(texts):
        assert input_ids[row, mask[row] == 1].tolist() == tokenizer.encode(text).ids


async def test_unloading_the_ensemble_unloads_what_it_is_made_of(
    stand_in: None, triton_scorer: TritonScorer, client: InferenceServerClient
) -> None:
    assert client.is_model_ready("text_encoder_gpu_1")
    await triton_scorer.unload(MODELS.text)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while client.is_model_ready("text_encoder_gpu_1") or client.is_model_ready("text_tokenizer_gpu_1"):
            await asyncio.sleep(0.02)
    assert client.is_model_ready(MODELS.interest)


async def test_a_caller_cannot_tell_the_targets_apart(
    stand_in: None, tiny_triton: TinyTriton, client: InferenceServerClient
) -> None:
    for cpu, gpu in ((tiny_triton.models.text, MODELS.text), (tiny_triton.models.interest, MODELS.interest)):
        ours, theirs = client.get_model_metadata(cpu), client.get_model_metadata(gpu)
        assert [(tensor.name, tensor.datatype, tensor.shape) for tensor in ours.inputs] == [
            (tensor.name, tensor.datatype, tensor.shape) for tensor in theirs.inputs
        ]
        assert [(tensor.name, tensor.datatype) for tensor in ours.outputs] == [
            (tensor.name, tensor.datatype) for tensor in theirs.outputs
        ]
