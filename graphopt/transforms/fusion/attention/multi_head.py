"""Attention becomes ``com.microsoft::MultiHeadAttention``, whose kernel neither writes the scores nor moves heads through memory.

``Reshape(Transpose(softmax(scale * Q @ K^T + mask) @ V)) -> MultiHeadAttention(q, k, v, mask)`` with q, k and v as they were before heads
were split; where a factor has no such form, keys and values are taken as ``[B, N, L, H]`` and the query is moved.

What ONNX Runtime's kernel for processors wants (found by trying it): float32, or float16, which the runtime casts around it as around the
products that it replaces; a mask of rank 4 whose first two axes may be 1, the others not; keys and values in the same form, and of one size
if they are ``[B, N, L, H]``. A row whose scores are all -inf gives NaN in both. A guard against NaN is dropped if the mask is absent or its
numbers are finite, and moves behind the operator otherwise: the same for all operands that are finite.
Numerics: re-associates. Source: ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from graphopt.ir import DType, Node, TensorType, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.fusion.attention.core import Mask
from graphopt.transforms.fusion.attention.layouts import Factor, Layout
from graphopt.transforms.fusion.attention.levels import SMALL_MASK, Levels, levels_of
from graphopt.transforms.fusion.attention.plan import Plan, find_join, is_finite, joined_product, make_plan, takes_types
from graphopt.transforms.fusion.attention.shapes import head_major, join_heads, split_heads, transpose

__all__ = ["UseMultiHeadAttention"]

_OP = "com.microsoft::MultiHeadAttention"


class UseMultiHeadAttention(RewritePattern):
    """Reshape(Transpose(MatMul(Softmax(scale * MatMul(q, k) + mask), v))) -> MultiHeadAttention(q, k, v, mask)."""

    name: ClassVar[str] = "use-multi-head-attention"
    roots: ClassVar[tuple[str, ...]] = ("MatMul", "Reshape")
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 12
    makes: ClassVar[str] = _OP

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """At the Reshape that joins heads if there is one, else at the product."""
        joined = joined_product(node) if node.op == "Reshape" else None
        if node.op == "Reshape" and joined is None:
            return NoMatch("joins no heads")
        plan = make_plan(node if joined is None else joined.product, joined)
        if isinstance(plan, NoMatch):
            return plan
        if not takes_types(plan.core):
            return NoMatch("the element type is %s, expected float32 or float16", plan.core.query.dtype)
        if plan.core.query.dtype is DType.FLOAT16 and not all(map(_is_small, plan.core.masks)):
            return NoMatch("a mask of float16 has large numbers")
        later = find_join(node) if joined is None else None
        if later is not None and not isinstance(make_plan(node, later), NoMatch):
            return NoMatch("heads are joined behind it")
        between = () if joined is None else joined.nodes
        rw.matched = [node, *between, *plan.core.nodes]
        made = _emit(plan, rw)
        if joined is not None or plan.flat:
            return made
        return transpose(rw, split_heads(rw, made, plan.heads, plan.value_size), (0, 2, 1, 3))


def _emit(plan: Plan, rw: Rewriter) -> Value:
    """The operator, BSD."""
    query = join_heads(rw, plan.query, plan.heads, plan.size)
    apart = plan.size == plan.value_size and not (_has_rows(plan.key) and _has_rows(plan.value))
    arrange = head_major if apart else join_heads
    key = arrange(rw, plan.key, plan.heads, plan.size)
    value = arrange(rw, plan.value, plan.heads, plan.value_size)
    inputs: list[Value | None] = [query.value, key.value, value.value, None, None, plan.bias.emit(rw)]
    scale = np.float32(plan.core.scale * query.scale * key.scale)
    made = rw.new_node(_OP, inputs, attributes={"num_heads": plan.heads, "scale": float(scale)}).output
    dtype = plan.core.query.dtype or DType.FLOAT
    made.type = TensorType(dtype, (plan.query.size("B"), plan.query.size("S"), plan.heads * plan.value_size))
    if not plan.core.guarded or is_finite(plan.core):
        return made
    return rw.new("Where", rw.new("IsNaN", made), np.zeros((), dtype.numpy), made)


def _has_rows(factor: Factor) -> bool:
    """Whether positions come before heads in some form of it."""
    return any(layout in factor.seen for layout in (Layout.BSD, Layout.BSNH, Layout.FHS))


def _is_small(mask: Mask) -> bool:
    """Whether sums of scores and a mask do not depend on how they are rounded; what is -inf has no weight in any case."""
    levels = Levels(frozenset({mask.filler}), 0.0) if mask.filler is not None else levels_of(mask.value)
    return levels is not None and levels.lows <= {-math.inf} and levels.bound <= SMALL_MASK
