"""Reads models that are quantized: what a DequantizeLinear stands for, and what a QuantizeLinear makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from graphopt.ir import Array, Constant, DType, Node, Quantization, Value, constant_of
from graphopt.transforms.quantization.parameters import dequantized

__all__ = ["DEQUANTIZE", "QUANTIZE", "Stored", "parameters_of", "scale_and_zero", "stored_by"]

QUANTIZE: Final = ("QuantizeLinear", "com.microsoft::QuantizeLinear")
DEQUANTIZE: Final = ("DequantizeLinear", "com.microsoft::DequantizeLinear")


@dataclass(frozen=True, slots=True)
class Stored:
    """Integers that stand for real numbers.

    Attributes:
        integers: the value that holds them.
        scale: of them.
        zero_point: of them, ``None`` for 0.
        how: the same as numbers.
    """

    integers: Value
    scale: Value | None
    zero_point: Value | None
    how: Quantization

    @property
    def per_tensor(self) -> bool:
        """Whether there is one scale for all."""
        return self.how.scale.size == 1

    def floats(self) -> Array | None:
        """The numbers that constant integers stand for, as float32; ``None`` for others."""
        constant = constant_of(self.integers)
        return None if constant is None else dequantized(constant.numpy(), self.how)


def stored_by(value: Value | None) -> Stored | None:
    """What a value is stored as, if a DequantizeLinear with constant parameters gives it."""
    node = None if value is None else value.producer
    if node is None or node.op not in DEQUANTIZE:
        return None
    integers = node.input_at(0)
    dtype = None if integers is None else integers.dtype
    how = parameters_of(node, dtype)
    scale = node.input_at(1)
    if integers is None or how is None or scale is None:
        return None
    return Stored(integers, scale, node.input_at(2), how)


def scale_and_zero(stored: Stored) -> tuple[Value | Array, Value | Array]:
    """Scale and zero point to be read elsewhere: what is there, or constants where the shapes differ from what is meant."""
    given = ((stored.scale, stored.how.scale), (stored.zero_point, stored.how.zero_point))
    scale, zero = (
        value if value is not None and value.shape == meant.shape else meant.numpy() for value, meant in given
    )
    return scale, zero


def parameters_of(node: Node, dtype: DType | None) -> Quantization | None:
    """How a QuantizeLinear or DequantizeLinear stores numbers; ``None`` where its parameters are not constant.

    Args:
        node: one of the two.
        dtype: element type of the integers, where nothing else tells.
    """
    scale, zero = constant_of(node.input_at(1)), constant_of(node.input_at(2))
    if scale is None or node.has_references or (zero is None and node.input_at(2) is not None):
        return None
    if zero is not None:
        dtype = zero.dtype
    if dtype is None or not dtype.is_integer or not scale.dtype.is_float:
        return None
    if zero is None:
        zero = Constant(np.zeros(scale.shape, dtype.numpy))
    block = node.int_attr("block_size", 0)
    axis = node.int_attr("axis", 1) if scale.ndim and (scale.size != 1 or block) else None
    if axis is None and (scale.ndim or zero.ndim):
        if zero.size != 1:
            return None
        scale, zero = (Constant(item.numpy().reshape(())) for item in (scale, zero))
    return Quantization(dtype, scale, zero, axis, block)
