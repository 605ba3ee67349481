"""What a graph costs with some indices fewer, found from the sizes of its tensors without touching it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from graphopt.analysis.cost_model import CostModel
from graphopt.analysis.dim_groups import DimGroups, Extent, Leaf, Product
from graphopt.analysis.op_flops import bound_shape, flops_of
from graphopt.ir import Dim, Graph, Node, Shape, SymbolicDim, TensorType, Value, symbols_of

__all__ = ["Costs", "Kept"]

#: How many indices of leaves are kept.
Kept = Mapping[Leaf, int]
#: What dynamic sizes are taken to be, the first that leaves no tensor empty: costs are compared with each other only.
_DYNAMIC = (64, 512, 4096, 32768)


class Costs:
    """Costs of the nodes that a removal can make cheaper.

    Args:
        graph: the main graph.
        groups: its groups.
        leaves: of which indices may go.
        model: coefficients to estimate times with; ``None`` to count operations.
    """

    def __init__(self, graph: Graph, groups: DimGroups, leaves: set[Leaf], model: CostModel | None = None) -> None:
        self._groups = groups
        self._model = model
        extents = groups.follow.extents
        self._touched: dict[Value, list[Extent]] = {
            value: axes
            for value, axes in groups.follow.known().items()
            if axes is not None and any(leaf in leaves for extent in axes for leaf in extents.leaves(extent))
        }
        self._sizes = _sizes(graph)
        self._values: dict[Leaf, list[Value]] = {}
        for value, axes in self._touched.items():
            for leaf in dict.fromkeys(leaf for extent in axes for leaf in extents.leaves(extent)):
                self._values.setdefault(leaf, []).append(value)
        self._nodes: dict[Value, list[Node]] = {}
        self._costs: dict[Node, float] = {}
        for node in graph.walk():
            self._costs[node] = self._cost(node, {})
            for read in (*node.inputs, *node.outputs):
                if read is not None and read in self._touched:
                    self._nodes.setdefault(read, []).append(node)
        self._shapes: dict[Value, Shape] = {}
        self._kept: dict[Leaf, int] = {}

    def total(self, kept: Kept) -> float:
        """Operations, or seconds, of the whole graph. Only what differs from the last question is worked out."""
        changed = [leaf for leaf in {**self._kept, **kept} if self._kept.get(leaf) != kept.get(leaf)]
        self._kept = dict(kept)
        values = dict.fromkeys(value for leaf in changed for value in self._values.get(leaf, ()))
        for value in values:
            self._shapes[value] = self._shape(value, self._touched[value], kept)
        nodes = dict.fromkeys(node for value in values for node in self._nodes.get(value, ()))
        if self._model is None:
            self._costs.update({node: self._cost(node, self._shapes) for node in nodes})
        else:
            with _typed(self._shapes):
                self._costs.update({node: self._cost(node, self._shapes) for node in nodes})
        return math.fsum(self._costs.values())

    def _cost(self, node: Node, shapes: Mapping[Value, Shape]) -> float:
        if self._model is not None:
            return self._model.seconds_of(node, self._sizes) or 0.0

        def shape_of(value: Value | None) -> Shape | None:
            shape = None if value is None else shapes.get(value, value.shape)
            return None if shape is None else bound_shape(shape, self._sizes)

        found = flops_of(node, shape_of)
        return float(found) if isinstance(found, int) else 0.0

    def _shape(self, value: Value, axes: list[Extent], kept: Kept) -> Shape:
        stated = value.shape or tuple(extent.size for extent in axes)
        return tuple(
            self._size(extent, kept) if isinstance(dim, int) else dim for dim, extent in zip(stated, axes, strict=True)
        )

    def _size(self, extent: Extent, kept: Kept) -> Dim:
        found = self._groups.follow.extents.resolve(extent)
        if isinstance(found, Leaf):
            return kept.get(found, found.size)
        inner = [self._size(item, kept) for item in (found.factors if isinstance(found, Product) else found.parts)]
        total: int | SymbolicDim = 1 if isinstance(found, Product) else 0
        for size in inner:
            if size is None:
                return None
            total = total * size if isinstance(found, Product) else total + size
        return total


def _sizes(graph: Graph) -> dict[str, int]:
    """Numbers for dynamic sizes."""
    shapes = {value.shape for node in graph.walk() for value in node.outputs if value.shape is not None}
    names = frozenset().union(*map(symbols_of, shapes), *(symbols_of(value.shape) for value in graph.inputs))
    found: dict[str, int] = {}
    for size in _DYNAMIC:
        found = dict.fromkeys(names, size)
        if all(not isinstance(dim, int) or dim > 0 for shape in shapes for dim in bound_shape(shape, found)):
            break
    return found


@contextmanager
def _typed(shapes: Mapping[Value, Shape]) -> Iterator[None]:
    """Values have other shapes for a while."""
    before = {value: value.type for value in shapes}
    try:
        for value, shape in shapes.items():
            if isinstance(value.type, TensorType):
                value.type = value.type.with_shape(shape)
        yield
    finally:
        for value, kind in before.items():
            value.type = kind
