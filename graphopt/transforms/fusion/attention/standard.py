"""Attention as the standard operator of opset 23, with factors as they were before heads were split and moved.

``Reshape(Transpose(softmax(scale * Q @ K^T + mask) @ V)) -> Attention[q_num_heads, kv_num_heads](q, k, v, mask)``, and the same of an
``Attention`` whose factors were split and moved for it; keys and values whose heads were repeated for several queries are given once.
Where keys or values were not split for it, as those of a cache, all factors have heads on an axis of their own.

ONNX Runtime's kernel takes lengths of at least 1 and masks with full rows and columns, and gives 0 for rows whose mask is the lowest number
or -inf throughout (found by trying it; the specification says 0 for -inf, too): attention that is spelt out becomes the operator only where
lengths are known, and low numbers of masks are raised to one that leaves no weight either. float16 stays spelt out: the kernel rounds it
by one more unit in the last place than ONNX's own tests of it allow.
Numerics: re-associates. Source: https://onnx.ai/onnx/operators/onnx__Attention.html
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.fusion.attention.core import Mask
from graphopt.transforms.fusion.attention.layouts import Factor, Layout
from graphopt.transforms.fusion.attention.levels import NO_WEIGHT, SMALL_MASK, Levels, levels_of, must_clamp
from graphopt.transforms.fusion.attention.masks import plan_bias
from graphopt.transforms.fusion.attention.plan import Joined, Plan, find_join, joined_product, make_plan, takes_types
from graphopt.transforms.fusion.attention.repeats import repeated
from graphopt.transforms.fusion.attention.shapes import head_major, join_heads, split_heads, transpose

__all__ = ["UseAttention"]

_MIN_OPSET: Final = 23


class UseAttention(RewritePattern):
    """Reshape(Transpose(MatMul(Softmax(scale * MatMul(q, k) + mask), v))) -> Attention(q, k, v, mask)."""

    name: ClassVar[str] = "use-attention"
    roots: ClassVar[tuple[str, ...]] = ("MatMul", "Reshape")
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 12
    min_opset: ClassVar[int] = _MIN_OPSET
    makes: ClassVar[str] = "Attention"

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """At the Reshape that joins heads if there is one, else at the product."""
        if (rw.graph.opset() or 0) < _MIN_OPSET:
            return NoMatch("opset %s has no Attention", rw.graph.opset())
        joined = joined_product(node) if node.op == "Reshape" else None
        if node.op == "Reshape" and joined is None:
            return NoMatch("joins no heads")
        plan = make_plan(node if joined is None else joined.product, joined)
        if isinstance(plan, NoMatch):
            return plan
        later = find_join(node) if joined is None else None
        if later is not None and not isinstance(make_plan(node, later), NoMatch):
            return NoMatch("heads are joined behind it")
        reason = _refusal(plan)
        if reason is not None:
            return reason
        masks = _kernel_masks(plan)
        if isinstance(masks, NoMatch):
            return masks
        bias = plan_bias(masks, plan.query, plan.key, plan.heads, joined=joined is not None)
        if isinstance(bias, NoMatch):
            return bias
        plan.bias = bias
        rw.matched = [node, *(() if joined is None else joined.nodes), *plan.core.nodes]
        if not all(_has_rows(factor, plan.heads) for factor in (plan.key, plan.value)):
            return _of_heads(plan, joined, node, rw)
        made = _of_rows(plan, rw)
        if joined is not None or plan.flat:
            return made
        return transpose(rw, split_heads(rw, made, plan.heads, plan.value_size), (0, 2, 1, 3))


def _of_rows(plan: Plan, rw: Rewriter) -> Value:
    """The operator on factors whose heads are side by side."""
    query = join_heads(rw, plan.query, plan.heads, plan.size)
    key = join_heads(rw, plan.key, plan.heads, plan.size)
    value = join_heads(rw, plan.value, plan.heads, plan.value_size)
    scale = float(np.float32(plan.core.scale * query.scale * key.scale))
    attributes: dict[str, object] = {"q_num_heads": plan.heads, "kv_num_heads": plan.heads, "scale": scale}
    inputs = [query.value, key.value, value.value, plan.bias.emit(rw)]
    return rw.new_node("Attention", inputs, attributes=attributes).output


def _of_heads(plan: Plan, joined: Joined | None, node: Node, rw: Rewriter) -> Value:
    """The operator on factors whose heads have an axis of their own, and what joins heads after it."""
    query = head_major(rw, plan.query, plan.heads, plan.size)
    key = head_major(rw, plan.key, plan.heads, plan.size)
    value = head_major(rw, plan.value, plan.heads, plan.value_size)
    scale = float(np.float32(plan.core.scale * query.scale * key.scale))
    inputs = [query.value, key.value, value.value, plan.bias.emit(rw)]
    made = rw.new_node("Attention", inputs, attributes={"scale": scale}).output
    if joined is None:
        return made
    moved = made if joined.single else transpose(rw, made, (0, 2, 1, 3))
    return rw.new_node("Reshape", [moved, node.inputs[1]], attributes=dict(node.attributes)).output


def _has_rows(factor: Factor, heads: int) -> bool:
    """Whether positions come before heads in some form of a factor, or keys of one head are transposed."""
    return Layout.BSD in factor.seen or Layout.BSNH in factor.seen or (heads == 1 and Layout.FHS in factor.seen)


def _refusal(plan: Plan) -> NoMatch | None:
    """Why the kernel would not do what a core does."""
    core = plan.core
    if not takes_types(core) or core.query.dtype is not DType.FLOAT:
        return NoMatch("the element type is %s, expected float32", core.query.dtype)
    if not plan.query.number("S") or not (plan.key.number("S") or _grows(plan.key)):
        return NoMatch("a length may be 0")
    if core.scale <= 0 or any(seen.scale <= 0 for item in (plan.query, plan.key) for seen in item.seen.values()):
        return NoMatch("the scale is not positive")
    return None


def _grows(key: Factor) -> bool:
    """Whether keys are joined of parts of which one has a known length."""
    seen = key.seen.get(Layout.BNSH)
    source = None if seen is None else repeated(seen.value) or seen.value
    node = None if source is None else source.producer
    if node is None or node.op != "Concat" or node.int_attr("axis") not in (2, -2):
        return False
    lengths = [item.shape[2] for item in node.inputs if item is not None and item.shape is not None and item.rank == 4]
    return any(isinstance(length, int) and length > 0 for length in lengths)


def _kernel_masks(plan: Plan) -> list[Mask] | NoMatch:
    """Masks with numbers that the kernel treats as softmax does."""
    found, lows = [], 0
    for mask in plan.core.masks:
        levels = levels_of(mask.value) if mask.filler is None else Levels(frozenset({mask.filler}), 0.0)
        if levels is None:
            return NoMatch("the numbers of mask %s are not known well enough", mask.value.type)
        if plan.core.query.dtype is not DType.FLOAT and not (levels.lows <= {-math.inf} and levels.bound <= SMALL_MASK):
            return NoMatch("mask %s has large numbers", mask.value.type)
        clamp = must_clamp(levels.lows, mask.value if mask.filler is None else None, guarded=plan.core.guarded)
        if isinstance(clamp, NoMatch):
            return clamp
        lows += bool(levels.lows)
        if mask.filler is None:
            found.append(replace(mask, clamp=clamp))
        else:
            found.append(replace(mask, filler=NO_WEIGHT if clamp else -math.inf))
    return found if lows < 2 else NoMatch("several masks have low numbers")
