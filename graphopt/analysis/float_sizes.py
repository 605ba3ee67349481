"""Sizes that go through floating point: what a model computes as ``ceil(length / stride)`` between two casts.

Followed only where each number is known: small tensors of float32 and float64, and operators whose result IEEE 754 states to the last bit,
so that every runtime has the same one. Source: the operators' definitions, https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from graphopt.analysis.integers import MAX_ELEMENTS, Integers
from graphopt.ir import Array, DType, Node, TensorType, Value

__all__ = ["FLOATS", "float_numbers", "truncated"]

FLOATS: Final = frozenset({DType.FLOAT, DType.DOUBLE})
#: Integers from here on are not all numbers of float64; no size is as large.
_LIMIT: Final = float(1 << 53)
_EXACT: Final[Mapping[str, Callable[..., Array]]] = {
    "Abs": np.abs,
    "Add": np.add,
    "Ceil": np.ceil,
    "Div": np.divide,
    "Floor": np.floor,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Round": np.rint,
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
}
_RESHAPES: Final = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
#: Finds the elements of an integer tensor.
IntegersOf = Callable[[Value], Integers | None]


def float_numbers(value: Value, integers_of: IntegersOf, depth: int) -> Array | None:
    """The numbers of a small float tensor, ``None`` when one is not known.

    Args:
        value: float32 or float64.
        integers_of: asked of integer tensors that were cast to floats.
        depth: how many nodes may be followed.
    """
    dtype = value.dtype
    if dtype not in FLOATS or depth <= 0:
        return None
    if value.is_constant and value.const is not None:
        small = value.const.size <= MAX_ELEMENTS and not value.const.is_sparse
        return value.const.numpy() if small else None
    node = value.producer
    if node is None or node.domain or node.has_references or len(node.outputs) != 1:
        return None
    if node.op == "Cast":
        return _cast(node, dtype.numpy, integers_of, depth)
    if node.op not in _RESHAPES and (node.op not in _EXACT or (node.opset or 0) < 7):
        return None
    operands = [None if item is None else float_numbers(item, integers_of, depth - 1) for item in _data(node)]
    known = [item for item in operands if item is not None]
    if len(known) < len(operands) or not known:
        return None
    try:
        with np.errstate(all="ignore"):
            return _compute(node, value, known)
    except ValueError:  # shapes that don't broadcast: no runtime takes such a model
        return None


def _data(node: Node) -> list[Value | None]:
    return list(node.inputs[:1] if node.op in _RESHAPES else node.inputs)


def _compute(node: Node, value: Value, operands: list[Array]) -> Array | None:
    if node.op in _RESHAPES:
        shape = value.type.static_shape if isinstance(value.type, TensorType) else None
        return None if shape is None else operands[0].reshape(shape)
    function, found = _EXACT[node.op], operands[0]
    if len(operands) == 1:
        found = found if node.op in ("Max", "Min") else function(found)
    for other in operands[1:]:
        found = function(found, other)
    return found if found.size <= MAX_ELEMENTS else None


def _cast(node: Node, dtype: np.dtype[np.generic], integers_of: IntegersOf, depth: int) -> Array | None:
    source = node.inputs[0]
    if source is None or source.dtype is None:
        return None
    if source.dtype in FLOATS:
        numbers = float_numbers(source, integers_of, depth - 1)
        return None if numbers is None else numbers.astype(dtype)
    found = integers_of(source) if source.dtype.is_integer else None
    known = None if found is None else found.numbers
    if found is None or known is None or any(abs(item) >= _LIMIT for item in known):
        return None
    return np.array(known, np.int64).astype(dtype).reshape(found.shape)


def truncated(numbers: Array) -> Integers | None:
    """What a Cast to integers makes of numbers, ``None`` where one has no integer."""
    wide = numbers.astype(np.float64).reshape(-1)
    if not (np.abs(wide) < _LIMIT).all():  # false for NaN too
        return None
    return Integers(numbers.shape, tuple(int(item) for item in wide))
