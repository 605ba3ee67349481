"""Makes a model one that ONNX Runtime runs fast: graphopt's fused operators become those of the domain ``com.microsoft``.

``graphopt::ConvActivation`` -> ``com.microsoft::FusedConv``, which ONNX Runtime has for float32; other element types become the pair it
stands for. Exact up to what the fused kernel does. Source: ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.backends.onnx.legalize import SplitConvActivation, settle
from graphopt.ir import DType, Graph, Model, Node
from graphopt.passes import PassContext, PassResult, RewritePass
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
    """Put ONNX Runtime's fused operators, or standard ones, in the place of graphopt's own; keep to the file formats it reads. Exact."""

    name: ClassVar[str] = "legalize-onnxruntime"
    rules: ClassVar = (UseFusedConv(), SplitConvActivation())

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Rewrite, then state what is imported, and a file format version that ONNX Runtime reads."""
        result = super().run(graph, ctx)
        owner = graph.owner
        assert owner is not None, "passes run on graphs of models and functions"
        changed = settle(owner) or result.changed
        newest = ctx.target.max_ir_version
        if isinstance(owner, Model) and newest is not None and owner.ir_version > newest:
            self.logger.info(
                "file format version %d lowered to %d, the newest that ONNX Runtime reads", owner.ir_version, newest
            )
            owner.ir_version = newest
            changed = True
        return PassResult(changed, result.stats)
