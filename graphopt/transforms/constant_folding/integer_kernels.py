"""Integer and boolean operators in numpy, with the results that two's complement and truncation give everywhere.

Floats are left to a runtime, whose rounding is the reference; a Cast of integers to a float type is exact rounding in both. Overflow
wraps. Division by zero, and what else the specification leaves open, is refused. Source: https://onnx.ai/onnx/operators
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce

import numpy as np

from graphopt.ir import Array, DType, Node
from graphopt.transforms.constant_folding.movement_kernels import Inputs, Kernel, Results

__all__ = ["INTEGER_KERNELS"]

_EXACT_IN_DOUBLE = 1 << 53
_Function = Callable[[Array, Array], Array]


def _binary(function: Callable[..., Array | None], kinds: str) -> Kernel:
    """An elementwise operator of two inputs of one type, whose kind of number is among ``kinds``."""

    def kernel(node: Node, inputs: Inputs, limit: int) -> Results:
        a, b = inputs
        if (
            a is None
            or b is None
            or a.dtype != b.dtype
            or a.dtype.kind not in kinds
            or node.attributes.keys() - {"fmod"}
        ):
            return None  # before opset 7 attributes said how to broadcast
        if math.prod(np.broadcast_shapes(a.shape, b.shape)) > limit:
            return None
        with np.errstate(all="ignore"):
            found = function(a, b)
        return None if found is None else [np.asarray(found)]

    return kernel


def _divide(a: Array, b: Array) -> Array | None:
    """Integer division that truncates."""
    smallest = np.iinfo(np.dtype(a.dtype.str)).min
    if np.any(b == 0) or (a.dtype.kind == "i" and np.any(b == -1) and np.any(a == smallest)):
        return None
    floor: Array = np.floor_divide(a, b)
    inexact = np.not_equal(np.multiply(floor, b), a)
    return np.asarray(floor + np.logical_and(inexact, np.less(floor, 0)).astype(a.dtype))


def _modulo(node: Node, inputs: Inputs, limit: int) -> Results:
    a, b = inputs
    if a is None or b is None or np.any(b == 0):
        return None
    if not node.attr("fmod"):
        return _binary(np.mod, "iu")(node, inputs, limit)
    if any(np.any(np.abs(item.astype(np.float64)) > _EXACT_IN_DOUBLE) for item in (a, b)):
        return None  # ONNX Runtime computes it as doubles
    return _binary(np.fmod, "iu")(node, inputs, limit)


def _variadic(function: _Function) -> Kernel:
    def kernel(node: Node, inputs: Inputs, limit: int) -> Results:
        given = [item for item in inputs if item is not None]
        if len(given) != len(inputs) or len({item.dtype for item in given}) > 1 or given[0].dtype.kind not in "iu":
            return None
        if math.prod(np.broadcast_shapes(*(item.shape for item in given))) > limit:
            return None
        return [np.asarray(reduce(function, given))]

    return kernel


def _unary(function: Callable[..., Array], kinds: str) -> Kernel:
    def kernel(node: Node, inputs: Inputs, limit: int) -> Results:
        x = inputs[0]
        if x is None or x.dtype.kind not in kinds:
            return None
        with np.errstate(all="ignore"):
            return [np.asarray(function(x))]

    return kernel


def _cast(node: Node, inputs: Inputs, limit: int) -> Results:
    x, to = inputs[0], node.attr("to")
    if x is None or not isinstance(to, int) or x.dtype.kind not in "iub" or not x.dtype.isbuiltin:
        return None
    wanted = DType(to)
    if not (wanted in (DType.BOOL, DType.FLOAT, DType.DOUBLE) or (wanted.is_integer and wanted.bits >= 8)):
        return None
    return [x.astype(wanted.numpy)]


def _reduce(function: Callable[..., Array], *, of_nothing: bool) -> Kernel:
    def kernel(node: Node, inputs: Inputs, limit: int) -> Results:
        x = inputs[0]
        if x is None or x.dtype.kind not in "iu" or (x.size == 0 and not of_nothing):
            return None
        stated = inputs[1].reshape(-1).tolist() if len(inputs) > 1 and inputs[1] is not None else node.ints_attr("axes")
        if not stated and node.attr("noop_with_empty_axes") == 1:
            return [x]
        axes = tuple(int(axis) for axis in stated) if stated else None
        with np.errstate(all="ignore"):
            largest = function(np.abs(x.astype(np.float64)), axis=axes) if x.size else np.zeros(1)
            found = np.asarray(function(x, axis=axes, keepdims=node.attr("keepdims", 1) == 1)).astype(x.dtype)
        # ONNX Runtime computes some of these as doubles, which saturate.
        limit_of_type = np.iinfo(np.dtype(x.dtype.str)).max
        return [found] if float(np.max(np.asarray(largest))) < min(_EXACT_IN_DOUBLE, limit_of_type) else None

    return kernel


def _range(node: Node, inputs: Inputs, limit: int) -> Results:
    given = [item for item in inputs if item is not None and item.size == 1 and item.dtype.kind == "i"]
    if len(given) != 3 or len({item.dtype for item in given}) > 1:
        return None
    start, end, step = (int(item.reshape(()).item()) for item in given)
    if step == 0:
        return None
    numbers = range(start, end, step)
    return [np.array(numbers, given[0].dtype)] if len(numbers) <= limit else None


INTEGER_KERNELS: dict[str, Kernel] = {
    "Abs": _unary(np.abs, "iu"),
    "Add": _binary(np.add, "iu"),
    "And": _binary(np.logical_and, "b"),
    "Cast": _cast,
    "Div": _binary(_divide, "iu"),
    "Equal": _binary(np.equal, "iub"),
    "Greater": _binary(np.greater, "iu"),
    "GreaterOrEqual": _binary(np.greater_equal, "iu"),
    "Less": _binary(np.less, "iu"),
    "LessOrEqual": _binary(np.less_equal, "iu"),
    "Max": _variadic(np.maximum),
    "Min": _variadic(np.minimum),
    "Mod": _modulo,
    "Mul": _binary(np.multiply, "iu"),
    "Neg": _unary(np.negative, "i"),
    "Not": _unary(np.logical_not, "b"),
    "Or": _binary(np.logical_or, "b"),
    "Range": _range,
    "ReduceMax": _reduce(np.max, of_nothing=False),
    "ReduceMin": _reduce(np.min, of_nothing=False),
    "ReduceProd": _reduce(np.prod, of_nothing=True),
    "ReduceSum": _reduce(np.sum, of_nothing=True),
    "Sub": _binary(np.subtract, "iu"),
    "Xor": _binary(np.logical_xor, "b"),
}
