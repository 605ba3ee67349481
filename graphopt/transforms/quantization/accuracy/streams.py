"""Finds tensors whose channels may be scaled without changing what a model computes.

A stream is a set of tensors of the main graph that are tied: channel ``i`` of all of them may be multiplied by the same positive number,
which is made where they are written and undone where they are read. Linear layers read them (and divide a column of their weights);
linear layers, normalizations and constants write them (and multiply a row, or their own numbers); operators that commute with such a
scaling pass them on.

| operator | what it does with a stream |
|---|---|
| Conv, Gemm, MatMul with constant weights | reads one, writes another one |
| LayerNormalization, RMSNormalization over the last axis, SkipLayerNormalization | writes one |
| Relu, LeakyRelu, PRelu, Identity, Clip from 0 without an upper end | passes it on |
| MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool, Pad with zeros | passes it on, channels being axis 1 |
| Flatten, Reshape, Squeeze of [N, C, 1, ...] to [N, C] | passes it on |
| Add, Sum, Sub | ties its operands, or adds a constant |
| Mul by a constant | writes one |
| Mul with what a Sigmoid or HardSigmoid gives | passes the other operand on |

Anything else, graph inputs and outputs, tensors that subgraphs capture, and weights with other users or a note how to store them, end
that: the stream can't be scaled.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from graphopt.ir import Graph, Node, Value, constant_of
from graphopt.transforms.operands import ints_operand
from graphopt.transforms.quantization.static.roles import clip_bounds
from graphopt.transforms.statistics import LayerInput, read_layer

__all__ = ["Stream", "Writer", "find_streams"]

_ELEMENTWISE: Final = frozenset({"Relu", "LeakyRelu", "PRelu", "Identity"})
_POOLING: Final = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"})
_SUMS: Final = frozenset({"Add", "Sum", "Sub"})
_GATES: Final = frozenset({"Sigmoid", "HardSigmoid"})
#: Normalizations by the positions of their factor and of their term.
_NORMS: Final = {
    "LayerNormalization": (1, 2),
    "RMSNormalization": (1,),
    "com.microsoft::SkipLayerNormalization": (2, 3),
    "com.microsoft::SkipSimplifiedLayerNormalization": (2,),
}
#: Channel axes.
_FIRST: Final = 1
_LAST: Final = -1


@dataclass(frozen=True, slots=True)
class Writer:
    """What writes a stream: constants of a node, each with one number, or one row, for each channel.

    Attributes:
        node: the node.
        layer: its weights, ``None`` when it is no linear layer.
        positions: the inputs that have one number for each channel: a bias, a factor, a term.
    """

    node: Node
    layer: LayerInput | None
    positions: tuple[int, ...]


@dataclass(slots=True)
class Stream:
    """Tensors whose channels may be scaled together.

    Attributes:
        values: the tensors, in the order of the graph.
        writers: who gives them their scale.
        readers: the layers that read them.
        axis: of the channels: 1, or -1 for the last.
        channels: how many.
    """

    values: list[Value] = field(default_factory=list)
    writers: list[Writer] = field(default_factory=list)
    readers: list[LayerInput] = field(default_factory=list)
    axis: int = 0
    channels: int = 0


def find_streams(graph: Graph) -> list[Stream]:
    """The streams of a main graph whose channels may be scaled, in the order of the graph. Needs types."""
    found = _Collector(graph)
    for value in graph.values():
        if value.is_input or value.is_graph_output or any(use.node.graph is not graph for use in value.uses):
            found.fix(value)
    for node in graph.nodes:
        found.visit(node)
    return found.streams()


class _Collector:
    """Ties values, and notes who reads and writes them."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._parent: dict[Value, Value] = {}
        self._fixed: set[Value] = set()
        self._axes: defaultdict[Value, set[int]] = defaultdict(set)
        self._writers: list[tuple[Value, Writer]] = []
        self._readers: list[tuple[Value, LayerInput]] = []
        self._sums: list[Node] = []

    def fix(self, *values: Value | None) -> None:
        """Values that can't be scaled."""
        self._fixed.update(value for value in values if value is not None)

    def visit(self, node: Node) -> None:
        """Take a node into account."""
        layer = read_layer(node)
        if isinstance(layer, LayerInput):
            self._visit_layer(layer)
        elif node.op in _NORMS:
            self._visit_norm(node)
        elif node.op in _SUMS:
            self._visit_sum(node)
        elif node.op == "Mul":
            self._visit_product(node)
        elif self._passes_on(node):
            self._tie(node.inputs[0], node.output)
            self.fix(*node.inputs[1:], *node.outputs[1:])
        else:
            self.fix(*node.inputs, *node.outputs)

    def _visit_layer(self, layer: LayerInput) -> None:
        node, weight = layer.node, layer.weight
        self.fix(*node.inputs[2:])
        transposed = node.op == "Gemm" and node.int_attr("transA", 0)
        if transposed or weight.use_count > 1 or weight.is_graph_output or weight.is_input or weight.quantization:
            self.fix(layer.value, node.output)
            return
        if node.op != "Gemm":  # two axes: the first of the channels is the last
            axis = _FIRST if node.op == "Conv" else _LAST
            self._axes[layer.value].add(axis)
            self._axes[node.output].add(axis)
        self._readers.append((layer.value, layer))
        bias = node.input_at(2)
        numbers = constant_of(bias)
        if bias is None:
            self._writers.append((node.output, Writer(node, layer, ())))
        elif numbers is not None and numbers.shape in ((layer.outputs,), (1, layer.outputs)):
            self._writers.append((node.output, Writer(node, layer, (2,))))
        else:
            self.fix(node.output)

    def _visit_norm(self, node: Node) -> None:
        positions = [at for at in _NORMS[node.op] if node.input_at(at) is not None]
        self.fix(*node.inputs, *node.outputs[1:])
        rank = node.output.rank
        axis = node.int_attr("axis", _LAST)
        if (
            (axis != _LAST and (rank is None or axis != rank - 1))
            or not positions
            or not self._are_vectors(node, positions)
        ):
            self.fix(node.output)
            return
        self._axes[node.output].add(_LAST)
        self._writers.append((node.output, Writer(node, None, tuple(positions))))

    def _are_vectors(self, node: Node, positions: list[int]) -> bool:
        constants = [constant_of(node.input_at(at)) for at in positions]
        return all(item is not None and item.ndim == 1 and item.dtype.is_float for item in constants)

    def _visit_sum(self, node: Node) -> None:
        tied = [value for value in node.inputs if value is not None and constant_of(value) is None]
        if not tied:
            self.fix(node.output)
            return
        self._tie(node.output, *tied)
        self._sums.append(node)
        for at, value in enumerate(node.inputs):
            if constant_of(value) is not None:
                self._writers.append((node.output, Writer(node, None, (at,))))

    def _visit_product(self, node: Node) -> None:
        """By a constant: that writes a new stream. By a gate: that passes the other operand on."""
        operands = [value for value in node.inputs if value is not None]
        constants = [at for at, value in enumerate(operands) if constant_of(value) is not None]
        gates = [value for value in operands if value.producer is not None and value.producer.op in _GATES]
        if len(constants) == 1:
            self.fix(*operands)
            self._sums.append(node)
            self._writers.append((node.output, Writer(node, None, tuple(constants))))
        elif len(gates) == 1 and len(set(operands)) == 2:
            self.fix(*gates)
            (other,) = (value for value in operands if value is not gates[0])
            self._tie(other, node.output)
            if other.shape is None or other.shape != node.output.shape:  # the gate may have more channels
                self.fix(node.output)
        else:
            self.fix(*operands, node.output)

    def _passes_on(self, node: Node) -> bool:
        """Whether a node of one operand commutes with scaling its channels."""
        if node.op in _ELEMENTWISE:
            return node.op != "PRelu" or constant_of(node.input_at(1)) is not None
        if node.op == "Clip":
            return clip_bounds(node) == (0.0, float("inf"))
        if node.op in _POOLING or (node.op == "Pad" and _is_zero_pad(node)) or _drops_ones(node):
            self._axes[node.output].add(_FIRST)
            return True
        return False

    # -- what was found -------------------------------------------------------------------------------------------------------

    def _root(self, value: Value) -> Value:
        while (above := self._parent.setdefault(value, value)) is not value:
            self._parent[value] = self._parent[above]
            value = above
        return value

    def _tie(self, *values: Value | None) -> None:
        roots = [self._root(value) for value in values if value is not None]
        for root in roots[1:]:
            self._parent[root] = self._root(roots[0])

    def streams(self) -> list[Stream]:
        """Those that may be scaled."""
        made: defaultdict[Value, Stream] = defaultdict(Stream)
        blocked = {self._root(value) for value in self._fixed}
        axes: defaultdict[Value, set[int]] = defaultdict(set)
        for value in self._graph.values():
            made[self._root(value)].values.append(value)
            axes[self._root(value)] |= self._axes[value]
        for value, writer in self._writers:
            made[self._root(value)].writers.append(writer)
        for value, reader in self._readers:
            made[self._root(value)].readers.append(reader)
        found = []
        for root, stream in made.items():
            if root in blocked or not stream.readers or not stream.writers or len(axes[root]) > 1:
                continue
            stream.axis = next(iter(axes[root]), _LAST)
            stream.channels = _channels(stream.readers[0])
            if self._fits(stream):
                found.append(stream)
        return found

    def _fits(self, stream: Stream) -> bool:
        """Whether all agree on the number of channels, and no constant would grow."""
        count = stream.channels
        if any(_channels(reader) != count for reader in stream.readers):
            return False
        for writer in stream.writers:
            if writer.layer is not None:
                if writer.layer.outputs != count:
                    return False
            elif not all(_has_channels(writer.node, at, stream) for at in writer.positions):
                return False
        values = set(stream.values)
        for node in self._sums:
            if node.output not in values:
                continue
            tied = [node.output, *(value for value in node.inputs if value is not None and value in values)]
            if any(not _is_along(value, node.output.rank, stream) for value in tied):
                return False
        return True


def _is_along(value: Value, rank: int | None, stream: Stream) -> bool:
    """Whether a tensor has a rank and the channels of a stream along its axis."""
    shape = value.shape
    if shape is None or len(shape) != rank or (stream.axis >= 0 and len(shape) <= stream.axis):
        return False
    return shape[stream.axis] == stream.channels


def _channels(reader: LayerInput) -> int:
    """How many channels a layer reads."""
    constant = reader.weight.const
    assert constant is not None, "the weights were found to be constant"
    return reader.groups * constant.shape[1] if reader.node.op == "Conv" else reader.columns


def _has_channels(node: Node, position: int, stream: Stream) -> bool:
    """Whether a constant has a number for each channel: along the axis of the channels, of what it is added to or multiplied by."""
    constant, rank = constant_of(node.input_at(position)), node.output.rank
    if constant is None or not constant.dtype.is_float:
        return False
    if node.op in _NORMS:
        return constant.shape == (stream.channels,)
    from_end = stream.axis if stream.axis < 0 else None if rank is None else stream.axis - rank
    return from_end is not None and len(constant.shape) >= -from_end and constant.shape[from_end] == stream.channels


def _is_zero_pad(node: Node) -> bool:
    """Whether a node pads places, not channels, with zeros."""
    pads = ints_operand(node, "pads", 1)
    if not isinstance(pads, tuple) or node.str_attr("mode", "constant") != "constant" or node.input_at(3) is not None:
        return False
    value = node.input_at(2)
    constant = constant_of(value)
    filled = node.float_attr("value", 0.0) if value is None else float("nan")
    if constant is not None and constant.size == 1:
        filled = float(constant.numpy().reshape(()).item())
    rank = len(pads) // 2
    return filled == 0.0 and rank > _FIRST and pads[_FIRST] == pads[rank + _FIRST] == 0


def _drops_ones(node: Node) -> bool:
    """Whether a node makes [N, C] of [N, C, 1, ...]."""
    value = node.input_at(0)
    if node.op not in ("Flatten", "Reshape", "Squeeze") or value is None:
        return False
    before, after = value.shape, node.output.shape
    if before is None or after is None or len(before) <= len(after) or len(after) != 2:
        return False
    return isinstance(before[1], int) and tuple(before[:2]) == tuple(after) and all(size == 1 for size in before[2:])
