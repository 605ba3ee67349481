"""Makes a model one that ONNX Runtime runs fast: graphopt's fused operators become those of the domain ``com.microsoft``.

``graphopt::ConvActivation`` -> ``com.microsoft::FusedConv``, which ONNX Runtime has for float32; other element types become the pair it
stands for. Exact up to what the fused kernel does. Source: ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.backends.onnx.legalize import SplitConvActivation
from graphopt.ir import DType, Node
from graphopt.passes import RewritePass
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter

__all__ = ["LegalizeOnnxRuntime"]


class UseFusedConv(RewritePattern):
    """graphopt::ConvActivation on float32 -> com.microsoft::FusedConv."""

    name: ClassVar[str] = "use-fused-conv"
    roots: ClassVar[tuple[str, ...]] = ("graphopt::ConvActivation",)
    reach: ClassVar[int] = 1
    benefit: ClassVar[int] = 2

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Same inputs, same attributes, another name."""
        data = node.inputs[0]
        if data is None or data.dtype is not DType.FLOAT:
            return NoMatch("FusedConv is for float32")
        made = rw.new_node("com.microsoft::FusedConv", node.inputs, attributes=dict(node.attributes))
        made.output.type = node.output.type
        return made.output


@dataclass(frozen=True)
class LegalizeOnnxRuntime(RewritePass):
    """Put ONNX Runtime's fused operators, or standard ones, in the place of graphopt's own. Exact."""

    name: ClassVar[str] = "legalize-onnxruntime"
    rules: ClassVar = (UseFusedConv(), SplitConvActivation())
