"""What weights stand for: floats themselves, stored integers by the scale and zero point with which they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from graphopt.ir import Array, Node, Value
from graphopt.ir.constant_nodes import constant_of

__all__ = ["weight_values"]

#: Where the integers, their scale and their zero point stand among the inputs, and the axis of channels; -1 for what an operator lacks.
_READERS: Final[Mapping[str, tuple[int, int, int, int]]] = {
    "QLinearConv": (3, 4, 5, 0),
    "ConvInteger": (1, -1, 3, 0),
    "QLinearMatMul": (3, 4, 5, -1),
    "MatMulInteger": (1, -1, 3, -1),
    "com.microsoft::DynamicQuantizeMatMul": (1, 2, 3, -1),
    "com.microsoft::MatMulIntegerToFloat": (1, 3, 5, -1),
    "com.microsoft::QGemm": (3, 4, 5, -1),
}


def weight_values(value: Value) -> npt.NDArray[np.float64] | None:
    """The numbers of a weight as float64, ``None`` for what is no weight or computed.

    Example:
        >>> from graphopt.ir import Constant
        >>> weight_values(Value("w", None, Constant(np.array([1.0, 2.0], np.float32))))
        array([1., 2.])
    """
    constant = constant_of(value)
    if constant is None:
        return None
    if constant.dtype.is_float:
        return constant.numpy().astype(np.float64)
    if not constant.dtype.is_integer:
        return None
    for node, position in value.uses:
        found = _read_by(node, position, constant.numpy())
        if found is not None:
            return found
    return None


def _read_by(node: Node, position: int, stored: Array) -> npt.NDArray[np.float64] | None:
    if node.op == "DequantizeLinear" and position == 0 and not node.int_attr("block_size", 0):
        places = (0, 1, 2, node.int_attr("axis", 1))
    else:
        places = _READERS.get(node.op, (-1, -1, -1, 0))
    if places[0] != position:
        return None
    axis = 0 if node.int_attr("transB", 0) else places[3]
    scale = _along(node.input_at(places[1]) if places[1] >= 0 else None, stored.ndim, axis)
    zero = _along(node.input_at(places[2]), stored.ndim, axis)
    values = stored.astype(np.float64) - (0.0 if zero is None else zero)
    return values if scale is None else values * scale


def _along(value: Value | None, rank: int, axis: int) -> npt.NDArray[np.float64] | None:
    """A number for all, or one for each index of an axis, in a shape that broadcasts."""
    constant = constant_of(value)
    if constant is None:
        return None
    array = constant.numpy().astype(np.float64)
    if array.size == 1:
        return array.reshape(())
    if array.ndim != 1 or not rank:
        return None
    return array.reshape([-1 if at == axis % rank else 1 for at in range(rank)])
