"""Weights as models spell them: constants, integers behind DequantizeLinear, or integers that are cast and multiplied by scales.

``DequantizeLinear(w8, s, z)`` and ``Mul(Cast(w8), s)`` of constants are read as the floats that they give, together with the parameters
that say which integers these are, so that a weight that is stored as integers already is not rounded a second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from graphopt.ir import Array, Constant, DType, Node, Quantization, Value, constant_of, pack_bytes
from graphopt.transforms.quantization.parameters import dequantized

__all__ = ["SpelledWeight", "read_weight"]

_BYTES: Final = frozenset({DType.INT8, DType.UINT8})
_CAST: Final = _BYTES | {DType.INT16}


@dataclass(frozen=True, slots=True)
class SpelledWeight:
    """A weight.

    Attributes:
        value: what a layer reads.
        constant: its floats; those of stored integers are computed when they are asked for.
        known: the parameters of its integers, ``None`` where it is no more than floats.
        is_dequantized: whether DequantizeLinear gives it.
        is_computed: whether other operators compute it from stored integers.
    """

    value: Value
    constant: Constant
    known: Quantization | None = None
    is_dequantized: bool = False
    is_computed: bool = False


@dataclass(frozen=True, slots=True)
class _Dequantized:
    """Floats that integers stand for, computed when somebody asks."""

    integers: Constant
    how: Quantization
    dtype: DType

    @property
    def shape(self) -> tuple[int, ...]:
        return self.integers.shape

    def numpy(self) -> Array:
        return dequantized(self.integers.numpy(), self.how).astype(self.dtype.numpy)

    def chunks(self) -> Iterator[bytes]:
        yield pack_bytes(self.numpy(), self.dtype)


def read_weight(value: Value | None) -> SpelledWeight | None:
    """How a weight is spelled, ``None`` for what is not constant."""
    if value is None:
        return None
    constant = constant_of(value)
    if constant is not None:
        return None if constant.is_sparse else SpelledWeight(value, constant, value.quantization)
    producer = value.producer
    if producer is None or producer.has_references or value.dtype not in (DType.FLOAT, DType.FLOAT16):
        return None
    if producer.op == "DequantizeLinear":
        return _behind_dequantize(value, producer)
    return _behind_product(value, producer) if producer.op == "Mul" else None


def _behind_dequantize(value: Value, node: Node) -> SpelledWeight | None:
    integers, scale, zero = (constant_of(node.input_at(place)) for place in range(3))
    if integers is None or scale is None or (zero is None and node.input_at(2) is not None) or not integers.ndim:
        return None
    if integers.dtype not in _BYTES or node.int_attr("block_size", 0) or scale.ndim > 1:
        return None
    axis = node.int_attr("axis", 1) % integers.ndim if scale.ndim and scale.size > 1 else None
    return _weight(value, integers, scale.numpy(), None if zero is None else zero.numpy(), axis, is_dequantized=True)


def _behind_product(value: Value, node: Node) -> SpelledWeight | None:
    """``Mul(Cast(w8), s)``, either way round, with scales along one axis."""
    for numbers, factor in (node.inputs, node.inputs[::-1]):
        cast = None if numbers is None else numbers.producer
        scale = constant_of(factor)
        integers = constant_of(cast.input_at(0)) if cast is not None and cast.op == "Cast" else None
        if integers is None or scale is None or integers.dtype not in _CAST or scale.ndim > integers.ndim:
            continue
        spread = (1,) * (integers.ndim - scale.ndim) + scale.shape
        long = [axis for axis, size in enumerate(spread) if size != 1]
        if len(long) > 1 or any(spread[axis] != integers.shape[axis] for axis in long):
            continue
        return _weight(value, integers, scale.numpy().reshape(-1), None, long[0] if long else None)
    return None


def _weight(
    value: Value,
    integers: Constant,
    scale: Array,
    zero: Array | None,
    axis: int | None,
    *,
    is_dequantized: bool = False,
) -> SpelledWeight | None:
    wide = scale.astype(np.float32).reshape(() if axis is None else -1)
    if not (np.isfinite(wide).all() and (wide > 0).all()) or value.dtype is None:
        return None
    zeros = np.zeros(wide.shape, integers.dtype.numpy) if zero is None else np.asarray(zero).reshape(wide.shape)
    how = Quantization(integers.dtype, Constant(wide), Constant(zeros), axis)
    constant = Constant(_Dequantized(integers, how, value.dtype))
    return SpelledWeight(value, constant, how, is_dequantized=is_dequantized, is_computed=not is_dequantized)
