"""How large the numbers of a mask can be: whether a sum with one can be infinite everywhere."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from graphopt.ir import DType, Node, Value

__all__ = ["MOVES", "largest_magnitude"]

_MOST_STEPS: Final = 24
#: Numbers of larger constants are not looked at.
_MOST_ELEMENTS: Final = 1 << 22
#: What moves numbers around, or leaves some out.
MOVES: Final = frozenset(
    {
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Flatten",
        "Transpose",
        "Expand",
        "Slice",
        "Gather",
        "Identity",
        "Tile",
        "Trilu",
    }
)

_LARGEST: Final = {
    DType.FLOAT: float(np.finfo(np.float32).max),
    DType.DOUBLE: float(np.finfo(np.float64).max),
    DType.FLOAT16: float(np.finfo(np.float16).max),
}


def largest_magnitude(value: Value | None, steps: int = _MOST_STEPS) -> float:
    """A bound on the magnitude of each element, infinite when none is known.

    Args:
        value: a tensor.
        steps: how many nodes back to look.
    """
    if value is None:
        return math.inf
    if value.is_constant and value.const is not None:
        return _of_constant(value)
    dtype = value.dtype
    if dtype is DType.BOOL:
        return 1.0
    if dtype is not None and dtype.is_integer:
        return 2.0**64
    node = value.producer
    if node is None or steps == 0 or (node.attributes and node.has_references):
        return math.inf
    bound = _of_node(node, steps - 1)
    return bound if dtype is not None and bound <= _largest(dtype) else math.inf


def _of_constant(value: Value) -> float:
    assert value.const is not None, "the caller looked"
    if value.const.size > _MOST_ELEMENTS or not (value.const.dtype.is_integer or value.const.dtype.is_float):
        return 1.0 if value.const.dtype is DType.BOOL else math.inf
    found = value.const.numpy().astype(np.float64)
    bound = float(np.abs(found).max(initial=0.0))
    return bound if math.isfinite(bound) else math.inf


def _of_node(node: Node, steps: int) -> float:
    inputs = node.inputs
    match node.op:
        case op if op in MOVES:
            return largest_magnitude(inputs[0], steps)
        case "Where":
            return max(largest_magnitude(inputs[1], steps), largest_magnitude(inputs[2], steps))
        case "Concat":
            return max(largest_magnitude(item, steps) for item in inputs)
        case "Add" | "Sub":
            return largest_magnitude(inputs[0], steps) + largest_magnitude(inputs[1], steps)
        case "Mul":
            bounds = largest_magnitude(inputs[0], steps), largest_magnitude(inputs[1], steps)
            return math.inf if math.inf in bounds else bounds[0] * bounds[1]
        case "Cast":
            return largest_magnitude(inputs[0], steps)
        case "Min" | "Max":
            return max(largest_magnitude(item, steps) for item in inputs)
        case "Sigmoid" | "Tanh" | "Sin" | "Cos" | "Softmax":
            return 1.0
        case "ConstantOfShape":
            filler = node.attr("value")
            numbers = getattr(filler, "numpy", None)
            return float(abs(np.asarray(numbers()).reshape(-1)[0])) if callable(numbers) else 0.0
        case _:
            return math.inf


def _largest(dtype: DType) -> float:
    return _LARGEST.get(dtype, 0.0)
