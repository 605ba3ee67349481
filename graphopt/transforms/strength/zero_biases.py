"""Removes biases that are zero everywhere.

``Conv(x, w, 0) -> Conv(x, w)``, and so for ConvTranspose and Gemm, where the bias is a constant of zeros or zeros
made by ConstantOfShape, Expand or Tile, as exporters spell a missing one. A sum of negative zeros stays negative then, so this declares
to re-associate.
"""

from __future__ import annotations

from typing import ClassVar

from graphopt.ir import Constant, DType, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op

__all__ = ["RULES"]

_SPREADING = frozenset({"Expand", "Tile", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast"})
_FARTHEST = 4


def is_zero(value: Value | None) -> bool:
    """Whether each element of a tensor is certainly zero."""
    for _ in range(_FARTHEST):
        node = None if value is None else value.producer
        if value is None:
            return False
        if value.is_constant:
            return value.const is not None and value.const.dtype is not DType.STRING and not value.const.numpy().any()
        if node is None or node.domain or node.has_references:
            return False
        if node.op == "ConstantOfShape":
            stated = node.attributes.get("value")
            return stated is None or (isinstance(stated.value, Constant) and not stated.value.numpy().any())
        if node.op not in _SPREADING:
            return False
        value = node.inputs[0]
    return False


class DropZeroBias(RewritePattern):
    """Conv(x, w, 0) -> Conv(x, w), and ConvTranspose, Gemm."""

    name: ClassVar[str] = "drop-zero-bias"
    roots: ClassVar[tuple[str, ...]] = ("Conv", "ConvTranspose", "Gemm")
    numerics: ClassVar[Numerics] = Reassociates(1e-6)
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (op[roots](any_("x"), const("w"), const("b", equal_to=0)),)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Look at the third input."""
        bias = node.input_at(2)
        if bias is None or not is_zero(bias):
            return NoMatch("the bias is not zero")
        if node.op == "Gemm" and (node.opset or 0) < 11:
            return NoMatch("the third input of Gemm is not optional before opset 11")
        return rw.new_node(node.op, node.inputs[:2], attributes=dict(node.attributes), name=node.name).output


RULES = (DropZeroBias(),)
