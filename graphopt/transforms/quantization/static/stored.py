"""Reads models that are quantized: what a DequantizeLinear stands for, and what a QuantizeLinear makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from graphopt.ir import Array, Constant, DType, Node, Quantization, Value, constant_of
from graphopt.transforms.quantization.parameters import dequantized

__all__ = ["DEQUANTIZE", "QUANTIZE", "Stored", "parameters_of", "parameters_of_values", "scale_and_zero", "stored_by"]

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
    scale, zero = node.input_at(1), node.input_at(2)
    if node.has_references or scale is None:
        return None
    return parameters_of_values(scale, zero, dtype, node.int_attr("axis", 1), node.int_attr("block_size", 0))


def parameters_of_values(
    scale: Value, zero: Value | None, dtype: DType | None, axis: int, block: int = 0
) -> Quantization | None:
    """How numbers are stored, by a scale and a zero point; ``None`` where they are not constant.

    Args:
        scale: scalar, of one number, [channels], or in blocks.
        zero: the same, or ``None`` for 0.
        dtype: element type of the integers, where no zero point tells.
        axis: of the channels or blocks, where there is more than one scale.
        block: numbers that share a scale.
    """
    scales, zeros = constant_of(scale), constant_of(zero)
    if scales is None or (zeros is None and zero is not None):
        return None
    if zeros is not None:
        dtype = zeros.dtype
    if dtype is None or not dtype.is_integer or not scales.dtype.is_float:
        return None
    if zeros is None:
        zeros = Constant(np.zeros(scales.shape, dtype.numpy))
    if scales.size == 1 and not block:
        if zeros.size != 1:
            return None
        scales, zeros = (item if not item.ndim else Constant(item.numpy().reshape(())) for item in (scales, zeros))
        return Quantization(dtype, scales, zeros)
    if zeros.size == 1 and zeros.shape != scales.shape:
        zeros = Constant(np.broadcast_to(zeros.numpy().reshape(()), scales.shape).copy())
    if zeros.shape != scales.shape or (not block and scales.ndim != 1):
        return None
    return Quantization(dtype, scales, zeros, axis, block)
