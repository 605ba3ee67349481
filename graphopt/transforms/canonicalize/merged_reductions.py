"""Merges reductions of reductions.

``Reduce*[b](Reduce*[a](x)) -> Reduce*[a, b](x)`` for the same operator with constant axes, all of which stay or all of which go. Integers
only for the largest and the smallest. Numerics: re-associates. Source: https://onnx.ai/onnx/operators/onnx__ReduceSum.html
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import Array, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.movement.alignment import producer_of
from graphopt.transforms.operands import ints_operand, normalize_axes

__all__ = ["ALGEBRA_RULES"]

#: Give one of the numbers, whatever their type.
_CHOOSING = frozenset({"ReduceMax", "ReduceMin"})


def _axes(node: Node) -> tuple[int, ...] | NoMatch:
    x = node.inputs[0]
    axes = ints_operand(node, "axes", 1)
    if x is None or x.rank is None or not isinstance(axes, tuple) or not axes:
        return NoMatch("axes or rank are not known")
    return normalize_axes(axes, x.rank)


class MergeReductions(RewritePattern):
    """ReduceSum(ReduceSum(x)) -> ReduceSum(x), and so for means, products, the largest and the smallest."""

    name: ClassVar[str] = "merge-reductions"
    roots: ClassVar[tuple[str, ...]] = ("ReduceSum", "ReduceMean", "ReduceProd", "ReduceMax", "ReduceMin")
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.ReduceMax(op.ReduceMax(any_("x"), axes=(1,)), axes=(0,)),
        op.ReduceSum(op.ReduceSum(any_("x"), const("axes", equal_to=1)), const("more", equal_to=0)),
        op.ReduceMean(op.ReduceMean(any_("x"), axes=(1,)), axes=(0,)),
        op.ReduceProd(op.ReduceProd(any_("x"), axes=(0,), keepdims=0), axes=(0,), keepdims=0),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The same operator twice, with ``keepdims`` alike."""
        inner = producer_of(node.inputs[0], (node.op,), node)
        if inner is None or inner.attr("keepdims", 1) != node.attr("keepdims", 1):
            return NoMatch("no such reduction that nobody else reads is before it")
        x, first, second = inner.inputs[0], _axes(inner), _axes(node)
        if isinstance(first, NoMatch):
            return first
        if isinstance(second, NoMatch):
            return second
        if x is None or x.rank is None or x.dtype is None or not (x.dtype.is_float or node.op in _CHOOSING):
            return NoMatch("numbers of type %s", None if x is None else x.dtype)
        if node.attr("keepdims", 1) == 0:
            left = [axis for axis in range(x.rank) if axis not in first]
            second = tuple(left[axis] for axis in second)
        axes = tuple(sorted({*first, *second}))
        attributes: dict[str, object] = dict(node.attributes)
        operands: list[Value | Array | None] = [x, *node.inputs[1:]]
        if "axes" in attributes:
            attributes["axes"] = axes
        else:
            operands[1] = np.array(axes, np.int64)
        rw.matched = [node, inner]
        return rw.new_node(node.op, operands, attributes=attributes, name=node.name).output


ALGEBRA_RULES = (MergeReductions(),)
