"""Removes Slice nodes that take everything, and merges slices of slices.

``Slice[0:end:1](x) -> x`` where ``end`` is not before the end of the axis, whatever size that may have; ``Slice[axis j](Slice[axis i](x))
-> Slice[axes i, j](x)``; along one axis, in steps of 1 and counted from the front, ``Slice[c:d](Slice[a:b](x)) -> Slice[a + c:min(b, a +
d)](x)``. Exact. Source: https://onnx.ai/onnx/operators/onnx__Slice.html
"""

from __future__ import annotations

import numpy as np

from graphopt.ir import Dim, upper_bound
from graphopt.rewriting import Match, NoMatch, Replacement, Rewriter, any_, op, rest, rewrite
from graphopt.transforms.operands import normalize_axes
from graphopt.transforms.slice_ranges import Ranges, read_ranges

__all__ = ["RULES"]

#: No axis is that long: exporters write this and the largest int64 for "to the end".
_LARGEST_INT32 = (1 << 31) - 1

#: Start, end and step.
_Range = tuple[int, int, int]


def _takes_all(start: int, end: int, dim: Dim) -> bool:
    if isinstance(dim, int):
        return (start == 0 or start <= -dim) and end >= dim
    most = upper_bound(dim)
    return start == 0 and end >= (_LARGEST_INT32 if most is None else most)


@rewrite(op.Slice(any_("x"), rest("bounds")))
def eliminate_slice(m: Match, rw: Rewriter) -> Replacement:
    """Slice(x) -> x when it takes all of each axis in steps of 1."""
    x, ranges = m["x"], read_ranges(m.root)
    if isinstance(ranges, NoMatch):
        return ranges
    for start, end, axis, step in zip(ranges.starts, ranges.ends, ranges.axes, ranges.steps, strict=True):
        dim = None if x.shape is None or not -len(x.shape) <= axis < len(x.shape) else x.shape[axis]
        if step != 1 or not _takes_all(start, end, dim):
            return NoMatch("takes [%d:%d:%d] of axis %d, which has size %s", start, end, step, axis, dim)
    return x


@rewrite(op.Slice(op.Slice(any_("x"), rest("first"), name="inner"), rest("second")))
def merge_slices(m: Match, rw: Rewriter) -> Replacement:
    """Slice(Slice(x)) -> Slice(x) with constant bounds."""
    x, inner, outer = m["x"], read_ranges(m.node("inner")), read_ranges(m.root)
    if isinstance(inner, NoMatch):
        return inner
    if isinstance(outer, NoMatch):
        return outer
    merged = _by_axis(inner, x.rank)
    others = _by_axis(outer, x.rank)
    if merged is None or others is None:
        return NoMatch("axes repeat or are not known")
    for axis, after in others.items():
        before = merged.get(axis)
        both = after if before is None else _one_after_the_other(before, after)
        if both is None:
            return NoMatch("ranges %s and %s of axis %d are not one range", before, after, axis)
        merged[axis] = both
    axes = tuple(merged)
    starts, ends, steps = zip(*merged.values(), strict=True) if merged else ((), (), ())
    if (m.root.opset or 0) < 10:
        return rw.new("Slice", x, starts=starts, ends=ends, axes=axes)
    arrays = [np.array(numbers, np.int64) for numbers in (starts, ends, axes, steps)]
    return rw.new("Slice", x, *arrays)


def _by_axis(ranges: Ranges, rank: int | None) -> dict[int, _Range] | None:
    axes = normalize_axes(ranges.axes, rank)
    if isinstance(axes, NoMatch):
        return None
    return dict(zip(axes, zip(ranges.starts, ranges.ends, ranges.steps, strict=True), strict=True))


def _one_after_the_other(before: _Range, after: _Range) -> _Range | None:
    """The range that takes what ``after`` takes of what ``before`` takes, whatever the size of the axis."""
    if before[2] != 1 or after[2] != 1 or before[0] < 0 or after[0] < 0 or after[1] < 0:
        return None
    start, end = before[0] + after[0], before[1]
    if after[1] < _LARGEST_INT32:
        if end < 0:
            return None
        end = min(end, before[0] + after[1])
    return (start, end, 1) if start < _LARGEST_INT32 else None


RULES = (eliminate_slice, merge_slices)
