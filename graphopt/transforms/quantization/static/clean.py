"""Tidies models that came quantized, so that runtimes see what is on integers and nothing is converted for nothing.

Needs types. Touches no weights. Main graph, subgraphs and functions. Numerics: lossy for pairs between floats, which go; else exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.ir import Graph
from graphopt.passes import PassContext, PassResult, RewritePass
from graphopt.rewriting import Rule, RuleIndex, rewrite_graph
from graphopt.transforms.quantization.static.islands import DropIslands
from graphopt.transforms.quantization.static.tidy_pairs import DequantizeLater, DropRequantization

__all__ = ["CleanQdq"]


@dataclass(frozen=True)
class CleanQdq(RewritePass):
    """Drop Q/DQ pairs that repeat one or stand between floats, and move integers as integers."""

    name: ClassVar[str] = "clean-qdq"
    rules: ClassVar[tuple[Rule, ...]] = (
        DropRequantization(),
        DequantizeLater(),
        DropIslands(),
    )

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Apply the rules, with what the target has kernels for."""
        scheme = ctx.target.quantization
        rules = self.rules if scheme is None else (*self.rules[:-1], DropIslands(scheme))
        result = rewrite_graph(
            graph, RuleIndex(rules), inference=ctx.types, applications=ctx.applications, explain=ctx.explain
        )
        return PassResult(changed=result.changed, stats=dict(result.applied))
