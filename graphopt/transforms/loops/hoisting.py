"""Moves what is the same in each turn of a Loop or Scan to before it.

A node of the body moves when all that it reads comes from around the body, its operator is pure, and it can't fail: either the body
runs in any case, or the operator takes every tensor of its type. Its results keep their numbers; they are computed once. A node whose
result the body gives out stays, and so do nodes that hold subgraphs and those that only depend on constants, which are folded.

Exact. Needs types for the lengths of a Scan; touches no weights.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar, Final, cast

from graphopt.ir import Graph, Node, Value
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.transforms.loops.trips import body_of, runs_at_least_once
from graphopt.transforms.purity import Purity

__all__ = ["HoistLoopInvariants"]

#: Operators that have an answer for every tensor of a type that they take; axes that they state can be wrong for a rank.
_TOTAL: Final = frozenset(
    {"Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "HardSigmoid", "IsNaN", "LeakyRelu", "Log", "Neg", "Not", "Reciprocal", "Relu", "Shape",
     "Sigmoid", "Sign", "Sin", "Size", "Softplus", "Softsign", "Sqrt", "Tanh"}
)  # fmt: skip
#: Moving these alone gains nothing.
_FREE: Final = frozenset({"Identity", "Constant"})


@dataclass(frozen=True)
class HoistLoopInvariants(Pass):
    """Compute once, before a Loop or Scan, what its body computes alike in each turn. Exact; idempotent; of nested loops in one run."""

    name: ClassVar[str] = "hoist-loop-invariants"
    idempotent: ClassVar[bool] = True
    keeps_types: ClassVar[bool] = True

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Look at the loops of a graph and its subgraphs, inner ones first."""
        purity = Purity(graph)
        stats: Counter[str] = Counter()
        loops = [node for node in graph.walk() if body_of(node) is not None]
        for loop in reversed(loops):
            stats["nodes"] += self._hoist(loop, cast(Graph, body_of(loop)), ctx, purity)
        return PassResult(changed=stats["nodes"] > 0, stats={name: count for name, count in stats.items() if count})

    def _hoist(self, loop: Node, body: Graph, ctx: PassContext, purity: Purity) -> int:
        around = cast(Graph, loop.graph)
        always = runs_at_least_once(loop)
        moved = 0
        for node in body.nodes:
            if node.op in _FREE or node.subgraphs or not (always or node.op in _TOTAL) or not purity.of(node):
                continue
            if any(value.is_graph_output for value in node.outputs) or not _is_invariant(node, body):
                continue
            site = node.outputs[0].name
            if not ctx.applications.admits(self.name, site):
                continue
            self._move(node, loop, body, around)
            ctx.applications.record(self.name, site)
            moved += 1
        return moved

    @staticmethod
    def _move(node: Node, loop: Node, body: Graph, around: Graph) -> None:
        """Put a node before the loop, its constants with it; what is visible in more graphs than before gets a name of its own."""
        for index, value in enumerate(node.inputs):
            if value is not None and value.graph is body and value.const is not None:
                node.replace_input(index, around.add_constant(value.const, value.name))
                if not value.is_used:
                    body.remove_initializer(value)
        around.move_before(loop, node)
        if node.name:
            node.name = around.fresh_name(node.name)
        for value in node.outputs:
            if value.name:
                value.name = around.fresh_name(value.name)


def _is_invariant(node: Node, body: Graph) -> bool:
    """Whether a node reads values from around the body, and constants of it at most beside."""
    given = [value for value in node.inputs if value is not None]
    constants = [value for value in given if value.is_constant]
    return len(constants) < len(given) and all(value.is_constant or not _is_inside(value, body) for value in given)


def _is_inside(value: Value, body: Graph) -> bool:
    return value.home is body
