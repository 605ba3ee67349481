"""QuantizeLinear and DequantizeLinear: symmetric, with constant scales. TensorRT has no zero points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt.backends.tensorrt.converters.operands import all_of, constants, dtype_of
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import DType, Node

__all__ = ["dequantize", "quantize"]

_STORED = (DType.INT8, DType.FLOAT8E4M3FN, DType.INT4)


def _symmetric(node: Node) -> str | None:
    stored = dtype_of(node.output if node.op_type == "QuantizeLinear" else node.input_at(0))
    given = node.input_at(0)
    if stored is DType.INT32 and given is not None and given.is_constant and node.op_type == "DequantizeLinear":
        return None  # a bias: its numbers are known
    if stored not in _STORED:
        return f"TensorRT stores int8, int4 and float8e4m3fn, not {stored}"
    zero = node.input_at(2)
    if zero is not None and zero.const is not None and zero.const.numpy().astype("float32").any():
        return "a zero point that is not zero"
    return None


@lower("QuantizeLinear", supports=all_of(constants(1, 2), _symmetric))
def quantize(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer."""
    stored = dtype_of(node.output) or DType.INT8
    x, scale = e.input(node, 0), e.input(node, 1)
    layer = e.check(e.network.add_quantize(x, scale, e.api.dtype(stored)), settled=False)
    _set_axis(e, node, layer, x, scale)
    return [e.out(layer)]


@lower("DequantizeLinear", supports=all_of(constants(1, 2), _symmetric))
def dequantize(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer."""
    bias, factor = e.array(node, 0), e.array(node, 1)
    if bias is not None and factor is not None and bias.dtype == np.int32:
        axis = node.int_attr("axis", 1) % max(1, bias.ndim)
        shape = [-1 if place == axis else 1 for place in range(bias.ndim)] if factor.ndim else []
        numbers = bias.astype(np.float32) * factor.astype(np.float32).reshape(shape)
        return [e.constant(numbers.astype(factor.dtype))]
    x, scale = e.input(node, 0), e.input(node, 1)
    layer = e.check(e.network.add_dequantize(x, scale, scale.dtype), settled=False)
    _set_axis(e, node, layer, x, scale)
    return [e.out(layer)]


def _set_axis(e: Emitter, node: Node, layer: object, x: Tensor, scale: Tensor) -> None:
    if e.rank(scale) == 1:
        layer.axis = e.axis(node.int_attr("axis", 1), x)  # type: ignore[attr-defined]
