"""Lets reductions and products take over the transposition of what they read.

``Reduce*[a, keepdims=0](Transpose(x)) -> Reduce*[a'](x)`` where the axes that stay are in order anyway, and
``Transpose(MatMul(Transpose(a), Transpose(b))) -> MatMul(b, a)`` for transpositions of the last two axes; a constant factor is transposed
at once. Numerics: re-associates (sums may be added up in another order). Source: https://onnx.ai/onnx/operators/onnx__ReduceMean.html
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import Array, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.movement.alignment import order_of, producer_of
from graphopt.transforms.operands import ints_operand, normalize_axes

__all__ = ["ALGEBRA_RULES"]

_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
#: Copies of larger constants that somebody else reads are not made.
_SMALL_BYTES = 1024


class ReduceBeforeTranspose(RewritePattern):
    """ReduceMean[keepdims=0](Transpose(x)) -> ReduceMean(x) along the axes as they were."""

    name: ClassVar[str] = "reduce-before-transpose"
    roots: ClassVar[tuple[str, ...]] = _REDUCTIONS
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op["ReduceMean", "ReduceMax"](op.Transpose(any_("x"), perm=(0, 2, 1)), axes=(1,), keepdims=0),
        op.ReduceSum(op.Transpose(any_("x"), perm=(0, 2, 1)), const("axes", equal_to=1), keepdims=0),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The axes that stay must not change places."""
        transpose = producer_of(node.inputs[0], ("Transpose",), node)
        given = node.inputs[0]
        order = None if transpose is None or given is None or given.rank is None else order_of(transpose, given.rank)
        if transpose is None or order is None or node.attr("keepdims", 1) != 0:
            return NoMatch("nothing is transposed, or reduced axes stay")
        axes = ints_operand(node, "axes", 1)
        found = normalize_axes(axes, len(order)) if isinstance(axes, tuple) and axes else NoMatch("axes are not stated")
        if isinstance(found, NoMatch):
            return found
        kept = [before for axis, before in enumerate(order) if axis not in found]
        if kept != sorted(kept):
            return NoMatch("axes %s would change places", kept)
        before = tuple(sorted(order[axis] for axis in found))
        rw.matched = [node, transpose]
        attributes: dict[str, object] = dict(node.attributes)
        operands: list[Value | Array | None] = [transpose.inputs[0], *node.inputs[1:]]
        if "axes" in attributes:
            attributes["axes"] = before
        else:
            operands[1] = np.array(before, np.int64)
        return rw.new_node(node.op, operands, attributes=attributes, name=node.name).output


def _swaps(transpose: Node, rank: int | None) -> bool:
    """Whether it brings the last two axes of a tensor into the other order, and no other."""
    order = None if rank is None or rank < 2 else order_of(transpose, rank)
    return order is not None and rank is not None and order == (*range(rank - 2), rank - 1, rank - 2)


def _turned(value: Value | None, reader: Node) -> tuple[Value | Array, bool] | None:
    """A factor with its last two axes in the other order, and whether a Transpose vanishes for it; ``None`` if that takes one."""
    transpose = producer_of(value, ("Transpose",), reader)
    if value is None:
        return None
    if transpose is not None and transpose.inputs[0] is not None and _swaps(transpose, value.rank):
        return transpose.inputs[0], True
    array = value.array()
    if array is None or array.ndim < 2 or (array.nbytes > _SMALL_BYTES and not value.has_single_use):
        return None
    return np.ascontiguousarray(np.swapaxes(array, -1, -2)), False


class MultiplyTheOtherWay(RewritePattern):
    """Transpose(MatMul(Transpose(a), Transpose(b))) -> MatMul(b, a)."""

    name: ClassVar[str] = "multiply-the-other-way"
    roots: ClassVar[tuple[str, ...]] = ("Transpose",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 3
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Transpose(
            op.MatMul(op.Transpose(any_("a"), perm=(0, 2, 1)), op.Transpose(any_("b"), perm=(0, 2, 1))), perm=(0, 2, 1)
        ),
        op.Transpose(op.MatMul(op.Transpose(any_("a"), perm=(1, 0)), const("w")), perm=(1, 0)),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """At least one factor must be transposed; the other one may be constant."""
        product = producer_of(node.inputs[0], ("MatMul",), node)
        given = node.inputs[0]
        if product is None or given is None or not _swaps(node, given.rank):
            return NoMatch("no product whose last two axes are swapped")
        left, right = (_turned(value, product) for value in product.inputs)
        if left is None or right is None or not (left[1] or right[1]):
            return NoMatch("a factor would have to be transposed")
        rw.matched = [node, product]
        return rw.new("MatMul", right[0], left[0])


ALGEBRA_RULES = (ReduceBeforeTranspose(), MultiplyTheOtherWay())
