"""A pass whose rules make operators that pay only where the target computes them by one kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from graphopt.ir import Graph
from graphopt.passes import PassContext, PassResult, RewritePass
from graphopt.rewriting import Rule, RuleIndex, rewrite_graph
from graphopt.target import Target

__all__ = ["KernelPass"]


@dataclass(frozen=True)
class KernelPass(RewritePass):
    """Applies those of its rules whose operator, named by ``makes``, the target has a kernel for, and those that name none.

    A rule that names an element type, by ``kernel_dtype``, wants a kernel for that.
    """

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Apply the rules everywhere in a graph."""
        rules = tuple(self._worth_making(graph, ctx.target))
        if not rules:
            return PassResult(changed=False)
        result = rewrite_graph(
            graph,
            RuleIndex(rules),
            inference=ctx.types,
            applications=ctx.applications,
            explain=ctx.explain,
            journal=ctx.journal,
        )
        return PassResult(changed=result.changed, stats=dict(result.applied))

    def _worth_making(self, graph: Graph, target: Target) -> Iterator[Rule]:
        opset = graph.opset() or 0
        for rule in self.active_rules():
            oldest, makes = getattr(rule, "min_opset", 0), getattr(rule, "makes", "")
            if opset >= oldest and (not makes or target.has_kernel(makes, getattr(rule, "kernel_dtype", None))):
                yield rule
