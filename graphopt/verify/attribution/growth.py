"""Where an error starts and how it grows, from the errors of single values and the graph between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from graphopt.analysis.model_survey import label_of
from graphopt.ir import Graph, Node, Value
from graphopt.verify.attribution.result import Layer, Start, Step

__all__ = ["Growth", "follow_errors"]

_MOST_NODES: Final = 8
_MOST_STEPS: Final = 200


@dataclass(frozen=True, slots=True)
class Growth:
    """What the graph says about the errors.

    Attributes:
        layers: with the errors before them.
        starts: wrong values before which nothing is wrong.
        path: from where it starts to the worst output.
    """

    layers: tuple[Layer, ...]
    starts: tuple[Start, ...]
    path: tuple[Step, ...]


def follow_errors(graph: Graph, layers: Sequence[Layer], producers: Mapping[str, str]) -> Growth:
    """Follow the errors of values through a graph.

    Args:
        graph: main graph of the first model.
        layers: what was measured, in the order of the graph.
        producers: the nodes of the other model by the value that they give.
    """
    return _Follower(graph, layers).follow(producers)


class _Follower:
    def __init__(self, graph: Graph, layers: Sequence[Layer]) -> None:
        self.graph = graph
        self.layers = {layer.name: layer for layer in layers}
        self.reads = {node: tuple(_reads(node, graph)) for node in graph.nodes}
        #: Of values, compared or not: the largest error nearest before them, and whether anything before them is wrong.
        self.above: dict[Value, float] = {}
        self.tainted: dict[Value, bool] = {}

    def follow(self, producers: Mapping[str, str]) -> Growth:
        found: list[Layer] = []
        starts: list[Start] = []
        for node in self.graph.nodes:
            above = max((self._error_at(value) for value in self.reads[node]), default=0.0)
            tainted = any(self._is_wrong(value) or self.tainted.get(value, False) for value in self.reads[node])
            for value in node.outputs:
                self.above[value], self.tainted[value] = above, tainted
                layer = self.layers.get(value.name) if value.name else None
                if layer is None:
                    continue
                found.append(replace(layer, above=above))
                if layer.error.status == "wrong" and not tainted:
                    starts.append(self._start(layer, node, producers))
        return Growth(tuple(found), tuple(starts), tuple(self._path()))

    def _layer(self, value: Value) -> Layer | None:
        return self.layers.get(value.name) if value.producer is not None else None

    def _error_at(self, value: Value) -> float:
        layer = self._layer(value)
        return layer.error.relative if layer is not None else self.above.get(value, 0.0)

    def _is_wrong(self, value: Value) -> bool:
        layer = self._layer(value)
        return layer is not None and layer.error.status == "wrong"

    def _start(self, layer: Layer, node: Node, producers: Mapping[str, str]) -> Start:
        nodes = [label_of(item) for item in self._between(node)]
        return Start(
            layer.name, layer.counterpart, tuple(nodes), producers.get(layer.counterpart, ""), layer.error.relative
        )

    def _between(self, node: Node) -> list[Node]:
        """A node and those before it up to values that were compared, nearest first; some of them where there are many."""
        found, todo = {node: None}, [node]
        while todo and len(found) < _MOST_NODES:
            for value in self.reads[todo.pop(0)]:
                producer = value.producer
                if (
                    producer is not None
                    and producer not in found
                    and self._layer(value) is None
                    and producer.op != "Constant"
                ):
                    found[producer] = None
                    todo.append(producer)
        return list(found)[:_MOST_NODES]

    # -- the way to the worst output ------------------------------------------------------------------------------------------

    def _path(self) -> Iterator[Step]:
        values = {value.name: value for node in self.graph.nodes for value in node.outputs if value.name in self.layers}
        outputs = [value for value in values.values() if value.is_graph_output] or list(values.values())
        here = max(outputs, key=lambda value: self.layers[value.name].error.relative, default=None)
        way: list[Layer] = []
        while here is not None and len(way) < _MOST_STEPS:
            layer = self.layers[here.name]
            if not layer.error.relative:
                break
            way.append(layer)
            here = max(self._before(here), key=self._error_at, default=None)
        before: Layer | None = None
        for layer in reversed(way):
            grown = None if before is None else _ratio(layer.error.relative, before.error.relative)
            yield Step(layer.name, layer.error.relative, grown)
            before = layer

    def _before(self, value: Value) -> list[Value]:
        """The nearest values before one that were compared."""
        found, todo, seen = [], [value], {value}
        while todo:
            producer = todo.pop().producer
            for read in self.reads.get(producer, ()) if producer is not None else ():
                if read in seen:
                    continue
                seen.add(read)
                if self._layer(read) is not None:
                    found.append(read)
                else:
                    todo.append(read)
        return found


def _ratio(error: float, before: float) -> float | None:
    return error / before if before and before != float("inf") else None


def _reads(node: Node, graph: Graph) -> Iterator[Value]:
    """Values of a graph that a node reads, inside its subgraphs too."""
    todo = [node]
    while todo:
        here = todo.pop()
        yield from (value for value in here.inputs if value is not None and (here is node or value.home is graph))
        for inner in here.subgraphs:
            yield from (value for value in inner.outputs if value.home is graph)
            todo.extend(inner.nodes)
