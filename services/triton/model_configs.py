"""Model configurations of both towers for both targets, as messages: what cannot be built cannot be written wrongly.

cpu: the Python backend runs ONNX Runtime (`cpu_model.py`). gpu: Triton's ONNX Runtime backend with TensorRT in fp16;
the text tower is an ensemble tokenizer → encoder, because TensorRT knows no strings. Names, inputs and outputs are
the same, so that no caller can tell. Every model is warmed up before it answers; on the gpu target the warm-up runs
the smallest and the largest shape first, since TensorRT builds its engine for the range of shapes it has met.
Knows nothing of files.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from tritonclient.grpc.model_config_pb2 import (
    TYPE_FP32,
    TYPE_INT64,
    TYPE_STRING,
    ModelConfig,
    ModelEnsembling,
    ModelInput,
    ModelInstanceGroup,
    ModelOptimizationPolicy,
    ModelOutput,
    ModelParameter,
    ModelWarmup,
)

from features.spec import HISTORY_LENGTH
from services.common.towers import MAX_BATCH_SIZE, VECTOR_WIDTH

TEXT_BUCKETS = (16, 32, 64)
"""Widths in tokens that the gpu target pads texts to; the largest one in use is the tower's token limit."""

ENGINE_CACHE = "/var/cache/aisle-tensorrt"
"""Where TensorRT keeps the engines it built, in NVIDIA's container; mount a volume there to start faster."""

_Tensors = Mapping[str, tuple[int, list[int]]]
_TEXT: _Tensors = {"text": (TYPE_STRING, [1])}
_VECTOR: _Tensors = {"vector": (TYPE_FP32, [VECTOR_WIDTH])}
_TOKENS: _Tensors = {"input_ids": (TYPE_INT64, [-1]), "attention_mask": (TYPE_INT64, [-1])}
_HISTORY: _Tensors = {
    "history_vectors": (TYPE_FP32, [HISTORY_LENGTH, VECTOR_WIDTH]),
    "event_types": (TYPE_INT64, [HISTORY_LENGTH]),
    "ages_days": (TYPE_FP32, [HISTORY_LENGTH]),
}
_QUEUE_DELAY_MICROSECONDS = 100  # long enough to gather a burst, a tenth of what a tower takes
_CPU_THREADS = 2
_CPU_INTEREST_THREADS = 1  # one history takes .3 ms: handing half of it to another thread takes longer


def token_buckets(max_tokens: int) -> list[int]:
    """Widths that texts of up to `max_tokens` tokens are padded to, ascending; the last is `max_tokens`."""
    return [width for width in TEXT_BUCKETS if width < max_tokens] + [max_tokens]


def cpu_text_tower(name: str, max_tokens: int) -> ModelConfig:
    """`text` → `vector` in one Python process."""
    return _python_model(name, _TEXT, _VECTOR, tower="text", max_tokens=max_tokens, threads=_CPU_THREADS)


def cpu_interest_tower(name: str) -> ModelConfig:
    """History → `interest_vectors` in one Python process."""
    return _python_model(name, _HISTORY, _interests(-1), tower="interest", threads=_CPU_INTEREST_THREADS)


def gpu_text_tower(name: str, tokenizer: str, encoder: str) -> ModelConfig:
    """The ensemble of the models named `tokenizer` and `encoder`; Triton batches inside those."""
    tokens = {tensor: tensor for tensor in _TOKENS}
    steps = [
        ModelEnsembling.Step(model_name=tokenizer, model_version=-1, input_map={"text": "text"}, output_map=tokens),
        ModelEnsembling.Step(model_name=encoder, model_version=-1, input_map=tokens, output_map={"vectors": "vector"}),
    ]
    config = _model(name, _TEXT, _VECTOR)
    config.platform = "ensemble"
    config.ensemble_scheduling.step.extend(steps)
    return config


def gpu_text_tokenizer(name: str, max_tokens: int) -> ModelConfig:
    """`text` → `input_ids`, `attention_mask`, padded to a bucket."""
    return _python_model(name, _TEXT, _TOKENS, buckets=",".join(map(str, token_buckets(max_tokens))))


def gpu_text_encoder(name: str, max_tokens: int) -> ModelConfig:
    """`input_ids`, `attention_mask` → `vectors` on TensorRT."""
    buckets = token_buckets(max_tokens)
    extremes = [(1, buckets[0]), (MAX_BATCH_SIZE, buckets[-1])]
    shapes = extremes + [(batch, width) for width in buckets for batch in (1, MAX_BATCH_SIZE)]
    warm_ups = [
        (batch, {tensor: (TYPE_INT64, [width]) for tensor in _TOKENS}) for batch, width in dict.fromkeys(shapes)
    ]
    return _tensorrt_model(name, _TOKENS, {"vectors": _VECTOR["vector"]}, warm_ups)


def gpu_interest_tower(name: str, interest_count: int) -> ModelConfig:
    """History → `interest_vectors` on TensorRT.

    The ONNX Runtime backend refuses a count that is not the one the graph declares (-1 if it declares none).
    """
    return _tensorrt_model(name, _HISTORY, _interests(interest_count), [(1, _HISTORY), (MAX_BATCH_SIZE, _HISTORY)])


def _interests(count: int) -> _Tensors:
    return {"interest_vectors": (TYPE_FP32, [count, VECTOR_WIDTH])}


def _model(name: str, inputs: _Tensors, outputs: _Tensors) -> ModelConfig:
    return ModelConfig(
        name=name,
        max_batch_size=MAX_BATCH_SIZE,
        input=[ModelInput(name=key, data_type=kind, dims=dims) for key, (kind, dims) in inputs.items()],
        output=[ModelOutput(name=key, data_type=kind, dims=dims) for key, (kind, dims) in outputs.items()],
    )


def _python_model(name: str, inputs: _Tensors, outputs: _Tensors, **parameters: Any) -> ModelConfig:
    config = _model(name, inputs, outputs)
    config.backend = "python"
    for key, value in parameters.items():
        config.parameters[key].CopyFrom(ModelParameter(string_value=str(value)))
    return _batched(config, ModelInstanceGroup.KIND_CPU, [(1, inputs)])


def _tensorrt_model(
    name: str, inputs: _Tensors, outputs: _Tensors, warm_ups: Iterable[tuple[int, _Tensors]]
) -> ModelConfig:
    config = _model(name, inputs, outputs)
    config.backend = "onnxruntime"
    config.optimization.execution_accelerators.gpu_execution_accelerator.append(
        ModelOptimizationPolicy.ExecutionAccelerators.Accelerator(
            name="tensorrt",
            parameters={
                "precision_mode": "FP16",
                "trt_layer_norm_fp32_fallback": "1",  # the sum of squares overflows fp16
                "trt_engine_cache_enable": "1",
                "trt_engine_cache_path": ENGINE_CACHE,
            },
        )
    )
    return _batched(config, ModelInstanceGroup.KIND_GPU, warm_ups)


def _batched(config: ModelConfig, kind: int, warm_ups: Iterable[tuple[int, _Tensors]]) -> ModelConfig:
    config.dynamic_batching.max_queue_delay_microseconds = _QUEUE_DELAY_MICROSECONDS
    config.instance_group.append(ModelInstanceGroup(kind=kind, count=1))
    for batch, tensors in warm_ups:
        sample = config.model_warmup.add(name="x".join(map(str, (batch, *_first_dims(tensors)))), batch_size=batch)
        for key, (data_type, dims) in tensors.items():
            sample.inputs[key].CopyFrom(ModelWarmup.Input(data_type=data_type, dims=dims, zero_data=True))
    return config


def _first_dims(tensors: _Tensors) -> list[int]:
    return next(iter(tensors.values()))[1]
