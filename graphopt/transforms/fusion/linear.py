"""One view on operators that are linear in their input: Conv, ConvTranspose, Gemm and MatMul with constant weights.

``y = op(x, w) + b`` with output channels along one axis of ``w``, of ``y`` and of ``b``. Scaling ``y`` by ``k`` per channel scales ``w``
and ``b``; adding ``t`` per channel adds to ``b``. Arithmetic in float64, rounded once; refused where a result is not finite in the
weights' type.

| operator | weights | channel axis of the weights | of the result |
|---|---|---|---|
| Conv | [M, C/group, *kernel] | 0 | 1 |
| ConvTranspose | [C, M/group, *kernel] | 1, in each group of axis 0 | 1 |
| Gemm | [K, N], or [N, K] with transB | 1, or 0 | 1 |
| MatMul | [K, N] | 1 | last |

Source: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np
import numpy.typing as npt

from graphopt.ir import Array, Constant, DType, Node, Value
from graphopt.rewriting import NoMatch, Rewriter

__all__ = [
    "Float64",
    "Linear",
    "add_to_bias",
    "as_float64",
    "is_dequantized",
    "per_channel",
    "read_linear",
    "round_to",
    "scale_channels",
]

Float64 = npt.NDArray[np.float64]
_FLOATS = frozenset({DType.FLOAT16, DType.BFLOAT16, DType.FLOAT, DType.DOUBLE})
#: Weights up to this size may be kept beside the changed ones when somebody else reads them.
_SMALL_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear operator with its constants, and what a rewrite wants in their place.

    Attributes:
        node: the operator.
        dtype: element type of weights and bias.
        channels: output channels.
        weight: the weights.
        bias: the bias, ``None`` when there is none.
        new_weight: other weights, ``None`` to keep them.
        new_bias: other bias, ``None`` to keep it.
    """

    node: Node
    dtype: DType
    channels: int
    weight: Value
    bias: Value | None
    new_weight: Array | None = None
    new_bias: Array | None = None

    @property
    def rank(self) -> int | None:
        """Rank of the result, ``None`` when it is not known."""
        if self.node.op == "MatMul":
            return self.node.output.rank
        return _constant(self.weight).ndim

    @property
    def channel_axis(self) -> int:
        """Axis of the channels in the result; MatMul has them last."""
        return -1 if self.node.op == "MatMul" else 1

    def rebuild(self, rw: Rewriter) -> Value:
        """The operator with its new constants. A MatMul that gets a bias becomes a Gemm."""
        data = self.node.inputs[0]
        weight = self.weight if self.new_weight is None else rw.constant(self.new_weight, self.weight.name)
        bias = self.bias
        if self.new_bias is not None:
            bias = rw.constant(
                self.new_bias, f"{self.node.name or self.node.output.name}_bias" if bias is None else bias.name
            )
        attributes: dict[str, object] = dict(self.node.attributes)
        op = "Gemm" if self.node.op == "MatMul" and bias is not None else self.node.op
        if op == "Gemm" and self.new_bias is not None and self.node.op == "Gemm":
            attributes["beta"] = 1.0
        return rw.new_node(op, [data, weight, bias], attributes=attributes, name=self.node.name).output


def read_linear(node: Node, *, scaled: bool) -> Linear | NoMatch:
    """The view on a Conv, ConvTranspose, Gemm or MatMul with constant weights and bias.

    Args:
        node: the operator.
        scaled: whether its weights are to change, which makes a copy when others read them.
    """
    weight = node.input_at(1)
    bias = node.input_at(2)
    if node.op in ("Gemm", "MatMul") and (node.opset or 0) < 7:
        return NoMatch("broadcasting before opset 7 goes by attributes")
    if weight is None or not weight.is_constant or (bias is not None and not bias.is_constant):
        return NoMatch("weights or bias of %s are not constant", node.op)
    shape, dtype = _constant(weight).shape, _constant(weight).dtype
    if dtype not in _FLOATS or (bias is not None and _constant(bias).dtype != dtype):
        return NoMatch("weights are of type %s", dtype)
    if scaled and (weight.use_count > 1 or weight.is_graph_output) and _constant(weight).nbytes > _SMALL_BYTES:
        return NoMatch("weights %r have other users: changing them would make a copy", weight.name)
    if (len(shape) < 3 if node.op.startswith("Conv") else len(shape) != 2) or 0 in shape:
        return NoMatch("weights of %s have shape %s", node.op, shape)
    match node.op:
        case "Conv":
            channels = shape[0]
        case "ConvTranspose":
            channels = shape[1] * node.int_attr("group", 1)
        case "Gemm":
            channels = shape[0 if node.attr("transB", 0) else 1]
        case _:
            channels = shape[1]
    if bias is not None and node.op.startswith("Conv") and _constant(bias).shape != (channels,):
        return NoMatch("bias has shape %s, expected [%d]", _constant(bias).shape, channels)
    return Linear(node, dtype, channels, weight, bias)


def scale_channels(linear: Linear, factor: Float64) -> Linear | NoMatch:
    """The operator with its result multiplied by ``factor``.

    Args:
        linear: the operator.
        factor: float64, [channels] or a scalar.
    """
    weight = as_float64(linear.weight)
    if factor.ndim == 0:
        scaled = weight * factor
    else:
        scaled = weight * _along_weights(linear, factor)
    new_weight = round_to(scaled, linear.dtype)
    if isinstance(new_weight, NoMatch):
        return new_weight
    linear = replace(linear, new_weight=new_weight)
    bias = _bias(linear)
    return linear if bias is None else _with_bias(linear, bias * factor)


def add_to_bias(linear: Linear, term: Float64) -> Linear | NoMatch:
    """The operator with ``term`` added to its result.

    Args:
        linear: the operator; a MatMul only where the result has rank 2.
        term: float64, [channels] or a scalar.
    """
    bias = _bias(linear)
    if bias is None:
        bias = np.zeros(linear.channels)
    return _with_bias(linear, bias + term)


def per_channel(constant: Array, linear: Linear) -> Float64 | NoMatch:
    """A constant operand as float64 [channels] or scalar, if it varies along channels at most and does not broadcast the result."""
    shape = constant.shape
    rank = linear.rank
    width = 1 if rank is None else rank  # MatMul with weights of rank 2 has at least the channel axis
    if len(shape) > width:
        return NoMatch("a constant of shape %s may broadcast a result of rank %s", shape, rank)
    if constant.size == 1:
        return constant.astype(np.float64).reshape(())
    padded = (1,) * (width - len(shape)) + shape
    axis = linear.channel_axis % width
    if padded[:axis] + padded[axis + 1 :] != (1,) * (width - 1) or padded[axis] != linear.channels:
        return NoMatch("a constant of shape %s is not one number for each of %d channels", shape, linear.channels)
    return constant.astype(np.float64).reshape(linear.channels)


def as_float64(value: Value) -> Float64:
    """The numbers of a constant in float64."""
    return _constant(value).numpy().astype(np.float64)


def is_dequantized(value: Value) -> bool:
    """Whether a value stands for integers: fusions would hide that from a runtime that computes with them."""
    return value.producer is not None and value.producer.op_type == "DequantizeLinear"


def round_to(numbers: Float64, dtype: DType) -> Array | NoMatch:
    """Numbers rounded to an element type, unless one overflows or they are too small for it as a whole."""
    with np.errstate(over="ignore"):
        rounded = numbers.astype(dtype.numpy)
    info = ml_dtypes.finfo(dtype.numpy)  # type: ignore[no-untyped-call]  # ml_dtypes leaves this one without annotations
    largest = float(np.abs(numbers).max(initial=0.0))
    if not np.isfinite(largest) or largest > float(info.max):
        return NoMatch("a constant does not fit into %s", dtype)
    if dtype in (DType.FLOAT16, DType.BFLOAT16):
        error = float(np.abs(rounded.astype(np.float64) - numbers).max(initial=0.0))
        if error > float(info.eps) * largest:
            return NoMatch("constants are too small for %s", dtype)
    return rounded


def _constant(value: Value) -> Constant:
    assert value.const is not None, f"{value!r} was found to be constant"
    return value.const


def _along_weights(linear: Linear, factor: Float64) -> Float64:
    """A factor per channel in a shape that broadcasts against the weights."""
    shape = _constant(linear.weight).shape
    if linear.node.op == "ConvTranspose":
        groups = linear.node.int_attr("group", 1)
        rows = np.repeat(factor.reshape(groups, -1), shape[0] // groups, axis=0)
        return rows.reshape(shape[0], shape[1], *[1] * (len(shape) - 2))
    if linear.node.op == "Conv" or (linear.node.op == "Gemm" and linear.node.attr("transB", 0)):
        return factor.reshape(-1, *[1] * (len(shape) - 1))
    return factor.reshape(1, -1)


def _bias(linear: Linear) -> Float64 | None:
    """The bias as it is added, in float64."""
    if linear.new_bias is not None:
        return linear.new_bias.astype(np.float64)
    if linear.bias is None:
        return None
    beta = linear.node.float_attr("beta", 1.0) if linear.node.op == "Gemm" else 1.0
    return as_float64(linear.bias) * beta


def _with_bias(linear: Linear, numbers: Float64) -> Linear | NoMatch:
    before = 0 if linear.bias is None else _constant(linear.bias).size
    if numbers.size > max(before, linear.channels):
        return NoMatch("the bias would grow to shape %s", numbers.shape)
    bias = round_to(numbers, linear.dtype)
    return bias if isinstance(bias, NoMatch) else replace(linear, new_bias=bias)
