"""Joins Conv and the activation after it into ``graphopt::ConvActivation``, for targets whose backend has such an operator.

``Relu|Sigmoid|Tanh|LeakyRelu|HardSigmoid|Clip(Conv(x, w, b)) -> ConvActivation(x, w, b)`` with the attributes of Conv, ``activation``
(the operator) and ``activation_params`` (Clip: minimum and maximum; LeakyRelu: alpha; HardSigmoid: alpha and beta). float32 and constant
weights only.
Numerics: re-associates (a fused kernel may round otherwise).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.ir import Attribute, AttributeKind, DType, Graph, Node
from graphopt.passes import PassContext, PassResult, RewritePass
from graphopt.rewriting import Match, NoMatch, Reassociates, Replacement, Rewriter, Rule, any_, const, op, rest, rewrite
from graphopt.transforms.canonicalize.clips import clip_bounds
from graphopt.transforms.fusion.linear import is_dequantized

__all__ = ["FuseConvActivation"]

_DOMAIN = "graphopt"
_OP = "ConvActivation"
_LARGEST = float(np.finfo(np.float32).max)


def _parameters(activation: Node) -> tuple[float, ...] | NoMatch:
    """Numbers that the activation depends on."""
    match activation.op:
        case "LeakyRelu":
            return (activation.float_attr("alpha"),)
        case "HardSigmoid":
            return activation.float_attr("alpha"), activation.float_attr("beta")
        case "Clip":
            bounds = clip_bounds(activation)
            if isinstance(bounds, NoMatch):
                return bounds
            low = -_LARGEST if bounds.low is None else float(bounds.low)
            high = _LARGEST if bounds.high is None else float(bounds.high)
            return (
                (low, high)
                if math.isfinite(low) and math.isfinite(high) and low <= high
                else NoMatch("bounds are not finite")
            )
        case _:
            return ()


@rewrite(
    op["Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "Clip"](
        op.Conv(any_("x"), const("w"), any_("b", optional=True), name="conv"), rest("bounds")
    ),
    numerics=Reassociates(),
    min_opset=6,
)
def fuse_conv_activation(m: Match, rw: Rewriter) -> Replacement:
    """Relu(Conv(x, w, b)) -> ConvActivation(x, w, b)."""
    conv = m.node("conv")
    dtype = m["x"].dtype
    if dtype is not DType.FLOAT:
        return NoMatch("the element type is %s, expected float32", dtype)
    if is_dequantized(m["x"]):
        return NoMatch("runtimes make one integer operator of DequantizeLinear, Conv and what follows")
    params = _parameters(m.root)
    if isinstance(params, NoMatch):
        return params
    attributes: dict[str, object] = {**conv.attributes, "activation": m.root.op}
    if params:
        attributes["activation_params"] = Attribute(AttributeKind.FLOATS, params)
    owner = rw.graph.owner
    if owner is not None:
        owner.opset_imports.setdefault(_DOMAIN, 1)
    return rw.new_node(f"{_DOMAIN}::{_OP}", conv.inputs, attributes=attributes, name=conv.name).output


@dataclass(frozen=True)
class FuseConvActivation(RewritePass):
    """Join Conv and its activation, for targets that have an operator for it. Re-associates; needs types; idempotent."""

    name: ClassVar[str] = "fuse-conv-activation"
    rules: ClassVar[tuple[Rule, ...]] = (fuse_conv_activation,)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Apply the rule if the target has the operator."""
        if _OP not in ctx.target.fused_ops:
            return PassResult(changed=False)
        return super().run(graph, ctx)
