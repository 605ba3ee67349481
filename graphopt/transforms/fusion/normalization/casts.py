"""Normalizes float16 values by an operator of float16, which computes in float32 inside.

``Cast[float16](LayerNormalization(Cast[float](x), s, b)) -> LayerNormalization[stash_type=1](x, s, b)`` where float16 holds ``s`` and ``b``
exactly; so for RMSNormalization. Numerics: re-associates (float16 rounds once more before the scale). Source:
https://onnx.ai/onnx/operators/onnx__LayerNormalization.html
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import Array, DType, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.expressions import nodes_between, producer
from graphopt.transforms.fusion.normalization.affine import LAYER_NORMS

__all__ = ["DropCastsAroundNormalization"]


def _narrowed(value: Value) -> Array | NoMatch:
    """The numbers of a constant in float16, if it holds them exactly."""
    array = value.array()
    if array is None or array.dtype != np.float32:
        return NoMatch("%r is no float32 constant", value.name)
    narrow = array.astype(np.float16)
    return (
        narrow
        if np.array_equal(narrow.astype(np.float32), array)
        else NoMatch("%r is not exact in float16", value.name)
    )


class DropCastsAroundNormalization(RewritePattern):
    """Cast[float16](LayerNormalization(Cast[float](x), s, b)) -> LayerNormalization(x, s, b)."""

    name: ClassVar[str] = "drop-casts-around-normalization"
    roots: ClassVar[tuple[str, ...]] = ("Cast",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 3
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Cast(
            op.LayerNormalization(op.Cast(any_("x"), to=int(DType.FLOAT)), const("ones", equal_to=1.0)),
            to=int(DType.FLOAT16),
        ),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The type before the first cast must be that of the second."""
        norm = producer(node.inputs[0], *LAYER_NORMS)
        cast = None if norm is None else producer(norm.inputs[0], "Cast")
        x = None if cast is None else cast.inputs[0]
        if norm is None or x is None or node.attr("to") != int(DType.FLOAT16) or x.dtype is not DType.FLOAT16:
            return NoMatch("no normalization of a float16 value is cast to float16")
        if norm.inputs[0] is None or norm.inputs[0].dtype is not DType.FLOAT or norm.attr("stash_type", 1) != 1:
            return NoMatch("it does not compute in float32")
        operands: list[Array] = []
        for value in norm.inputs[1:]:
            narrow = NoMatch("an input is absent") if value is None else _narrowed(value)
            if isinstance(narrow, NoMatch):
                return narrow
            operands.append(narrow)
        nodes = nodes_between(node, (x,), x)
        if isinstance(nodes, NoMatch):
            return nodes
        rw.matched = nodes
        return rw.new_node(norm.op, [x, *operands], attributes=dict(norm.attributes), name=norm.name).output
