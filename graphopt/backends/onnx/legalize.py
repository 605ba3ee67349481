"""Makes a model one of standard operators: fused operators of the domain ``graphopt`` become what they stand for.

``graphopt::ConvActivation`` (attributes of Conv, ``activation``, ``activation_params``) -> Conv, then Relu, Clip, LeakyRelu, Sigmoid, Tanh
or HardSigmoid. Exact: the fused operator is defined as that pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.backends.onnx.old_format import keep_old_inputs
from graphopt.errors import UnsupportedOpError
from graphopt.ir import DType, Graph, GraphOwner, Model, Node, Value
from graphopt.passes import PassContext, PassResult, RewritePass
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter

__all__ = ["LegalizeOnnx", "SplitConvActivation", "activation_node", "settle"]

#: Domain of operators that only graphopt knows; none may be left in a file.
_INTERNAL_DOMAIN = "graphopt"
_OWN_ATTRIBUTES = ("activation", "activation_params")


def activation_node(rw: Rewriter, value: Value, activation: str, params: tuple[float, ...], dtype: DType) -> Value:
    """The activation of a ConvActivation as an operator of its own.

    Args:
        rw: makes the nodes.
        value: what it is applied to.
        activation: operator name.
        params: Clip: minimum and maximum; LeakyRelu: alpha; HardSigmoid: alpha and beta.
        dtype: element type of ``value``.
    """
    if activation == "Clip":
        opset = rw.graph.opset() or 1
        low, high = params
        if opset < 11:
            return rw.new("Clip", value, min=low, max=high)
        return rw.new("Clip", value, np.array(low, dtype.numpy), np.array(high, dtype.numpy))
    if activation == "LeakyRelu":
        return rw.new("LeakyRelu", value, alpha=params[0])
    if activation == "HardSigmoid":
        return rw.new("HardSigmoid", value, alpha=params[0], beta=params[1])
    return rw.new(activation, value)


class SplitConvActivation(RewritePattern):
    """graphopt::ConvActivation -> Conv and its activation."""

    name: ClassVar[str] = "split-conv-activation"
    roots: ClassVar[tuple[str, ...]] = ("graphopt::ConvActivation",)
    reach: ClassVar[int] = 1

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Always applies where the element type is known."""
        data = node.inputs[0]
        if data is None or data.dtype is None:
            return NoMatch("the element type is not known")
        attributes: dict[str, object] = {k: v for k, v in node.attributes.items() if k not in _OWN_ATTRIBUTES}
        conv = rw.new_node("Conv", node.inputs, attributes=attributes).output
        conv.type = node.output.type
        params = node.attrs.get("activation_params") or ()
        assert isinstance(params, tuple)
        numbers = tuple(float(item) for item in params if isinstance(item, int | float))
        return activation_node(rw, conv, node.str_attr("activation"), numbers, data.dtype)


def state_imports(owner: GraphOwner) -> bool:
    """Import the domains that rewrites brought in, at version 1, and drop that of graphopt's own operators. Says whether it did.

    Args:
        owner: edited: its imports.

    Raises:
        UnsupportedOpError: if an operator of the domain ``graphopt`` is left.
    """
    before = dict(owner.opset_imports)
    owner.opset_imports.pop(_INTERNAL_DOMAIN, None)
    for node in owner.graph.walk():
        if node.domain == _INTERNAL_DOMAIN:
            raise UnsupportedOpError(
                f"node {node.name!r}: {node.op} is internal to graphopt and no rule legalized it; report this"
            )
        owner.opset_imports.setdefault(node.domain, 1)
    return before != owner.opset_imports


def settle(owner: GraphOwner) -> bool:
    """What every legalization ends with: imports stated, inputs of old file formats kept. Says whether anything changed."""
    changed = state_imports(owner)
    return (keep_old_inputs(owner) if isinstance(owner, Model) else False) or changed


@dataclass(frozen=True)
class LegalizeOnnx(RewritePass):
    """Put standard operators in the place of graphopt's own. Exact."""

    name: ClassVar[str] = "legalize-onnx"
    rules: ClassVar = (SplitConvActivation(),)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Rewrite, then state what is imported."""
        result = super().run(graph, ctx)
        assert graph.owner is not None, "passes run on graphs of models and functions"
        return PassResult(settle(graph.owner) or result.changed, result.stats)
