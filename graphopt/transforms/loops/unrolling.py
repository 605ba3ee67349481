"""Puts the turns of a short Loop one after the other.

``Loop(N, true, v, body)`` with a constant ``N`` and a body that never stops it becomes ``N`` copies of the body; what a body gives for
each turn is joined along a new first axis, ``Concat(Unsqueeze(s, 0), ...)``. Copies of small bodies let other passes see through the
turns, and spare a runtime the cost of calling a body. Exact. Source: https://onnx.ai/onnx/operators/onnx__Loop.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, cast

import msgspec
import numpy as np

from graphopt.ir import Graph, Node, TensorType, Value, inline_graph
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.rewriting import Rewriter
from graphopt.transforms.loops.trips import body_of, known_trips
from graphopt.transforms.operands import with_first_axis

__all__ = ["UnrollLoops"]

_Count = Annotated[int, msgspec.Meta(ge=0)]


@dataclass(frozen=True)
class UnrollLoops(Pass):
    """Put the turns of a Loop with few turns and a small body one after the other. Exact; idempotent; inner loops first.

    Attributes:
        max_trips: loops with more turns stay.
        max_nodes: loops that would become more nodes than this stay.
    """

    name: ClassVar[str] = "unroll-loops"
    idempotent: ClassVar[bool] = True
    max_trips: _Count = 16
    max_nodes: _Count = 64

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Unroll the loops of a graph and its subgraphs."""
        rewriter = Rewriter(ctx.types)
        found = 0
        loops = [node for node in graph.walk() if node.op == "Loop"]
        for node in reversed(loops):
            body = body_of(node)
            trips = None if body is None else known_trips(node, body)
            if body is None or trips is None or not self._is_short(trips, body) or not _is_plain(node, body):
                continue
            site = node.outputs[0].name if node.outputs else node.name
            if not ctx.applications.admits(self.name, site):
                continue
            rewriter.start(node)
            rewriter.finish(node, _unrolled(rewriter, node, body, trips))
            ctx.applications.record(self.name, site)
            found += 1
        return PassResult(changed=found > 0, stats={"loops": found} if found else {})

    def _is_short(self, trips: int, body: Graph) -> bool:
        scans = len(body.outputs) - 1 - (len(body.inputs) - 2)
        nodes = sum(1 for _ in body.walk()) + max(scans, 0)
        return 2 <= trips <= self.max_trips and trips * nodes <= self.max_nodes


def _is_plain(node: Node, body: Graph) -> bool:
    """Whether each state has an initial value, the counter and the condition are scalars, and what is collected are tensors."""
    initial = node.inputs[2:]
    if None in initial or len(body.inputs) != len(initial) + 2 or len(body.outputs) != len(node.outputs) + 1:
        return False
    if any(value.const is not None for value in body.inputs) or any((value.rank or 0) > 1 for value in body.inputs[:2]):
        return False
    collected = body.outputs[1 + len(initial) :]
    return all(value.type is None or isinstance(value.type, TensorType) for value in collected)


def _unrolled(rw: Rewriter, node: Node, body: Graph, trips: int) -> list[Value]:
    """The final states, then what was collected of each scan output."""
    count, goes_on = body.inputs[:2]
    state = [cast(Value, value) for value in node.inputs[2:]]
    collected: list[list[Value]] = [[] for _ in body.outputs[1 + len(state) :]]
    for turn in range(trips):
        given = {count: count, goes_on: goes_on}
        if count.is_used:
            given[count] = rw.constant(np.full((1,) * (count.rank or 0), turn, np.int64), count.name)
        if goes_on.is_used or goes_on.is_graph_output:
            given[goes_on] = rw.constant(np.ones((1,) * (goes_on.rank or 0), np.bool_), goes_on.name)
        given.update(zip(body.inputs[2:], state, strict=True))
        found = inline_graph(body, node, given)
        outputs = [found[value] for value in body.outputs[1:]]
        state = outputs[: len(state)]
        for turns, value in zip(collected, outputs[len(state) :], strict=True):
            turns.append(with_first_axis(rw, value))
    joined = [rw.new_node("Concat", turns, attributes={"axis": 0}).output for turns in collected]
    return [*state, *joined]
