"""Small nodes around attention: changes of shape and layout, spelt as the opset wants them."""

from __future__ import annotations

import numpy as np

from graphopt.ir import Value
from graphopt.rewriting import Rewriter
from graphopt.transforms.fusion.attention.layouts import Factor, Layout, Seen

__all__ = ["head_major", "join_heads", "size_vector", "split_heads", "squeeze_first", "transpose", "unsqueeze"]

_AXES_ARE_INPUTS = 13
_SHAPE_HAS_RANGE = 15


def unsqueeze(rw: Rewriter, value: Value, axes: tuple[int, ...]) -> Value:
    """Axes of size 1 put in."""
    if value.is_constant and value.const is not None:
        return rw.constant(np.expand_dims(value.const.numpy(), axes))
    if (rw.graph.opset() or 0) >= _AXES_ARE_INPUTS:
        return rw.new("Unsqueeze", value, np.array(axes, np.int64))
    return rw.new("Unsqueeze", value, axes=axes)


def squeeze_first(rw: Rewriter, value: Value) -> Value:
    """The first axis, of size 1, taken out."""
    if value.is_constant and value.const is not None:
        return rw.constant(value.const.numpy()[0])
    if (rw.graph.opset() or 0) >= _AXES_ARE_INPUTS:
        return rw.new("Squeeze", value, np.zeros(1, np.int64))
    return rw.new("Squeeze", value, axes=(0,))


def size_vector(rw: Rewriter, value: Value, axis: int) -> Value:
    """The size of an axis, as a vector of one number."""
    if (rw.graph.opset() or 0) >= _SHAPE_HAS_RANGE:
        return rw.new("Shape", value, start=axis, end=axis + 1)
    return rw.new("Gather", rw.new("Shape", value), np.array([axis], np.int64), axis=0)


def transpose(rw: Rewriter, value: Value, perm: tuple[int, ...]) -> Value:
    """Axes in another order."""
    return rw.new("Transpose", value, perm=perm)


def split_heads(rw: Rewriter, value: Value, heads: int, size: int) -> Value:
    """BSD to BSNH."""
    return rw.new("Reshape", value, np.array([0, 0, heads, size], np.int64))


def join_heads(rw: Rewriter, factor: Factor, heads: int, size: int) -> Seen:
    """The factor as BSD."""
    seen = factor.seen
    if Layout.BSD in seen:
        return seen[Layout.BSD]
    if Layout.FHS in seen and heads == 1:
        return Seen(transpose(rw, seen[Layout.FHS].value, (0, 2, 1)), seen[Layout.FHS].scale)
    if Layout.BSNH in seen:
        found = seen[Layout.BSNH]
        value = found.value
    else:
        found, perm = (seen[Layout.BNSH], (0, 2, 1, 3)) if Layout.BNSH in seen else (seen[Layout.BNHS], (0, 3, 1, 2))
        value = transpose(rw, found.value, perm)
    return Seen(rw.new("Reshape", value, np.array([0, 0, heads * size], np.int64)), found.scale)


def head_major(rw: Rewriter, factor: Factor, heads: int, size: int) -> Seen:
    """The factor as BNSH."""
    seen = factor.seen
    if Layout.BNSH in seen:
        return seen[Layout.BNSH]
    if Layout.BNHS in seen:
        found = seen[Layout.BNHS]
        return Seen(transpose(rw, found.value, (0, 1, 3, 2)), found.scale)
    found = seen.get(Layout.BSNH) or seen[Layout.BSD]
    value = found.value if Layout.BSNH in seen else split_heads(rw, found.value, heads, size)
    return Seen(transpose(rw, value, (0, 2, 1, 3)), found.scale)
