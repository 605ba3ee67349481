"""What a graph costs to run: floating-point operations, bytes moved, parameters; with symbolic sizes where the graph has them.

Answers are as good as the types on the values: infer those first. A node whose cost is not known is counted as such, never guessed.
May import :mod:`graphopt.ir` only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from graphopt.analysis.op_flops import ShapeOf, bound_shape, flops_of
from graphopt.ir import (
    Constant,
    Dim,
    DType,
    Graph,
    GraphOwner,
    Model,
    Node,
    Shape,
    SymbolicDim,
    TensorType,
    Value,
    dim_max,
    dim_product,
)

__all__ = ["GraphCost", "NodeCost", "cost_of_graph", "cost_of_node", "parameter_count"]

#: Element types of shapes, indices, conditions and text: their constants are no parameters.
_NO_PARAMETERS = frozenset(
    {DType.INT32, DType.INT64, DType.UINT32, DType.UINT64, DType.BOOL, DType.STRING, DType.UNDEFINED}
)


#: Operators that read as much of their first input as they give, and those that read nothing of it but its sizes.
_PARTS = frozenset({"Gather", "GatherElements", "GatherND", "Slice"})
_SIZES_ONLY = frozenset({"Shape", "Size"})


@dataclass(frozen=True, slots=True)
class NodeCost:
    """What one run of a node costs.

    Attributes:
        flops: floating-point operations, a multiply-accumulate counted as two; ``None`` when not known.
        bytes: bytes of all that it reads and gives, packed as stored; ``None`` when not known. What selects from a tensor reads as much of
            it as it gives.
    """

    flops: Dim
    bytes: Dim


@dataclass(slots=True)
class GraphCost:
    """What one run of a graph costs.

    Attributes:
        flops: sum over the nodes whose cost is known.
        bytes: bytes read and given, summed over the nodes where these are known.
        flops_by_op: the same sum by operator.
        unknown: nodes whose operations are not known, by operator.
        unsized: how many nodes read or give something whose size is not known.
    """

    flops: Dim = 0
    bytes: Dim = 0
    flops_by_op: dict[str, Dim] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    unsized: int = 0


class _Shapes:
    """Shapes of values with sizes bound; each distinct shape is bound once."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = dict(sizes)
        self._bound: dict[Shape, Shape] = {}

    def __call__(self, value: Value | None) -> Shape | None:
        shape = None if value is None else value.shape
        if shape is None or not self._sizes:
            return shape
        found = self._bound.get(shape)
        if found is None:
            found = self._bound[shape] = bound_shape(shape, self._sizes)
        return found


def _tensor_bytes(value: Value, shape_of: ShapeOf) -> Dim:
    if value.const is not None:
        return value.const.nbytes
    kind, shape = value.type, shape_of(value)
    if not isinstance(kind, TensorType) or shape is None or not kind.dtype.bits:
        return None
    count = dim_product(shape)
    if count is None:
        return None
    if kind.dtype.bits % 8 == 0:
        return count * (kind.dtype.bits // 8)
    return (count * kind.dtype.bits + 7) // 8


def _sum(parts: Iterable[Dim]) -> Dim:
    """The sum, by halves: expressions with many symbols then cost n log n, not n squared."""
    left: list[int | SymbolicDim] = [part for part in parts if part is not None]
    while len(left) > 1:
        pairs = zip(left[::2], left[1::2], strict=False)
        left = [a + b for a, b in pairs] + left[len(left) // 2 * 2 :]
    return left[0] if left else 0


def cost_of_node(node: Node, sizes: Mapping[str, int] | None = None) -> NodeCost:
    """What one run of a node costs, without the graphs inside it.

    Args:
        node: any node; its values should have types.
        sizes: numbers for symbolic dimensions, by name.

    Example:
        >>> from graphopt.ir import DType, Node, SymbolicDim, TensorType, Value
        >>> x = Value("x", TensorType(DType.FLOAT, (SymbolicDim("batch"), 10)))
        >>> y = Value("y", TensorType(DType.FLOAT, (SymbolicDim("batch"), 10)))
        >>> cost = cost_of_node(Node("Relu", [x], [y]))
        >>> str(cost.flops), str(cost.bytes)
        ('batch*10', 'batch*80')
        >>> cost_of_node(Node("Relu", [x], [y]), {"batch": 2}).flops
        20
    """
    return _cost(node, _Shapes(sizes or {}))


def _cost(node: Node, shape_of: ShapeOf) -> NodeCost:
    moved: int | SymbolicDim | None = 0
    inputs = list(node.inputs)
    if inputs and node.op in _PARTS:
        inputs[0] = None
        moved = _tensor_bytes(node.outputs[0], shape_of)
    elif inputs and node.op in _SIZES_ONLY:
        inputs[0] = None
    for value in dict.fromkeys((*inputs, *node.outputs)):
        if value is None or not value.name:
            continue
        part = _tensor_bytes(value, shape_of)
        moved = None if part is None or moved is None else moved + part
    return NodeCost(flops_of(node, shape_of), moved)


def _trip_count(node: Node) -> int | None:
    first = node.input_at(0)
    count = first.array() if first is not None else None
    return None if count is None or count.size != 1 else max(0, int(count.reshape(-1)[0]))


def _add_subgraphs(total: GraphCost, node: Node, shape_of: ShapeOf) -> Dim:
    """Operations of the graphs inside a node: the larger branch of an If, a Loop's body for each trip."""
    inner = [_cost_of(graph, shape_of) for graph in node.subgraphs]
    for graph_cost in inner:
        total.unknown.update(graph_cost.unknown)
        total.unsized += graph_cost.unsized
    flops = [graph_cost.flops for graph_cost in inner]
    if node.op == "If" and len(flops) == 2 and flops[0] is not None and flops[1] is not None:
        return dim_max(flops[0], flops[1])
    trips = _trip_count(node) if node.op == "Loop" else None
    return None if trips is None or flops[0] is None else flops[0] * trips


def _cost_of(graph: Graph, shape_of: ShapeOf) -> GraphCost:
    total = GraphCost()
    flops: dict[str, list[Dim]] = {}
    moved: list[Dim] = []
    for node in graph.nodes:
        cost = _cost(node, shape_of)
        work = _add_subgraphs(total, node, shape_of) if node.subgraphs else cost.flops
        moved.append(cost.bytes)
        if work is None:
            total.unknown[node.op] += 1
        elif work != 0:
            flops.setdefault(node.op, []).append(work)
    total.flops_by_op = {op: _sum(parts) for op, parts in flops.items()}
    total.flops = _sum(total.flops_by_op.values())
    total.bytes = _sum(moved)
    total.unsized += sum(part is None for part in moved)
    return total


def cost_of_graph(graph: Graph | GraphOwner, sizes: Mapping[str, int] | None = None) -> GraphCost:
    """What one run of a graph costs.

    A call of a function and an operator that nobody knows are counted as unknown; an If counts as its larger branch, a Loop with a
    constant trip count as its body that many times.

    Args:
        graph: a graph, or a model for its main graph.
        sizes: numbers for symbolic dimensions, by name.
    """
    return _cost_of(graph if isinstance(graph, Graph) else graph.graph, _Shapes(sizes or {}))


def parameter_count(model: Model) -> int:
    """Elements of all weights: constants in initializers and Constant nodes, but not shapes, indices, conditions and text."""
    total = 0
    for graph in model.graphs():
        constants = [value.const for value in graph.initializers()]
        for node in graph.nodes:
            if node.op_type == "Constant":
                constants += [item.value for item in node.attributes.values() if isinstance(item.value, Constant)]
        total += sum(const.size for const in constants if const is not None and const.dtype not in _NO_PARAMETERS)
    return total
