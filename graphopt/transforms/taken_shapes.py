"""Sizes that are computed although a tensor has them: what several nodes work out becomes the Shape of that tensor.

Exporters that trace sizes compute each from the model's inputs: ``(h - 1) // 8 + 1`` for the height of a tensor of features, to enlarge
another one to it. Where symbolic inference finds the same expressions along neighbouring axes of a tensor that is there before, Shape takes
them from it. Exact; needs types; two walks, linear in nodes. Source: https://onnx.ai/onnx/operators/onnx__Shape.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from graphopt.analysis import ShapeValues
from graphopt.analysis.integer_ops import EVALUATORS
from graphopt.ir import Dim, DType, Graph, Node, Value
from graphopt.passes import PassContext
from graphopt.rewriting import Rewriter

__all__ = ["take_shapes"]

#: Since then Shape takes some of the axes.
_SINCE_PARTS = 15
#: More nodes are not counted to see that it pays.
_ENOUGH = 2
_MOST_AXES = 8


def take_shapes(graph: Graph, ctx: PassContext, pass_name: str) -> int:
    """Put Shape nodes in the place of computed sizes, where that saves nodes; how many were put.

    Args:
        graph: with its subgraphs.
        ctx: admits edits.
        pass_name: whose edits they are.
    """
    values = ShapeValues()
    return sum(_Taker(inner, values, ctx, pass_name).run() for inner in list(graph.walk_graphs()))


@dataclass
class _Taker:
    """One graph, without its subgraphs.

    Attributes:
        nearest: for sizes that are wanted, the last tensor that has them so far, and along which axes.
    """

    graph: Graph
    values: ShapeValues
    ctx: PassContext
    pass_name: str
    nearest: dict[tuple[Dim, ...], tuple[Value, int]] = field(default_factory=dict)

    def run(self) -> int:
        wanted = {node: sizes for node in self.graph.nodes if (sizes := self._sizes(node))}
        if not wanted:
            return 0
        contents = set(wanted.values())
        for value in self.graph.inputs:
            self._note(value, contents)
        rewriter, taken = Rewriter(self.ctx.types), 0
        for node in self.graph.nodes:
            sizes = wanted.get(node, ())
            if sizes in self.nearest and self._take(node, sizes, rewriter):
                taken += 1
                continue
            for value in node.outputs:
                self._note(value, contents)
        return taken

    def _sizes(self, node: Node) -> tuple[Dim, ...] | None:
        """What a node gives, if it is a list of sizes that are not all numbers and takes several nodes."""
        if node.op not in EVALUATORS or node.op == "Shape" or len(node.outputs) != 1:
            return None
        output = node.output
        if output.dtype is not DType.INT64 or output.rank != 1 or output.graph_outputs or not output.is_used:
            return None
        found = self.values.of(output)
        if found is None or None in found.elements or found.numbers is not None:
            return None
        return found.elements if len(list(islice(_alone(node), _ENOUGH))) == _ENOUGH else None

    def _note(self, value: Value, contents: set[tuple[Dim, ...]]) -> None:
        """Remember a tensor that has sizes which are wanted."""
        shape = value.shape
        if not shape or None in shape or len(shape) > _MOST_AXES:
            return
        parts = (self.graph.opset() or 0) >= _SINCE_PARTS
        for start in range(len(shape) if parts else 1):
            for end in range(start + 1 if parts else len(shape), len(shape) + 1):
                if shape[start:end] in contents:
                    self.nearest[shape[start:end]] = value, start

    def _take(self, node: Node, sizes: tuple[Dim, ...], rewriter: Rewriter) -> bool:
        site, (source, start) = node.output.name, self.nearest[sizes]
        if not self.ctx.applications.admits(self.pass_name, site):
            return False
        rewriter.start(node)
        whole = len(sizes) == source.rank
        parts: dict[str, object] = {} if whole else {"start": start, "end": start + len(sizes)}
        rewriter.finish(node, [rewriter.new_node("Shape", [source], attributes=parts).output])
        self.ctx.applications.record(self.pass_name, site)
        return True


def _alone(node: Node) -> Iterator[Node]:
    """The nodes that nobody needs any more without one of them, itself first; as many as are asked for."""
    gone: dict[Node, None] = {}
    todo = [node]
    while todo:
        found = todo.pop()
        gone[found] = None
        yield found
        for value in found.inputs:
            producer = None if value is None else value.producer
            if producer is None or producer in gone or producer.graph is not node.graph:
                continue
            if all(user in gone for output in producer.outputs for user in output.users) and not any(
                output.graph_outputs for output in producer.outputs
            ):
                todo.append(producer)
