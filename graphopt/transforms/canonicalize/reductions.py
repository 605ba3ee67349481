"""Removes reductions over nothing and over axes of size 1.

``Reduce*(x) -> x`` where no axis is reduced (``noop_with_empty_axes``) or all reduced axes have size 1 and stay; ``-> Squeeze(x)`` where
they go. Only for Prod, Max and Min, which give back a single element as it is, and for Sum and Mean of integers: exact. Runtimes add
floats to a positive zero, which makes a negative one positive, so the rule for sums of floats declares to re-associate.
Source: https://onnx.ai/onnx/operators/onnx__ReduceSum.html
"""

from __future__ import annotations

import numpy as np

from graphopt.numerics import Reassociates
from graphopt.rewriting import Match, NoMatch, Replacement, Rewriter, any_, op, rest, rewrite
from graphopt.transforms.operands import ints_operand, normalize_axes

__all__ = ["ALGEBRA_RULES", "RULES"]


@rewrite(op["ReduceSum", "ReduceMean", "ReduceProd", "ReduceMax", "ReduceMin"](any_("x"), rest("axes")))
def eliminate_reduction(m: Match, rw: Rewriter) -> Replacement:
    """ReduceMax(x) -> x or Squeeze(x) where each group has one element."""
    dtype = m["x"].dtype
    if m.root.op in ("ReduceSum", "ReduceMean") and (dtype is None or not dtype.is_integer) and not _is_noop(m):
        return NoMatch("a sum of %s may turn a negative zero into a positive one", dtype)
    return _without_reduction(m, rw)


@rewrite(op["ReduceSum", "ReduceMean"](any_("x"), rest("axes")), numerics=Reassociates(1e-6))
def eliminate_float_sum(m: Match, rw: Rewriter) -> Replacement:
    """ReduceSum(x) -> x or Squeeze(x) where each group has one element; a negative zero may stay negative."""
    return _without_reduction(m, rw)


def _is_noop(m: Match) -> bool:
    """Whether nothing is reduced."""
    node = m.root
    axes = ints_operand(node, "axes", 1)
    return (
        (axes is None or axes == ())
        and "noop_with_empty_axes" in node.attributes
        and node.attr("noop_with_empty_axes") == 1
    )


def _without_reduction(m: Match, rw: Rewriter) -> Replacement:
    node, x = m.root, m["x"]
    axes = ints_operand(node, "axes", 1)
    if isinstance(axes, NoMatch):
        return axes
    if not axes:
        if _is_noop(m):
            return x
        axes = tuple(range(x.rank)) if x.rank is not None else None
    if axes is None or x.shape is None:
        return NoMatch("the rank of %r is not known", x.name)
    axes = normalize_axes(axes, x.rank)
    if isinstance(axes, NoMatch):
        return axes
    if any(x.shape[axis] != 1 for axis in axes):
        return NoMatch("axes %s of %s have more than one element", axes, x.type)
    keepdims = node.attr("keepdims", 1)
    if keepdims not in (0, 1):
        return NoMatch("keepdims is %s, which runtimes read in two ways", keepdims)
    if keepdims == 1 or not axes:
        return x
    if (node.opset or 0) < 13:
        return rw.new("Squeeze", x, axes=tuple(sorted(axes)))
    return rw.new("Squeeze", x, np.array(sorted(axes), np.int64))


RULES = (eliminate_reduction,)
ALGEBRA_RULES = (eliminate_float_sum,)
