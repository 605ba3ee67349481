"""What rules share that spell operators on integers out: numbers that integers stand for, and floats that hold integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from graphopt.ir import DType, Value, constant_of
from graphopt.rewriting import NoMatch, RewritePattern, Rewriter

__all__ = ["IntegerRule", "as_floats", "dequantized", "is_one_number", "quantized", "shifted"]

_OPSET_OF_AXES: Final = 13


def is_one_number(value: Value) -> bool:
    """Whether a value is known to have one element."""
    shape = value.shape
    return shape is not None and all(size == 1 for size in shape)


@dataclass(frozen=True)
class IntegerRule(RewritePattern):
    """A rule for operators whose inputs are integers with scales, from opset 10 on."""

    def opset_of(self, rw: Rewriter) -> int | NoMatch:
        """The opset, where it has QuantizeLinear."""
        opset = rw.graph.opset()
        return NoMatch("opset %s has no QuantizeLinear", opset) if opset is None or opset < 10 else opset


def dequantized(rw: Rewriter, integers: Value, scale: Value, zero: Value | None, axis: int) -> Value | NoMatch:
    """What integers stand for.

    Args:
        rw: makes the node.
        integers: they.
        scale: one number, or one for each place of an axis.
        zero: the same, or ``None`` for 0.
        axis: of the places.
    """
    if scale.shape is None:
        return NoMatch("the shape of a scale is not known")
    if is_one_number(scale):
        return rw.new_node("DequantizeLinear", [integers, scale, zero]).output
    if len(scale.shape) != 1:
        return NoMatch("a scale has %d axes", len(scale.shape))
    opset = rw.graph.opset() or 0
    domain = "" if opset >= _OPSET_OF_AXES else "com.microsoft::"  # ONNX's own knows one scale only, before
    return rw.new_node(f"{domain}DequantizeLinear", [integers, scale, zero], attributes={"axis": axis}).output


def quantized(rw: Rewriter, value: Value, scale: Value, zero: Value) -> Value:
    """Integers that stand for numbers, by one scale."""
    return rw.new_node("QuantizeLinear", [value, scale, zero]).output


def as_floats(rw: Rewriter, integers: Value) -> Value:
    """Integers as float32, which holds those of up to 24 bits."""
    return rw.new_node("Cast", [integers], attributes={"to": int(DType.FLOAT)}).output


def shifted(rw: Rewriter, integers: Value, zero: Value | None, spread: tuple[int, ...] | None) -> Value:
    """Integers less a zero point, as float32.

    Args:
        rw: makes nodes.
        integers: they.
        zero: one number or one for each row or column, ``None`` for 0.
        spread: shape in which a zero point of several numbers broadcasts.
    """
    floats = as_floats(rw, integers)
    constant = constant_of(zero)
    if zero is None or (constant is not None and not constant.numpy().any()):
        return floats
    less = as_floats(rw, zero)
    if spread is not None and not is_one_number(zero):
        less = rw.new_node("Reshape", [less, rw.constant(np.array(spread, np.int64))]).output
    return rw.new_node("Sub", [floats, less]).output
