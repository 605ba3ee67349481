"""Shapes computed once: of several integer tensors that hold the same sizes in each run, one stays.

Exporters compute a batch size again in each layer, from the tensor that is there: ``Gather(Shape(a), 0)``, ``Gather(Shape(b), 0)``. Where
symbolic inference (:class:`~graphopt.analysis.ShapeValues`) finds the same expression in each element of two such tensors, the later one
gives way to the earlier, in a graph around it too. What is all numbers is left to ``fold-shapes``.

Exact; needs types; one walk, linear in nodes.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

from graphopt.analysis import ShapeValues
from graphopt.analysis.integer_ops import EVALUATORS
from graphopt.ir import Graph, Node, Value
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.rewriting import Rewriter

__all__ = ["ShareShapeValues"]


@dataclass(frozen=True)
class ShareShapeValues(Pass):
    """Compute once what several nodes compute of the same sizes. Exact; needs types; idempotent."""

    name: ClassVar[str] = "share-shape-values"
    keeps_types: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Look at each node of a graph and its subgraphs once."""
        search = _Search(ctx, self.name)
        search.visit(graph)
        return PassResult(changed=search.shared > 0, stats={"values": search.shared} if search.shared else {})


class _Search:
    """One run: the first value with each content, with the scopes of graphs that are open."""

    def __init__(self, ctx: PassContext, pass_name: str) -> None:
        self.shared = 0
        self._ctx = ctx
        self._name = pass_name
        self._rewriter = Rewriter(ctx.types)
        self._values = ShapeValues()
        self._found: dict[Hashable, Value] = {}

    def visit(self, graph: Graph) -> None:
        """Share the values of a graph; what it computed is not there any more at its end."""
        known: list[Hashable] = []
        for node in graph.nodes:
            for inner in node.subgraphs:
                self.visit(inner)
            if node.op not in EVALUATORS or len(node.outputs) != 1 or not node.output.is_used:
                continue
            content = self._content(node.output)
            if content is None:
                continue
            first = self._found.get(content)
            if first is None or first.producer is None or first.producer.graph is None:  # it may have died meanwhile
                self._found[content] = node.output
                known.append(content)
            else:
                self._share(node, first)
        for content in known:
            self._found.pop(content, None)

    def _content(self, value: Value) -> Hashable | None:
        """Equal for values that hold the same expressions; ``None`` where an element is not known, or all are numbers."""
        if value.dtype is None or not value.dtype.is_integer:
            return None
        found = self._values.of(value)
        if found is None or None in found.elements or found.numbers is not None:
            return None
        return value.dtype, found.shape, found.elements

    def _share(self, node: Node, first: Value) -> None:
        """Let everybody read an earlier value."""
        site = node.output.name
        if node.output.graph_outputs or not self._ctx.applications.admits(self._name, site):
            return
        self._rewriter.start(node)
        self._rewriter.finish(node, [first])
        self._ctx.applications.record(self._name, site)
        self.shared += 1
