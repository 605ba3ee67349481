"""Finds the constant region: the nodes that compute the same numbers in every run.

A node belongs to it when all its inputs are constants or come from the region (captured values too), when it is pure, its operator has
a schema, and somebody can compute it. A node with subgraphs belongs to it as a whole or not at all.

Left out: DequantizeLinear, which is how models spell quantized weights (backends look for it); copies at graph outputs (the place where
a constant needs a node to be given out); references to attributes of a function; results that no limit holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from graphopt.ir import Array, Constant, Graph, Node, TensorType, Value, constant_of_node
from graphopt.transforms.constant_folding.kernels import KERNELS, run_kernel
from graphopt.transforms.constant_folding.sizes import size_of
from graphopt.transforms.purity import Purity

__all__ = ["Region", "find_region"]

_SMALL = 1 << 12
_UNKNOWN_BYTES = 1 << 15
_MOST_TRIPS = 1000
_BARRIERS = frozenset({"DequantizeLinear"})
#: Operators whose result takes as many bytes as their first input.
_SAME_SIZE = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
#: Operators whose result may be far larger than their inputs: never computed unless their types say how large it is.
_GENERATORS = frozenset({
    "CenterCropPad", "ConstantOfShape", "Expand", "EyeLike", "MatMul", "OneHot", "Pad", "Range", "Resize", "ReverseSequence", "Tile",
    "Upsample", "Einsum", "Gather", "GatherND", "Gemm", "Where", "BlackmanWindow", "HannWindow", "HammingWindow", "MelWeightMatrix",
})  # fmt: skip


@dataclass(slots=True)
class Region:
    """The constant region of a graph and its subgraphs.

    Attributes:
        nodes: in an order in which they can be computed, mapped to their position.
        sources: Constant nodes that it reads.
        inside: the node of the region that each node of its subgraphs is part of.
        arrays: small results that are known already.
        sizes: bytes of results whose types don't say it.
    """

    nodes: dict[Node, int] = field(default_factory=dict)
    sources: dict[Node, Constant] = field(default_factory=dict)
    inside: dict[Node, Node] = field(default_factory=dict)
    arrays: dict[Value, Array] = field(default_factory=dict)
    sizes: dict[Value, int] = field(default_factory=dict)

    def size_of(self, value: Value) -> int | None:
        """Bytes that a value takes as a dense constant, ``None`` when nobody can tell."""
        constant = self.constant_of(value)
        if constant is not None:
            return constant.dtype.storage_bytes(constant.size) if constant.is_sparse else constant.nbytes
        array = self.arrays.get(value)
        if array is not None:
            return array.nbytes
        found = size_of(value)
        return self.sizes.get(value) if found is None else found

    def constant_of(self, value: Value) -> Constant | None:
        """The constant that a value is, or that its Constant node gives; ``None`` for computed values."""
        if value.const is not None:
            return value.const if value.is_constant else None
        return None if value.producer is None else self.sources.get(value.producer)

    def array_of(self, value: Value) -> Array | None:
        """The numbers of a constant or of a result that is known."""
        found = self.arrays.get(value)
        if found is None and (constant := self.constant_of(value)) is not None:
            return constant.numpy()
        return found

    def is_small(self, value: Value) -> bool:
        """Whether the numbers are known and few."""
        if value in self.arrays:
            return True
        constant = self.constant_of(value)
        return constant is not None and constant.size <= _SMALL


@dataclass(frozen=True, slots=True)
class _Limits:
    has_executor: bool
    max_bytes: int
    refused: frozenset[Node]


def find_region(
    graph: Graph, *, has_executor: bool, max_bytes: int, refused: frozenset[Node], known: dict[Value, Array]
) -> Region:
    """The constant region of a graph and its subgraphs; small results are computed on the way.

    Args:
        graph: the outermost graph of a model or function.
        has_executor: whether operators without a numpy kernel can be computed.
        max_bytes: nothing larger is computed.
        refused: nodes that can't be computed, found out earlier.
        known: results that are known from earlier.
    """
    region = Region(arrays=known)
    limits = _Limits(has_executor, max_bytes, refused)
    purity = Purity(graph)
    stack: list[Iterator[Node]] = [iter(graph.nodes)]
    while stack:
        node = next(stack[-1], None)
        if node is None:
            stack.pop()
        elif node.op == "Constant":
            if (constant := constant_of_node(node)) is not None:
                region.sources[node] = constant
        elif _has_constant_inputs(node, region) and _is_foldable(node, region, purity, limits):
            region.nodes[node] = len(region.nodes)
            _note_inside(node, region)
        elif node.subgraphs:
            stack.extend(iter(inner.nodes) for inner in reversed(node.subgraphs))
    return region


def _has_constant_inputs(node: Node, region: Region) -> bool:
    for value in node.inputs:
        if value is None:
            continue
        if value.const is not None:
            if value.is_input and not value.is_constant:
                return False
        elif value.producer is None or (value.producer not in region.nodes and value.producer not in region.sources):
            return False
    return bool(node.outputs)


def _is_foldable(node: Node, region: Region, purity: Purity, limits: _Limits) -> bool:
    if node in limits.refused or node.op in _BARRIERS or node.has_references or not purity.of_all(node):
        return False
    if node.schema is None or (node.op == "Identity" and node.output.graph_outputs):
        return False
    if node.subgraphs and not (_captures_constants(node, region) and _runs_briefly(node, region)):
        return False
    if all(value in region.arrays for value in node.outputs) or _compute_small(node, region):
        return True
    if not limits.has_executor and node.op not in KERNELS:
        return False
    return _fits(node, region, limits.max_bytes)


def _captures_constants(node: Node, region: Region) -> bool:
    """Whether the subgraphs of a node read nothing from around it but constants and the region."""
    inner_graphs = {inner for graph in node.subgraphs for inner in graph.walk_graphs()}
    read = [value for graph in inner_graphs for inner in graph.nodes for value in inner.inputs if value is not None]
    read += [value for graph in inner_graphs for value in graph.outputs]
    if any(inner.has_references for graph in inner_graphs for inner in graph.nodes):
        return False
    return all(
        value.home in inner_graphs
        or (value.const is not None and value.is_constant)
        or value.producer in region.nodes
        or value.producer in region.sources
        for value in read
    )


def _runs_briefly(node: Node, region: Region) -> bool:
    """Whether each Loop of a node, itself or inside, has a known and small number of trips."""
    inside = [inner for graph in node.subgraphs for inner in graph.walk() if inner.op == "Loop"]
    for loop in [node, *inside] if node.op == "Loop" else inside:
        trips = loop.input_at(0)
        number = None if trips is None or not region.is_small(trips) else region.array_of(trips)
        if number is None or number.size != 1 or int(number.reshape(-1)[0]) > _MOST_TRIPS:
            return False
    return True


def _compute_small(node: Node, region: Region) -> bool:
    """Compute a node in numpy if its inputs are few numbers and its results are."""
    if node.op not in KERNELS:
        return False
    inputs: list[Array | None] = []
    for value in node.inputs:
        if value is not None and not region.is_small(value):
            return False
        inputs.append(None if value is None else region.array_of(value))
    found = run_kernel(node, inputs, _SMALL)
    if found is None:
        return False
    region.arrays.update(zip(node.outputs, found, strict=False))
    return True


def _fits(node: Node, region: Region, max_bytes: int) -> bool:
    """Whether the results are known to be, or can't be but, smaller than a limit."""
    if node.op in _SAME_SIZE and size_of(node.output) is None:
        size = None if node.inputs[0] is None else region.size_of(node.inputs[0])
        if size is not None:
            region.sizes[node.output] = size
    sizes = [region.size_of(value) for value in node.outputs if value.name or value.is_used]
    if None not in sizes:
        return sum(size or 0 for size in sizes) <= max_bytes
    if node.op in _GENERATORS:
        return False
    taken = 0
    for value in node.inputs:
        size = 0 if value is None else region.size_of(value)
        if size is None and value is not None and isinstance(value.type, TensorType):
            return False
        taken += size or 0
    region.sizes.update(dict.fromkeys(node.outputs, taken))  # a guess, held to when the result is there
    return taken <= min(max_bytes, _UNKNOWN_BYTES)


def _note_inside(node: Node, region: Region) -> None:
    for graph in node.subgraphs:
        for inner in graph.walk():
            region.inside[inner] = node
