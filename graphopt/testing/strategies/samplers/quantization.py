"""Nodes of quantized graphs: to and from bytes, per tensor, per channel and in blocks, and what computes on bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt.ir import Array, DType
from graphopt.testing.strategies.ask import Ask
from graphopt.testing.strategies.sampler import SamplerTable
from graphopt.testing.strategies.samplers.linear import say_window
from graphopt.testing.strategies.scope import dtype_of

__all__ = ["SCALES", "TABLE", "zero_point"]

TABLE = SamplerTable()
#: Powers of two mostly, so that quantizing what models are fed is exact.
SCALES = (0.125, 0.25, 1.0, 0.1, 0.0078125)
_BYTES = frozenset({DType.UINT8, DType.INT8})


def zero_point(ask: Ask, dtype: DType, shape: Sequence[int]) -> Array:
    """Zero points of a type: 0, or somewhere in the range."""
    number = ask.choices.of((0, 0, 3, 128 if dtype is DType.UINT8 else -5 if dtype.is_signed else 7))
    return np.full(shape, number).astype(dtype.numpy)


def _scales(ask: Ask, shape: Sequence[int], dtype: DType) -> Array:
    if not shape:
        return np.array(ask.choices.of(SCALES), dtype.numpy)
    return np.random.default_rng(ask.choices.seed()).choice(np.array(SCALES), shape).astype(dtype.numpy)


def _parameters(ask: Ask, x: Array, scale_dtype: DType) -> tuple[int, ...]:
    """Draw the granularity, state its axis, and make the scale; the shape of the scale."""
    shape: tuple[int, ...] = ()
    if ask.opset >= 13 and x.ndim and ask.choices.chance(0.3):
        axis = ask.axis(x.ndim)
        ask.set(axis=axis)
        shape = (x.shape[axis],)
    ask.need(1, _scales(ask, shape, scale_dtype), "weight")
    return shape


@TABLE("QuantizeLinear", keeps=True)
def quantize_linear(ask: Ask) -> None:
    """With or without a zero point, to the integer types of the opset."""
    x = ask.data(0, dtypes={DType.FLOAT, DType.FLOAT16} if ask.opset >= 19 else {DType.FLOAT}, empty=False)
    shape = _parameters(ask, x, dtype_of(x))
    if ask.wants_optional(2, 0.75):
        among = {DType.UINT8, DType.INT8, *((DType.INT16, DType.UINT16) if ask.opset >= 21 else ())}
        ask.need(2, zero_point(ask, ask.dtype(2, among), shape), "constant")


@TABLE("DequantizeLinear", keeps=True)
def dequantize_linear(ask: Ask) -> None:
    """Of bytes mostly, or of int32 without a zero point."""
    among = {DType.UINT8, DType.INT8, DType.INT32, *((DType.INT16, DType.UINT16) if ask.opset >= 21 else ())}
    x = ask.data(0, dtypes=among, empty=False)
    shape = _parameters(ask, x, DType.FLOAT)
    if dtype_of(x) is not DType.INT32 and ask.wants_optional(2, 0.7):
        ask.need(2, zero_point(ask, dtype_of(x), shape), "constant")


@TABLE("DynamicQuantizeLinear", keeps=True)
def dynamic_quantize_linear(ask: Ask) -> int:
    """Bytes, scale and zero point."""
    ask.data(0, dtypes={DType.FLOAT}, empty=False)
    return 3


@TABLE("QLinearMatMul", ranks={0: (2, 3)})
def qlinear_matmul(ask: Ask) -> None:
    """Per tensor."""
    a = ask.data(0, ranks=(2, 3), dtypes=_BYTES, empty=False)
    weights = ask.dtype(3, _BYTES)
    _pair(ask, 1, dtype_of(a))
    ask.need(3, ask.drawn(weights, (a.shape[-1], ask.choices.of((2, 3)))), "weight")
    _pair(ask, 4, weights)
    _pair(ask, 6, dtype_of(a))


def _pair(ask: Ask, index: int, dtype: DType, shape: Sequence[int] = ()) -> None:
    ask.need(index, _scales(ask, shape, DType.FLOAT), "constant")
    ask.need(index + 1, zero_point(ask, dtype, ()) if not shape else np.zeros(shape, dtype.numpy), "constant")


@TABLE("QLinearConv", ranks={0: (4, 4)})
def qlinear_conv(ask: Ask) -> None:
    """Weights per tensor or per channel, with a bias of int32 now and then."""
    x = ask.data(0, ranks=(4, 4), dtypes=_BYTES, shape=lambda _rank: (1, 2, 4, 3), empty=False)
    weights = ask.dtype(3, {dtype_of(x)} if dtype_of(x) is DType.INT8 else _BYTES)
    kernel = say_window(ask, list(x.shape[2:]))
    outputs = ask.choices.of((2, 1, 3))
    _pair(ask, 1, dtype_of(x))
    ask.need(3, ask.drawn(weights, (outputs, x.shape[1], *kernel)), "constant")
    _pair(ask, 4, weights, (outputs,) if weights is DType.INT8 and ask.choices.chance(0.4) else ())
    _pair(ask, 6, dtype_of(x))
    if ask.wants_optional(8, 0.4):
        ask.need(8, ask.drawn(DType.INT32, (outputs,)), "constant")
