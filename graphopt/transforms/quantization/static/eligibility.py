"""Which nodes could be on integers, looked at alone; and why the others can't."""

from __future__ import annotations

import numpy as np

from graphopt.ir import Constant, DType, Node, Value, constant_of
from graphopt.target import QuantizationScheme
from graphopt.transforms.quantization.parameters import weight_quantization
from graphopt.transforms.quantization.static.normalization import why_no_convolution
from graphopt.transforms.quantization.static.roles import COMPUTING, data_inputs, weight_axis

__all__ = ["why_not"]

#: From these opsets on QuantizeLinear exists, has an axis, and takes halves and 16-bit integers.
_EXISTS, _AXIS, _HALVES, _WIDE = 10, 13, 19, 21
_HALF_TYPES = frozenset({DType.FLOAT16, DType.BFLOAT16})


def why_not(node: Node, scheme: QuantizationScheme) -> str | None:
    """Why a node can't be on integers whatever is around it, ``None`` if it can."""
    if node.op not in scheme.static_ops and node.op not in scheme.passing_ops:
        return f"{scheme.name} has no integer kernel for {node.op}"
    opset = node.graph.opset() if node.graph is not None else None
    if opset is None or opset < _EXISTS:
        return f"opset {opset} has no QuantizeLinear; raise the opset first"
    if node.has_references:
        return "its attributes refer to those of a function"
    if any(value is None for value in _read(node)):
        return "it lacks an input"
    reason = next(
        (
            found
            for value in _read(node)
            if value is not None
            for found in [_why_not_read(value, opset, scheme)]
            if found
        ),
        None,
    )
    if reason is None:
        reason = _why_not_computed(node) if node.op in COMPUTING else _why_not_moved(node)
    return reason


def _read(node: Node) -> list[Value | None]:
    return [node.input_at(position) for position in data_inputs(node)]


def _why_not_read(value: Value, opset: int, scheme: QuantizationScheme) -> str | None:
    if value.dtype in _HALF_TYPES and opset < _HALVES:
        return f"opset {opset} quantizes no {value.dtype}; raise the opset first"
    if value.dtype is None:
        return f"the element type of {value.name!r} is not known"
    if value.dtype is not DType.FLOAT and value.dtype not in _HALF_TYPES:
        return f"it reads {value.dtype}"
    if str(value.dtype) not in scheme.floats:
        return f"{scheme.name} has integer kernels for {', '.join(sorted(scheme.floats))}, and it reads {value.dtype}"
    if value.producer is not None and value.producer.op_type in ("DequantizeLinear", "DynamicQuantizeLinear"):
        return "it is quantized already"
    return None


def _why_not_computed(node: Node) -> str | None:
    weights = constant_of(node.input_at(1))
    if weights is None:
        source = node.inputs[1].producer if len(node.inputs) > 1 and node.inputs[1] is not None else None
        if source is not None and source.op_type == "DequantizeLinear":
            return "its weights are quantized already"
        return "its weights are not constant"
    if constant_of(node.input_at(0)) is not None:
        return "its input is constant"
    if not weights.dtype.is_float or not weights.size or weights.ndim < 2:
        return f"its weights are {weights.type}"
    if not np.isfinite(np.asarray(weights.numpy(), np.float32)).all():
        return "its weights are not all finite"
    if weights.dtype is DType.FLOAT16 and not _is_normal_in_half(node, weights):
        return "float16 can't hold the scales of its weights; convert the model to float32 first"
    if node.op == "Gemm":
        if node.int_attr("transA", 0):
            return "it transposes its input"
        if node.float_attr("alpha", 1.0) != 1.0 or (
            node.input_at(2) is not None and node.float_attr("beta", 1.0) != 1.0
        ):
            return "it scales its product"
    return _why_not_bias(node.input_at(2), weights) if node.op != "MatMul" else None


def _is_normal_in_half(node: Node, weights: Constant) -> bool:
    axis = weight_axis(node, weights.ndim)
    scales = weight_quantization(np.asarray(weights.numpy(), np.float32), DType.INT8, axis=axis).scale.numpy()
    return bool((scales.astype(np.float32) >= np.finfo(np.float16).tiny).all())


def _why_not_bias(value: Value | None, weights: Constant) -> str | None:
    if value is None:
        return None
    bias = constant_of(value)
    if bias is None:
        return "its bias is not constant"
    if bias.ndim != 1:
        return f"its bias is {bias.type}, expected one number for each output channel"
    if not np.isfinite(np.asarray(bias.numpy(), np.float32)).all():
        return "its bias is not all finite"
    return None


def _why_not_moved(node: Node) -> str | None:
    constants = [constant_of(value) for value in _read(node)]
    if all(item is not None for item in constants):
        return "its input is constant"
    for item in constants:
        if item is not None and (not item.size or not np.isfinite(np.asarray(item.numpy(), np.float32)).all()):
            return "a constant that it reads is empty or not finite"
    if node.op == "BatchNormalization":
        return why_no_convolution(node)
    if node.op == "HardSigmoid" and not node.float_attr("alpha") > 0.0:
        return "it falls, or is flat"
    if node.op == "Resize" and node.str_attr("mode", "nearest") != "nearest":
        return f"{node.str_attr('mode')} Resize computes between integers"
    if node.op == "MaxPool" and len(node.outputs) > 1:
        return "it gives indices too"
    return None
