"""Residual sums that a normalization reads become ``Sum``, which ONNX Runtime leaves apart from the normalization.

``LayerNormalization(Add(x, y)) -> LayerNormalization(Sum(x, y))``, spelt-out normalizations included. ONNX Runtime joins Add and
LayerNormalization into SkipLayerNormalization, whose kernel for processors takes five to seven times as long as the two (float32, rows of
384 and 768, ONNX Runtime 1.32). Only sums of two tensors of rank 2 or 3 that nothing else reads are joined there, so only these are written
as Sum, which has the same numbers, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from graphopt.ir import DType, Graph, Node
from graphopt.passes import PassContext, PassResult, RewritePass
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, Rule, any_, const, op

__all__ = ["KeepLayerNorm", "KeepResidualSum"]

_TARGETS: Final = frozenset({"onnxruntime", "onnxruntime-cpu"})
_NORMS: Final = frozenset({"LayerNormalization", "SimplifiedLayerNormalization"})
#: What reads the operand of a normalization that is spelt out.
_SPELT: Final = frozenset({"ReduceMean", "Sub"})
_SUM_OF_TWO: Final = 8


class KeepResidualSum(RewritePattern):
    """LayerNormalization(Add(x, y)) -> LayerNormalization(Sum(x, y))."""

    name: ClassVar[str] = "keep-residual-sum"
    roots: ClassVar[tuple[str, ...]] = ("Add",)
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.LayerNormalization(op.Add(any_("x"), any_("y")), const("gamma"), const("beta")),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Both terms must vary, and have the rank of the sum."""
        total = node.output
        if total.is_graph_output or not total.use_count or (rw.graph.opset() or 0) < _SUM_OF_TWO:
            return NoMatch("the sum has readers beside a normalization")
        readers = frozenset(user.op for user in total.users)
        if not (readers <= _NORMS and total.use_count == 1) and readers != _SPELT:
            return NoMatch("the sum has readers beside a normalization")
        if total.dtype is not DType.FLOAT or total.rank not in (2, 3):
            return NoMatch("the sum is %s", total.type)
        if any(value is None or value.is_constant or value.rank != total.rank for value in node.inputs):
            return NoMatch("a term is constant, or of another rank")
        made = rw.new_node("Sum", node.inputs, name=node.name)
        made.output.type = total.type
        return made.output


@dataclass(frozen=True)
class KeepLayerNorm(RewritePass):
    """Write residual sums so that ONNX Runtime keeps its fast kernel for the normalization after them. Exact; idempotent."""

    name: ClassVar[str] = "keep-layer-norm"
    rules: ClassVar[tuple[Rule, ...]] = (KeepResidualSum(),)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Apply the rule if the target is ONNX Runtime on a processor."""
        return super().run(graph, ctx) if ctx.target.name in _TARGETS else PassResult(changed=False)
