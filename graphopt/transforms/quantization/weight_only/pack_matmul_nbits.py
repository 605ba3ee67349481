"""The pass that packs stored weights for ONNX Runtime's MatMulNBits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from graphopt.ir import Graph
from graphopt.numerics import Lossy, Numerics
from graphopt.passes import PassContext, PassResult, RewritePass
from graphopt.rewriting import Rule, RuleIndex, rewrite_graph
from graphopt.transforms.quantization.layers import Selection
from graphopt.transforms.quantization.weight_only.pack_rules import NBITS, AddBiasToNbits, PackProduct

__all__ = ["PackMatmulNbits"]


@dataclass(frozen=True)
class PackMatmulNbits(RewritePass):
    """Make ONNX Runtime's MatMulNBits of products by dequantized weights of 4 or 8 bits, where the target has the kernel.

    Touches weights (their layout); needs types, no data; idempotent. Numerics: lossy.

    Attributes:
        accuracy_level: how exact sums are: 0 and 1 floats, 2 halves, 3 bfloat16, 4 integers of 8 bits, which is by far the fastest.
        include: layers to work on, by name, pattern or ``op:MatMul``; all if empty.
        exclude: layers to leave as they are.
    """

    name: ClassVar[str] = "pack-matmul-nbits"
    numerics: ClassVar[Numerics] = Lossy()
    rules: ClassVar[tuple[Rule, ...]] = (PackProduct(), AddBiasToNbits())
    accuracy_level: Literal[0, 1, 2, 3, 4] = 4
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def active_rules(self) -> tuple[Rule, ...]:
        """Both rules, with the options of this pass."""
        return PackProduct(Selection(self.include, self.exclude), self.accuracy_level), AddBiasToNbits()

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Apply the rules everywhere in a graph."""
        if not ctx.target.has_kernel(NBITS):
            return PassResult(changed=False)
        result = rewrite_graph(
            graph,
            RuleIndex(self.active_rules()),
            inference=ctx.types,
            applications=ctx.applications,
            explain=ctx.explain,
        )
        return PassResult(changed=result.changed, stats=dict(result.applied))
