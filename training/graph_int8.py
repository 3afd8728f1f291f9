"""A text tower's ONNX graph in smaller numbers: fp16 for GPUs, int8 for CPUs. Surgery on graphs; measures nothing.

What int8 does here, and why (figures in LOG.md):
- Weights int8 per output channel, activations uint8 by their range in the batch at hand (ONNX Runtime's dynamic
  quantisation). Attention scores, softmax, norms and pooling stay fp32.
- A few channels of an encoder are tens of times louder than the rest and set the range for all ("massive
  activations", Sun et al. 2024; Dettmers et al. 2022, "LLM.int8()"). The loudest hidden units of every perceptron
  become a second, tiny fp32 perceptron beside the int8 one: exact, and free of any masking. The loudest channels of a
  norm's output are divided down before they are multiplied, and their weights multiplied by as much (after Xiao et al.
  2023, "SmoothQuant", which evens out all channels: measured worse here).
- Word embeddings are int8 with a scale of their own per row: one scale for all rows costs a fifth of the whole loss.
- ONNX Runtime's fused Add + LayerNormalization is slower on the CPU than the two apart, so the addition is written as
  a Sum, which nothing fuses; it also takes the second perceptron's output for nothing.

Encoders whose graph has none of these patterns are quantised as they are. The only file that imports onnx.
"""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

Array = npt.NDArray[Any]

_CONTRIB = "com.microsoft"
_FLOAT = onnx.TensorProto.FLOAT
_LARGE_TABLE = 1_000

LOUD_UNITS = 8
"""Hidden units of each perceptron that stay fp32."""
LOUD_CHANNELS = 0.01
"""Share of a norm's channels that are divided down to the loudness of the next one."""


def write_fp16(source: Path, target: Path) -> None:
    """The graph with fp16 weights and arithmetic; inputs and outputs stay as they are (the output fp32)."""
    model = convert_float_to_float16(onnx.load(source), keep_io_types=True, disable_shape_infer=False)
    onnx.save(model, target)


def fused(source: Path) -> bytes:
    """The graph with biased GELUs as one operator each, and residual additions that are left alone."""
    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
    options = FusionOptions("bert")
    options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = False
    model = optimize_model(
        str(source), model_type="bert", opt_level=0, optimization_options=options, use_gpu=False
    ).model
    producers = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.op_type == "LayerNormalization":
            before = producers.get(node.input[0])
            if before is not None and before.op_type == "Add" and not _constants(model) & set(before.input):
                before.op_type = "Sum"
    if not any(opset.domain == _CONTRIB for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_CONTRIB, 1))
    serialised: bytes = model.SerializeToString()
    return serialised


def watched(graph: bytes) -> tuple[bytes, list[str]]:
    """The graph with the tensors whose loudness matters as further outputs, float [B, T, C] each, and their names."""
    model = onnx.load_from_string(graph)
    names = sorted({*_inputs(model), *(gelu.output[0] for _, gelu, _ in _perceptrons(model))})
    model.graph.output.extend(helper.make_tensor_value_info(name, _FLOAT, None) for name in names)
    return model.SerializeToString(), names


def write_int8(graph: bytes, loudness: Mapping[str, Array], target: Path) -> None:
    """Quantise a graph from `fused`.

    Args:
        graph: The fp32 graph.
        loudness: Tensor name → largest magnitude of every channel over sample texts, for the names of `watched`.
        target: Where to write.
    """
    model = onnx.load_from_string(graph)
    _shrink_tables(model)
    for name, readers in _inputs(model).items():
        _quieten(model, name, readers, loudness[name])
    kept = [name for perceptron in _perceptrons(model) for name in _set_apart(model, perceptron, loudness)]
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.onnx"
        onnx.save(model, draft)
        quantize_dynamic(
            draft,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=kept,
        )


def _shrink_tables(model: Any) -> None:
    """Large embedding tables as int8 rows and one fp32 scale per row."""
    for gather in [node for node in model.graph.node if node.op_type == "Gather"]:
        name, wanted = gather.input[0], gather.input[1]
        tensor = next((tensor for tensor in model.graph.initializer if tensor.name == name), None)
        if tensor is None or len(tensor.dims) != 2 or tensor.dims[0] < _LARGE_TABLE:
            continue
        table, whole = _value(model, name), gather.output[0]
        scale = np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-12) / 127.0
        model.graph.initializer.remove(tensor)
        model.graph.initializer.append(numpy_helper.from_array(np.rint(table / scale).astype(np.int8), f"{name}.int8"))
        _add(model, f"{name}.scale", scale)
        gather.input[0], gather.output[0] = f"{name}.int8", f"{whole}.int8"
        place = list(model.graph.node).index(gather) + 1
        for offset, node in enumerate(
            [
                helper.make_node("Gather", [f"{name}.scale", wanted], [f"{whole}.scale"], f"{whole}.scale"),
                helper.make_node("Cast", [f"{whole}.int8"], [f"{whole}.cast"], f"{whole}.cast", to=_FLOAT),
                helper.make_node("Mul", [f"{whole}.cast", f"{whole}.scale"], [whole], f"{whole}.mul"),
            ]
        ):
            model.graph.node.insert(place + offset, node)


def _inputs(model: Any) -> dict[str, list[Any]]:
    """Norms' outputs and the multiplications by weights that read them."""
    constants, found = _constants(model), {}
    for norm in model.graph.node:
        if norm.op_type == "LayerNormalization":
            readers = _readers(model, norm.output[0])
            weighted = [node for node in readers if node.op_type == "MatMul" and node.input[1] in constants]
            if weighted:
                found[norm.output[0]] = weighted
    return found


def _quieten(model: Any, name: str, readers: list[Any], loudness: Array) -> None:
    """Divide the loudest channels of a tensor before `readers`, and multiply their weights by as much."""
    scale = np.maximum(1.0, loudness / np.quantile(loudness, 1 - LOUD_CHANNELS)).astype(np.float32)
    _add(model, f"{name}.scale", 1.0 / scale)
    for weights in {node.input[1] for node in readers}:
        _replace(model, weights, _value(model, weights) * scale[:, None])
    _insert(
        model, readers[0].name, [helper.make_node("Mul", [name, f"{name}.scale"], [f"{name}.quiet"], f"{name}.mul")]
    )
    for node in readers:
        node.input[0] = f"{name}.quiet"


_Perceptron = tuple[Any, Any, Any]
"""MatMul up, BiasGelu, MatMul down, as nodes of one model."""


def _perceptrons(model: Any) -> list[_Perceptron]:
    constants = _constants(model)
    producers = {output: node for node in model.graph.node for output in node.output}
    found = []
    for gelu in model.graph.node:
        if gelu.op_type != "BiasGelu":
            continue
        up, after = producers[gelu.input[0]], _readers(model, gelu.output[0])
        if len(after) != 1 or not up.op_type == after[0].op_type == "MatMul":
            continue
        if {up.input[1], gelu.input[1], after[0].input[1]} <= constants and _residual(model, after[0]) is not None:
            found.append((up, gelu, after[0]))
    return found


def _readers(model: Any, name: str) -> list[Any]:
    return [node for node in model.graph.node if name in node.input]


def _residual(model: Any, down: Any) -> Any:
    """The Sum node that a perceptron's output ends in, after its bias; None where the graph goes on otherwise."""
    node, steps = down, 0
    while node.op_type != "Sum":
        after = _readers(model, node.output[0])
        if len(after) != 1 or after[0].op_type not in {"Add", "Sum"} or steps == 2:
            return None
        node, steps = after[0], steps + 1
    return node


def _set_apart(model: Any, perceptron: _Perceptron, loudness: Mapping[str, Array]) -> list[str]:
    """Move the loudest hidden units into an fp32 perceptron; names of what stays fp32."""
    up, gelu, down = perceptron
    name = gelu.name
    first, bias, second = (_value(model, held) for held in (up.input[1], gelu.input[1], down.input[1]))
    loud = np.sort(np.argsort(-loudness[gelu.output[0]])[:LOUD_UNITS])
    for suffix, part in (("first", first[:, loud]), ("bias", bias[loud]), ("second", second[loud])):
        _add(model, f"{name}.{suffix}", part)
    first[:, loud], bias[loud], second[loud] = 0.0, 0.0, 0.0
    for held, rest in ((up.input[1], first), (gelu.input[1], bias), (down.input[1], second)):
        _replace(model, held, rest)
    small = [
        helper.make_node("MatMul", [up.input[0], f"{name}.first"], [f"{name}.a"], f"{name}.up"),
        helper.make_node("BiasGelu", [f"{name}.a", f"{name}.bias"], [f"{name}.b"], f"{name}.gelu", domain=gelu.domain),
        helper.make_node("MatMul", [f"{name}.b", f"{name}.second"], [f"{name}.c"], f"{name}.down"),
    ]
    _residual(model, down).input.append(f"{name}.c")
    _insert(model, up.name, small)
    return [f"{name}.up", f"{name}.down"]


def _insert(model: Any, before: str, nodes: list[Any]) -> None:
    place = next(position for position, node in enumerate(model.graph.node) if node.name == before)
    for offset, node in enumerate(nodes):
        model.graph.node.insert(place + offset, node)


def _constants(model: Any) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer}


def _value(model: Any, name: str) -> Array:
    return numpy_helper.to_array(next(tensor for tensor in model.graph.initializer if tensor.name == name)).copy()


def _replace(model: Any, name: str, value: Array) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))


def _add(model: Any, name: str, value: Array) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=np.float32), name))
