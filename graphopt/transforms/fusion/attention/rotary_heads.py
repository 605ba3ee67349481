"""Positions are turned before heads are split and moved, so that attention can take what it is given as it was before.

``RotaryEmbedding(Transpose(Reshape(x)), cos, sin) -> Transpose(Reshape(RotaryEmbedding[num_heads](x, cos, sin)))`` of opset 23, where the
only reader may be attention, or a piece of it. Numerics: exact.
Source: https://onnx.ai/onnx/operators/onnx__RotaryEmbedding.html
"""

from __future__ import annotations

from typing import ClassVar, Final

from graphopt.ir import Node, Value
from graphopt.numerics import Exact, Numerics
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.fusion.attention.layouts import Layout, trace
from graphopt.transforms.fusion.attention.shapes import split_heads, transpose

__all__ = ["RotateJoinedHeads"]

_READERS: Final = frozenset(
    {"Attention", "com.microsoft::MultiHeadAttention", "MatMul", "Mul", "Div", "Transpose", "Concat", "Unsqueeze"}
)


class RotateJoinedHeads(RewritePattern):
    """RotaryEmbedding(Transpose(Reshape(x)), cos, sin) -> Transpose(Reshape(RotaryEmbedding[num_heads](x, cos, sin)))."""

    name: ClassVar[str] = "rotate-joined-heads"
    roots: ClassVar[tuple[str, ...]] = ("RotaryEmbedding",)
    numerics: ClassVar[Numerics] = Exact()
    reach: ClassVar[int] = 4
    min_opset: ClassVar[int] = 23
    makes: ClassVar[str] = "RotaryEmbedding"

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The heads must come from one axis."""
        x = node.input_at(0)
        if x is None or x.rank != 4 or x.is_graph_output:
            return NoMatch("heads have no axis of their own")
        if not _may_enter_attention(node.output):
            return NoMatch("the result is no factor of attention")
        factor = trace(x, Layout.BNSH, scales=False)
        joined, heads, size = factor.seen.get(Layout.BSD), factor.number("N"), factor.number("H")
        if joined is None or not heads or not size:
            return NoMatch("%r was not split and moved", x.name)
        attributes: dict[str, object] = {**node.attributes, "num_heads": heads}
        made = rw.new_node("RotaryEmbedding", [joined.value, *node.inputs[1:]], attributes=attributes).output
        made.type = joined.value.type
        return transpose(rw, split_heads(rw, made, heads, size), (0, 2, 1, 3))


def _may_enter_attention(value: Value) -> bool:
    """Whether a single reader may be attention, a cache of it, or what it is made of."""
    return value.has_single_use and value.users[0].op in _READERS
