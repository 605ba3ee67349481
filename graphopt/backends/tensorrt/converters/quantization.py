"""QuantizeLinear and DequantizeLinear.

TensorRT has layers for constant scales without zero points, and int8, int4 and float8e4m3fn between them. Everything else is the arithmetic
that ONNX states, on floats: exact, for integers of up to 16 bits are floats. Where such integers are made of floats and become floats
again, they stay floats in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.backends.tensorrt.converters.narrow import bounds_of
from graphopt.backends.tensorrt.converters.operands import dtype_of
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Layer, Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import Array, DType, Node, Value, constant_of

__all__ = ["dequantize", "quantize"]

_STORED = (DType.INT8, DType.FLOAT8E4M3FN, DType.INT4)
_QUANTIZE = ("QuantizeLinear", "com.microsoft::QuantizeLinear")
_DEQUANTIZE = ("DequantizeLinear", "com.microsoft::DequantizeLinear")


def _by_scales_alone(node: Node, stored: DType | None) -> bool:
    """Whether TensorRT has a layer for it."""
    zero = node.input_at(2)
    shift = constant_of(zero)
    plain = zero is None or (shift is not None and not shift.numpy().astype(np.float32).any())
    scale = node.input_at(1)
    return stored in _STORED and plain and scale is not None and scale.is_constant


def _known(node: Node, stored: DType | None) -> str | None:
    if stored is None or not (stored.is_integer or stored is DType.FLOAT8E4M3FN):
        return f"numbers that are stored as {stored}"
    if not stored.is_integer and not _by_scales_alone(node, stored):
        return f"{stored} with a zero point, or a scale that is not constant"
    if node.int_attr("block_size", 0) and constant_of(node.input_at(1)) is None:
        return "scales of blocks that are not constant"
    return None


def _quantizes(node: Node) -> str | None:
    return _known(node, dtype_of(node.output))


def _dequantizes(node: Node) -> str | None:
    return _known(node, dtype_of(node.input_at(0)))


@lower(*_QUANTIZE, supports=_quantizes)
def quantize(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer, or round(x / scale) + zero point, saturated."""
    stored = dtype_of(node.output) or DType.INT8
    x = e.input(node, 0)
    if _by_scales_alone(node, stored) and (stored is not DType.INT4 or e.array(node, 0) is not None):
        scale = e.cast(e.input(node, 1), x.dtype)
        layer = e.check(e.network.add_quantize(x, scale, e.api.dtype(stored)), settled=False)
        _set_axis(e, node, layer, x, scale)
        return [e.out(layer)]
    x = e.cast(x, DType.FLOAT)
    found = e.unary(e.elementwise(x, _spread(e, node, 1, x), "DIV"), "ROUND")
    if node.input_at(2) is not None:
        found = e.elementwise(found, _spread(e, node, 2, x), "SUM")
    low, high = bounds_of(stored)
    found = e.elementwise(e.elementwise(found, e.scalar_like(low, x), "MAX"), e.scalar_like(high, x), "MIN")
    e.whole[node.output] = found
    return [e.cast(found, e.inside(stored))]


@lower(*_DEQUANTIZE, supports=_dequantizes)
def dequantize(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer, or (x - zero point) * scale; of constants the numbers that they stand for, where there is no layer."""
    stored, array = dtype_of(node.input_at(0)), e.array(node, 0)
    result = _result_type(e, node)
    if _by_scales_alone(node, stored) and stored is not None:
        x = e.input(node, 0) if array is None else e.as_stored(array, stored)
        if e.api.ir_dtype(x.dtype) is stored:
            scale = e.cast(e.input(node, 1), result)
            layer = e.check(e.network.add_dequantize(x, scale, scale.dtype), settled=False)
            _set_axis(e, node, layer, x, scale)
            return [e.out(layer)]
    scales, zeros = constant_of(node.input_at(1)), constant_of(node.input_at(2))
    if array is not None and scales is not None and (zeros is not None or node.input_at(2) is None):
        return [e.constant(_decoded(node, array, scales.numpy(), None if zeros is None else zeros.numpy()), result)]
    whole = e.whole.get(_stored_value(node))
    x = e.cast(e.plain(e.input(node, 0)), DType.FLOAT) if whole is None else whole
    if node.input_at(2) is not None:
        x = e.elementwise(x, _spread(e, node, 2, x), "SUB")
    return [e.cast(e.elementwise(x, _spread(e, node, 1, x), "PROD"), result)]


def _decoded(node: Node, array: Any, scale: Any, zero: Any) -> Array:  # noqa: ANN401  arrays of any type
    """What constant integers stand for, as float32."""
    steps = array.astype(np.int64)
    if zero is not None:
        steps = steps - _spread_array(node, zero, array.shape).astype(np.int64)
    numbers: Array = steps.astype(np.float32) * _spread_array(node, scale, array.shape).astype(np.float32)
    return numbers


def _result_type(e: Emitter, node: Node) -> DType:
    return e.inside(dtype_of(node.output) or dtype_of(node.input_at(1)) or DType.FLOAT)


def _stored_value(node: Node) -> Value:
    value = node.inputs[0]
    assert value is not None, "the schema asks for it"
    return value


def _spread(e: Emitter, node: Node, place: int, x: Tensor) -> Tensor:
    """Scales or zero points as floats that broadcast to ``x``."""
    constant = constant_of(node.input_at(place))
    if constant is not None:
        return e.constant(_spread_array(node, constant.numpy().astype(np.float32), tuple(x.shape)))
    found = e.cast(e.plain(e.input(node, place)), DType.FLOAT)
    if e.rank(found) != 1 or tuple(found.shape) == (1,):
        return e.reshape(found, [1] * e.rank(x))
    axis = e.axis(node.int_attr("axis", 1), x)
    return e.unsqueeze(found, [place for place in range(e.rank(x)) if place != axis])


def _spread_array(node: Node, numbers: Array, shape: Sequence[int]) -> Array:
    """Scales or zero points that broadcast to a shape: one, one for each place of an axis, or one for each block along it."""
    if numbers.size == 1:
        return numbers.reshape((1,) * len(shape))
    axis = node.int_attr("axis", 1) % max(1, len(shape))
    if numbers.ndim == 1:
        return numbers.reshape([-1 if place == axis else 1 for place in range(len(shape))])
    block = node.int_attr("block_size", 0) or -(-shape[axis] // numbers.shape[axis])
    repeated: Array = np.repeat(numbers, block, axis)
    return repeated.take(np.arange(shape[axis]), axis)


def _set_axis(e: Emitter, node: Node, layer: Layer, x: Tensor, scale: Tensor) -> None:
    if e.rank(scale) == 1:
        layer.axis = e.axis(node.int_attr("axis", 1), x)
