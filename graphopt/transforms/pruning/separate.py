"""Gives each node that reads a small shared constant a copy of its own, so that what nodes have in common by chance ties nothing together.

Layers with equal biases, all zero for example, read one constant once ``deduplicate-constants`` has run (any level): then their channels
can only be removed together. Vectors are copied, constants with one axis longer than 1; matrices that layers share stay shared, as tied
embeddings are meant to be. ``deduplicate-constants`` merges what is still equal afterwards. Exact; needs no types; idempotent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from graphopt.ir import Graph, Value
from graphopt.passes import Pass, PassContext, PassResult

__all__ = ["SeparateConstants"]


@dataclass(frozen=True)
class SeparateConstants(Pass):
    """Let each node have the vectors that it reads for itself.

    Put it before ``prune-channels``.
    """

    name: ClassVar[str] = "separate-constants"
    keeps_types: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    needs_types: ClassVar[bool] = False

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Copy the constants of a graph and its subgraphs for all readers but the first."""
        copies = 0
        for inner in list(graph.walk_graphs()):
            for value in list(_shared(inner)):
                assert value.const is not None, "it is constant"
                if not ctx.applications.admits(self.name, value.name):
                    continue
                for node, position in list(value.uses)[1:]:
                    node.replace_input(position, inner.add_constant(value.const, value.name))
                    copies += 1
                ctx.applications.record(self.name, value.name)
        return PassResult(changed=copies > 0, stats={"copies": copies} if copies else {})


def _shared(graph: Graph) -> Iterator[Value]:
    """Vectors of floats that several nodes read, and nobody else."""
    for value in graph.initializers():
        constant = value.const
        if constant is None or not value.is_constant or value.is_input or value.is_graph_output or value.use_count < 2:
            continue
        is_vector = constant.size and sum(size > 1 for size in constant.shape) == 1
        if is_vector and constant.dtype.is_float and not constant.is_sparse:
            yield value
