"""The standard operator of attention on fewer and smaller factors: heads as they were before they were split, moved, or repeated.

``Reshape(Transpose(Attention(q, k, v)))`` with factors of rank 4 that were split and moved ``-> Attention(q, k, v)`` with those of rank 3;
``Attention(q, Reshape(Expand(Unsqueeze(k))), Reshape(Expand(Unsqueeze(v)))) -> Attention(q, k, v)``.
Numerics: re-associates. Source: https://onnx.ai/onnx/operators/onnx__Attention.html
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from graphopt.ir import Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.fusion.attention.layouts import Factor, Layout, trace
from graphopt.transforms.fusion.attention.plan import fits, joined_product
from graphopt.transforms.fusion.attention.repeats import repeated
from graphopt.transforms.fusion.attention.shapes import join_heads, split_heads

__all__ = ["JoinAttentionHeads", "ShareAttentionHeads"]

_MIN_OPSET: Final = 23


class JoinAttentionHeads(RewritePattern):
    """Reshape(Transpose(Attention(q, k, v))) with factors of rank 4 -> Attention(q, k, v) with factors of rank 3."""

    name: ClassVar[str] = "join-attention-heads"
    roots: ClassVar[tuple[str, ...]] = ("Reshape", "Transpose", "Attention")
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 5
    min_opset: ClassVar[int] = _MIN_OPSET
    makes: ClassVar[str] = "Attention"

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Where each factor was split and moved; at the Transpose if what reads it joins no heads; a single position moves nothing."""
        joined = joined_product(node, "Attention") if node.op == "Reshape" else None
        alone = node.op == "Attention"
        attention = node if alone else _moved(node) if joined is None else joined.product
        if attention is None or (joined is not None and joined.split is not None):
            return NoMatch("joins no heads")
        cached = all(attention.input_at(place) is not None for place in (4, 5))
        if any(item is not None for item in attention.inputs[6 if cached else 4 :]):
            return NoMatch("it has lengths, or half a cache")
        if any(item.is_used for item in attention.outputs[3 if cached else 1 :]):
            return NoMatch("it gives more than the result and its cache")
        factors = _factors(attention)
        if isinstance(factors, NoMatch):
            return factors
        query, key, value = factors
        heads, shared, size = query.number("N"), key.number("N"), value.number("H")
        if not heads or not shared or not size or value.number("N") != shared:
            return NoMatch("%s heads of queries, %s of keys", heads, shared)
        if alone and query.number("S") != 1:
            return NoMatch("positions stay behind heads")
        if joined is not None and not fits(joined, query, heads, size):
            return NoMatch("%s does not certainly join %d heads", node.output.type, heads)
        rw.matched = [node, attention, *(() if joined is None else joined.nodes)]
        inputs: list[Value | None] = [
            join_heads(rw, factor, factor.number("N") or 0, factor.number("H") or 0).value for factor in factors
        ]
        attributes: dict[str, object] = {**attention.attributes, "q_num_heads": heads, "kv_num_heads": shared}
        operands = [*inputs, *attention.inputs[3:6]]
        made = rw.new_node("Attention", operands, outputs=3 if cached else 1, attributes=attributes)
        if alone:
            split = rw.new("Reshape", made.output, np.array([0, heads, 1, size], np.int64))
            return [split, *made.outputs[1 : len(node.outputs)], *[None] * (len(node.outputs) - len(made.outputs))]
        if cached:
            _take_place(rw, made, attention, factors)
        return made.output if joined is not None else split_heads(rw, made.output, heads, size)


def _moved(node: Node) -> Node | None:
    """The attention whose heads a Transpose moves behind positions, if no Reshape joins them then."""
    source = node.inputs[0]
    if node.op != "Transpose" or source is None or not source.has_single_use or node.ints_attr("perm") != (0, 2, 1, 3):
        return None
    attention = source.producer
    if attention is None or attention.op != "Attention" or attention.graph is not node.graph or source.index != 0:
        return None
    if any(user.op == "Reshape" and joined_product(user, "Attention") is not None for user in node.output.users):
        return None
    return attention


def _factors(attention: Node) -> list[Factor] | NoMatch:
    """Queries, keys and values that were split and moved for an operator, in this order."""
    factors: list[Factor] = []
    for value in attention.inputs[:3]:
        if value is None or value.rank != 4:
            return NoMatch("a factor has another rank")
        factor = trace(value, Layout.BNSH, scales=False)
        if not (Layout.BSD in factor.seen or Layout.BSNH in factor.seen):
            return NoMatch("%r was not split and moved", value.name)
        factors.append(factor)
    return factors


def _take_place(rw: Rewriter, made: Node, attention: Node, factors: list[Factor]) -> None:
    """Put an operator where another stands, whose cache may be read from there on, and let its cache stand for that one's."""
    known = {seen.value for factor in factors for seen in factor.seen.values()}
    for value in made.inputs[:3]:
        if value is not None and value not in known and value.producer is not None:
            rw.graph.move_before(attention, value.producer)
    rw.graph.move_before(attention, made)
    for place in (1, 2):
        if place < len(attention.outputs):
            made.outputs[place].type = attention.outputs[place].type
            rw.replace(attention.outputs[place], made.outputs[place])


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
        keys, values = repeated(key), repeated(value)
        if keys is None or values is None or keys.shape is None or values.shape is None:
            return NoMatch("keys or values are not repeated")
        if keys.shape[1] != values.shape[1]:
            return NoMatch("keys and values are repeated by other numbers")
        made = rw.new_node(
            "Attention", [node.inputs[0], keys, values, *node.inputs[3:]], attributes=dict(node.attributes)
        )
        return [made.output, *[None] * (len(node.outputs) - 1)]
