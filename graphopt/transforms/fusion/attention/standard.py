"""Attention as the standard operator of opset 23, with factors as they were before heads were split and moved.

``Reshape(Transpose(softmax(scale * Q @ K^T + mask) @ V)) -> Attention[q_num_heads, kv_num_heads](q, k, v, mask)``, and the same of an
``Attention`` whose factors were split and moved for it; keys and values whose heads were repeated for several queries are given once.

ONNX Runtime's kernel takes lengths of at least 1 and masks with full rows and columns, and gives 0 for rows whose mask is the lowest number
or -inf throughout (found by trying it): attention that is spelt out becomes the operator only where lengths are known and no mask has such
numbers. Numerics: re-associates. Source: https://onnx.ai/onnx/operators/onnx__Attention.html
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.broadcasting import same_dim
from graphopt.transforms.fusion.attention.bounds import largest_magnitude
from graphopt.transforms.fusion.attention.layouts import Factor, Layout, is_reshape, trace
from graphopt.transforms.fusion.attention.plan import Plan, find_join, fits, joined_product, make_plan
from graphopt.transforms.fusion.attention.shapes import join_heads

__all__ = ["JoinAttentionHeads", "ShareAttentionHeads", "UseAttention"]

_MIN_OPSET: Final = 23
#: Numbers of a mask below this are still numbers to add.
_NO_FILLER: Final = 1e38


class UseAttention(RewritePattern):
    """Reshape(Transpose(MatMul(Softmax(scale * MatMul(q, k) + mask), v))) -> Attention(q, k, v, mask)."""

    name: ClassVar[str] = "use-attention"
    roots: ClassVar[tuple[str, ...]] = ("MatMul", "Reshape")
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 12
    min_opset: ClassVar[int] = _MIN_OPSET
    makes: ClassVar[str] = "Attention"

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Where heads are joined behind the product."""
        if (rw.graph.opset() or 0) < _MIN_OPSET:
            return NoMatch("opset %s has no Attention", rw.graph.opset())
        joined = joined_product(node) if node.op == "Reshape" else find_join(node)
        if joined is None or node.op != "Reshape":
            return NoMatch("joins no heads" if joined is None else "heads are joined behind it")
        plan = make_plan(joined.product, joined)
        if isinstance(plan, NoMatch):
            return plan
        reason = _refusal(plan)
        if reason is not None:
            return reason
        rw.matched = [node, *joined.nodes, *plan.core.nodes]
        query = join_heads(rw, plan.query, plan.heads, plan.size)
        key = join_heads(rw, plan.key, plan.heads, plan.size)
        value = join_heads(rw, plan.value, plan.heads, plan.value_size)
        scale = float(np.float32(plan.core.scale * query.scale * key.scale))
        attributes: dict[str, object] = {"q_num_heads": plan.heads, "kv_num_heads": plan.heads, "scale": scale}
        return rw.new_node(
            "Attention", [query.value, key.value, value.value, plan.bias.emit(rw)], attributes=attributes
        ).output


def _refusal(plan: Plan) -> NoMatch | None:
    """Why the kernel would not do what a core does."""
    core = plan.core
    if core.query.dtype is not DType.FLOAT or core.value.dtype is not DType.FLOAT:
        return NoMatch("the element type is %s, expected float32", core.query.dtype)
    if not plan.query.number("S") or not plan.key.number("S"):
        return NoMatch("a length may be 0")
    if core.scale <= 0 or any(seen.scale <= 0 for item in (plan.query, plan.key) for seen in item.seen.values()):
        return NoMatch("the scale is not positive")
    for mask in core.masks:
        if mask.filler is not None or largest_magnitude(mask.value) > _NO_FILLER:
            return NoMatch("a row of the mask may leave nothing")
    return None


class JoinAttentionHeads(RewritePattern):
    """Reshape(Transpose(Attention(q, k, v))) with factors of rank 4 -> Attention(q, k, v) with factors of rank 3."""

    name: ClassVar[str] = "join-attention-heads"
    roots: ClassVar[tuple[str, ...]] = ("Reshape",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 5
    min_opset: ClassVar[int] = _MIN_OPSET
    makes: ClassVar[str] = "Attention"

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Where each factor was split and moved."""
        joined = joined_product(node, "Attention")
        if joined is None or joined.split is not None or joined.single:
            return NoMatch("joins no heads")
        attention = joined.product
        if any(item is not None for item in attention.inputs[4:]) or any(
            item.is_used for item in attention.outputs[1:]
        ):
            return NoMatch("it has a cache, or gives more than the result")
        factors: list[Factor] = []
        for value in attention.inputs[:3]:
            if value is None or value.rank != 4:
                return NoMatch("a factor has another rank")
            factor = trace(value, Layout.BNSH, scales=False)
            if not (Layout.BSD in factor.seen or Layout.BSNH in factor.seen):
                return NoMatch("%r was not split and moved", value.name)
            factors.append(factor)
        query, key, value_factor = factors
        heads, shared, size = query.number("N"), key.number("N"), value_factor.number("H")
        if not heads or not shared or not size or value_factor.number("N") != shared:
            return NoMatch("%s heads of queries, %s of keys", heads, shared)
        if not fits(joined, query, heads, size):
            return NoMatch("%s does not certainly join %d heads", node.output.type, heads)
        rw.matched = [node, *joined.nodes, attention]
        inputs: list[Value | None] = [
            join_heads(rw, factor, factor.number("N") or 0, factor.number("H") or 0).value for factor in factors
        ]
        attributes: dict[str, object] = {**attention.attributes, "q_num_heads": heads, "kv_num_heads": shared}
        return rw.new_node("Attention", [*inputs, attention.input_at(3)], attributes=attributes).output


class ShareAttentionHeads(RewritePattern):
    """Attention(q, Reshape(Expand(Unsqueeze(k))), Reshape(Expand(Unsqueeze(v)))) -> Attention(q, k, v)."""

    name: ClassVar[str] = "share-attention-heads"
    roots: ClassVar[tuple[str, ...]] = ("Attention",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 4
    min_opset: ClassVar[int] = _MIN_OPSET
    makes: ClassVar[str] = "Attention"

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Both by the same number."""
        if any(item is not None for item in node.inputs[4:]) or len(node.inputs) < 3:
            return NoMatch("it has a cache")
        if any(item.is_used for item in node.outputs[1:]):
            return NoMatch("it gives more than the result")
        key, value = node.inputs[1], node.inputs[2]
        if key is None or value is None:
            return NoMatch("a factor is absent")
        keys, values = _repeated(key), _repeated(value)
        if keys is None or values is None or keys.shape is None or values.shape is None:
            return NoMatch("keys or values are not repeated")
        if keys.shape[1] != values.shape[1]:
            return NoMatch("keys and values are repeated by other numbers")
        made = rw.new_node(
            "Attention", [node.inputs[0], keys, values, *node.inputs[3:]], attributes=dict(node.attributes)
        )
        return [made.output, *[None] * (len(node.outputs) - 1)]


def _repeated(value: Value) -> Value | None:
    """What heads were repeated of, each in place: ``[B, N, L, H]`` of which ``[B, N*r, L, H]`` was made."""
    reshape = value.producer
    expand = (
        None if reshape is None or not is_reshape(reshape) or reshape.inputs[0] is None else reshape.inputs[0].producer
    )
    if expand is None or expand.op != "Expand" or expand.inputs[0] is None:
        return None
    unsqueeze = expand.inputs[0].producer
    source = None if unsqueeze is None or not is_reshape(unsqueeze) else unsqueeze.inputs[0]
    if source is None or source.rank != 4 or expand.output.rank != 5 or value.rank != 4:
        return None
    before, apart, wide, after = source.shape, expand.inputs[0].shape, expand.output.shape, value.shape
    if before is None or apart is None or wide is None or after is None or len(apart) != 5:
        return None
    heads, repeats = before[1], wide[2]
    if not isinstance(heads, int) or not isinstance(repeats, int) or after[1] != heads * repeats:
        return None
    kept = all(map(same_dim, (before[0], before[1], 1, before[2], before[3]), apart))
    grown = all(map(same_dim, (before[0], before[1], before[2], before[3]), (wide[0], wide[1], wide[3], wide[4])))
    whole = all(map(same_dim, (before[0], before[2], before[3]), (after[0], after[2], after[3])))
    return source if kept and grown and whole else None
