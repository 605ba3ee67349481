"""Softmax, LogSoftmax and Hardmax, which before opset 13 worked on everything from their axis on.

They took the input as a matrix: axes before ``axis`` (1 by default) are its rows, the rest are its columns, and each row sums to one.
From opset 13 on only ``axis`` itself sums to one (the last by default). The same when no axis larger than 1 stands behind it; else
``Softmax_old(x, axis) = Reshape(Softmax(Flatten(x, axis), -1), Shape(x))``. Exact: rows hold the same numbers in the same order. At opset
13 itself Reshape takes a size of 0 for that of its input, the matrix: only shapes that at most one size of 0 may be in are raised to it.
Source: https://onnx.ai/onnx/operators/onnx__Softmax.html
"""

from __future__ import annotations

from typing import Final

import numpy as np

from graphopt.ir import Attribute, AttributeKind, TensorType, Value
from graphopt.rewriting import Rewriter
from graphopt.transforms.opset.change import Change, Edit, adapter

__all__: list[str] = []

_ALLOWZERO: Final = 14


@adapter("Softmax", "LogSoftmax", "Hardmax", versions=(13,))
def coerced_axis(change: Change) -> Edit | None:
    """State the axis, or make the matrix."""
    if not change.crosses(13):
        return None
    node, data = change.node, change.node.inputs[0]
    assert data is not None, "Softmax has an input"
    axis = change.stated("axis") or Attribute(AttributeKind.INT, 1)
    plain = _plain_axis(axis, data)
    if plain is None and change.new < _ALLOWZERO and _may_be_empty_twice(data):
        raise change.refuse(
            13,
            f"several sizes of its input may be 0, which Reshape can tell from opset {_ALLOWZERO} on: raise it to that",
        )

    def edit(rw: Rewriter) -> None:
        if plain is not None:
            rw.set_attribute(node, "axis", plain)
            return
        matrix = rw.new("Flatten", data, axis=axis)
        rows = rw.new(node.op_type, matrix, axis=-1)
        shape = data.type.static_shape if isinstance(data.type, TensorType) else None
        target: Value | np.ndarray[tuple[int, ...], np.dtype[np.int64]]
        target = rw.new("Shape", data) if shape is None else np.array(shape, np.int64)
        zeros = shape is None or 0 in shape  # of which Reshape would take the size of its input, a matrix
        again = rw.new("Reshape", rows, target, allowzero=1 if zeros and change.new >= _ALLOWZERO else None)
        rw.finish(node, [again])

    return edit


def _may_be_empty_twice(data: Value) -> bool:
    """Whether more than one size of a tensor may be 0."""
    return data.shape is None or sum(not isinstance(dim, int) or dim == 0 for dim in data.shape) > 1


def _plain_axis(axis: Attribute, data: Value) -> int | None:
    """The one axis that is more than 1 long from ``axis`` on, ``None`` when there may be more."""
    if axis.ref or not isinstance(axis.value, int):
        return None
    if axis.value == -1:
        return -1
    shape = data.shape
    if shape is None or not -len(shape) <= axis.value < len(shape):
        return None
    place = axis.value % len(shape)
    return place if all(dim == 1 for dim in shape[place + 1 :]) else None
