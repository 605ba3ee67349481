"""Removes Slice nodes that take everything, and merges slices of different axes.

``Slice[0:end:1](x) -> x`` where ``end`` is not before the end of the axis; ``Slice[axis j](Slice[axis i](x)) -> Slice[axes i, j](x)``.
Exact. Source: https://onnx.ai/onnx/operators/onnx__Slice.html
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphopt.ir import Dim, Node
from graphopt.rewriting import Match, NoMatch, Replacement, Rewriter, any_, op, rest, rewrite
from graphopt.transforms.operands import ints_operand, normalize_axes

__all__ = ["RULES"]

#: No axis is that long: exporters write this and the largest int64 for "to the end".
_LARGEST_INT32 = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class _Ranges:
    """What a Slice with constant operands takes: one entry per sliced axis, axes as they are stated."""

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    axes: tuple[int, ...]
    steps: tuple[int, ...]


def _ranges(node: Node) -> _Ranges | NoMatch:
    starts, ends = ints_operand(node, "starts", 1), ints_operand(node, "ends", 2)
    axes, steps = ints_operand(node, "axes", 3), ints_operand(node, "steps", 4)
    for found in (starts, ends, axes, steps):
        if isinstance(found, NoMatch):
            return found
    if not isinstance(starts, tuple) or not isinstance(ends, tuple):
        return NoMatch("starts or ends are absent")
    count = len(starts)
    axes = tuple(range(count)) if axes is None else axes
    steps = (1,) * count if steps is None else steps
    if not isinstance(axes, tuple) or not isinstance(steps, tuple) or {len(ends), len(axes), len(steps)} != {count}:
        return NoMatch("starts, ends, axes and steps do not agree")
    return _Ranges(starts, ends, axes, steps)


def _takes_all(start: int, end: int, dim: Dim) -> bool:
    if isinstance(dim, int):
        return (start == 0 or start <= -dim) and end >= dim
    return start == 0 and end >= _LARGEST_INT32


@rewrite(op.Slice(any_("x"), rest("bounds")))
def eliminate_slice(m: Match, rw: Rewriter) -> Replacement:
    """Slice(x) -> x when it takes all of each axis in steps of 1."""
    x, ranges = m["x"], _ranges(m.root)
    if isinstance(ranges, NoMatch):
        return ranges
    for start, end, axis, step in zip(ranges.starts, ranges.ends, ranges.axes, ranges.steps, strict=True):
        dim = None if x.shape is None or not -len(x.shape) <= axis < len(x.shape) else x.shape[axis]
        if step != 1 or not _takes_all(start, end, dim):
            return NoMatch("takes [%d:%d:%d] of axis %d, which has size %s", start, end, step, axis, dim)
    return x


@rewrite(op.Slice(op.Slice(any_("x"), rest("first"), name="inner"), rest("second")))
def merge_slices(m: Match, rw: Rewriter) -> Replacement:
    """Slice(Slice(x)) -> Slice(x) for different axes with constant bounds."""
    x, inner, outer = m["x"], _ranges(m.node("inner")), _ranges(m.root)
    if isinstance(inner, NoMatch):
        return inner
    if isinstance(outer, NoMatch):
        return outer
    axes = normalize_axes(inner.axes + outer.axes, x.rank)
    if isinstance(axes, NoMatch):
        return axes
    starts, ends, steps = inner.starts + outer.starts, inner.ends + outer.ends, inner.steps + outer.steps
    if (m.root.opset or 0) < 10:
        return rw.new("Slice", x, starts=starts, ends=ends, axes=axes)
    arrays = [np.array(numbers, np.int64) for numbers in (starts, ends, axes, steps)]
    return rw.new("Slice", x, *arrays)


RULES = (eliminate_slice, merge_slices)
