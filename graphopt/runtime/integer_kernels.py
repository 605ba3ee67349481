"""Which nodes of a quantized model ONNX Runtime computes on integers, and why the others not: read from the graph that it would run.

Nodes are found again by name, or by the tensors that they give. Meant for a child process, as native code reads the model there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onnx import NodeProto

    from graphopt.ir import Graph, Node, Value

__all__ = ["LayerKernel", "integer_layers"]

#: Operators that multiply or map integers; what else reads integers only moves them.
_INTEGER: Final = re.compile(
    r"QLinear\w+|QGemm|QAttention|MatMulIntegerToFloat|MatMulInteger|ConvInteger|DynamicQuantize\w+|MatMulInteger16"
)
_GIVES_FLOATS: Final = frozenset(
    {"DequantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QAttention"}
)
_INTEGER_TYPES: Final = frozenset({2, 3, 4, 5, 6, 21, 22})
#: What ONNX Runtime puts behind the names of nodes that it makes again.
_COPY: Final = re.compile(r"_token_\d+$")
#: Position of the output's scale of QGemm, which gives floats without it.
_QGEMM_RESULT: Final = 7
_MOVES: Final = frozenset({"Reshape", "Transpose"})
_QUANTIZE: Final = "QuantizeLinear"
_DEQUANTIZE: Final = "DequantizeLinear"


@dataclass(frozen=True, slots=True)
class LayerKernel:
    """What computes a node.

    Attributes:
        layer: the node's name, or that of its first output.
        op: its operator.
        kernel: the operator that ONNX Runtime runs instead, ``""`` where none is left of it.
        integer: whether that computes on integers.
        reason: why, in a few words.
    """

    layer: str
    op: str
    kernel: str
    integer: bool
    reason: str


def integer_layers(path: str) -> list[LayerKernel]:
    """What computes each node of a model's main graph that works on floats, Q/DQ themselves and constants apart.

    Args:
        path: a model.

    Raises:
        ExecutionError: if ONNX Runtime does not load it.
        ModelError: if the model is broken.
    """
    from graphopt.backends.onnx.inference import (
        OnnxTypes,  # lazily, as the next ones: they are loaded in the child only
    )
    from graphopt.frontends.onnx import lift
    from graphopt.runtime.optimized_graph import optimized_graph

    kernels = _Kernels(list(optimized_graph(path).graph.node))
    model = lift(path)
    OnnxTypes().infer_model(model)
    found: dict[Node, LayerKernel] = {}
    for node in _worth_telling(model.graph):
        found[node] = _layer(node, kernels, found)
    return list(found.values())


class _Kernels:
    """The nodes that are run, by name and by tensor, and which tensors are integers."""

    def __init__(self, nodes: list[NodeProto]) -> None:
        self.by_name = {_COPY.sub("", node.name): node for node in nodes if node.name}
        self.by_tensor = {name: node for node in nodes for name in node.output if name}
        self.by_read = {name: node for node in nodes for name in node.input if name}
        self.stored: set[str] = set()
        for node in nodes:
            if self._gives_integers(node):
                self.stored.update(node.output)

    def _gives_integers(self, node: NodeProto) -> bool:
        if node.op_type in _GIVES_FLOATS:
            return False
        if node.op_type == "QGemm":
            return len(node.input) > _QGEMM_RESULT and bool(node.input[_QGEMM_RESULT])
        if node.op_type == _QUANTIZE or _INTEGER.fullmatch(node.op_type):
            return True
        return bool(node.input) and node.input[0] in self.stored

    def of(self, node: Node) -> NodeProto | None:
        """What runs for a node, ``None`` when it is gone."""
        found = self.by_name.get(node.name) if node.name else None
        if found is not None and found.op_type not in (_QUANTIZE, _DEQUANTIZE):
            return found
        for value in _results(node):
            found = self.by_tensor.get(value.name)
            while found is not None and found.op_type in _MOVES and found.op_type != node.op_type:
                found = self.by_tensor.get(
                    found.input[0]
                )  # put there around a kernel that wants another shape or layout
            if found is not None and found.op_type not in (_QUANTIZE, _DEQUANTIZE):
                return found
        return self._by_weights(node)

    def _by_weights(self, node: Node) -> NodeProto | None:
        """What reads the stored weights of a node without a name, where the tensor that it gives is in another layout."""
        weights = node.input_at(1)
        load = None if weights is None else weights.producer
        stored = None if load is None or load.op_type != _DEQUANTIZE else load.input_at(0)
        found = None if stored is None or stored.const is None else self.by_read.get(stored.name)
        return None if found is None or found.op_type == _DEQUANTIZE else found

    def is_integer(self, kernel: NodeProto) -> bool:
        """Whether a node that is run computes on integers."""
        if _INTEGER.fullmatch(kernel.op_type):
            return True
        return bool(kernel.input) and kernel.input[0] in self.stored and kernel.op_type != _DEQUANTIZE


def _worth_telling(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        if node.op_type in (_QUANTIZE, _DEQUANTIZE, "Constant"):
            continue
        values = [*node.inputs, *node.outputs]
        if any(value is not None and value.dtype is not None and value.dtype.is_float for value in values):
            yield node


def _results(node: Node) -> Iterator[Value]:
    """What a node gives, and what that becomes by activations and by being quantized."""
    todo = list(node.outputs[:1])
    while todo:
        value = todo.pop()
        yield value
        if value.has_single_use:
            (user,) = value.users
            if user.op_type in ("Add", "Clip", "Identity", _QUANTIZE, "Relu"):
                todo.append(user.output)


def _layer(node: Node, kernels: _Kernels, before: dict[Node, LayerKernel]) -> LayerKernel:
    from graphopt.transforms.quantization.layers import layer_name  # lazily: see integer_layers

    name = layer_name(node)
    kernel = kernels.of(node)
    if kernel is None:
        producers = [value.producer for value in node.inputs if value is not None and value.producer is not None]
        with_integers = any(
            item.op_type == _DEQUANTIZE or (item in before and before[item].integer) for item in producers
        )
        return LayerKernel(name, node.op, "", with_integers, "part of another kernel, or not needed")
    kind = f"{kernel.domain}::{kernel.op_type}" if kernel.domain else kernel.op_type
    if kernels.is_integer(kernel):
        return LayerKernel(name, node.op, kind, True, "on integers")
    return LayerKernel(name, node.op, kind, False, _why_float(node))


def _why_float(node: Node) -> str:
    """Why ONNX Runtime computes a node on floats, as far as the nodes around it tell."""
    from graphopt.backends.onnxruntime.quantization import X64  # lazily: see integer_layers
    from graphopt.transforms.quantization.static.roles import COMPUTING, clip_bounds, data_inputs
    from graphopt.transforms.quantization.static.stored import stored_by

    if node.op not in X64.static_ops and node.op not in X64.passing_ops:
        return f"ONNX Runtime has no integer kernel for {node.op}"
    read = [stored_by(node.input_at(position)) for position in data_inputs(node)]
    if not any(read):
        return "what it reads is not quantized"
    if not all(read):
        return "one of its inputs is not quantized"
    if node.op in COMPUTING and stored_by(node.input_at(1)) is None:
        return "its weights are not quantized"
    users = node.output.users
    if node.op in X64.float_output_ops:
        return "ONNX Runtime does not fuse it here"
    if node.output.is_graph_output or not users:
        return "its result is given out as floats"
    if len(users) == 1 and clip_bounds(users[0]) is not None:
        return f"{users[0].op} behind it cuts more than the integers of its result"
    if any(user.op_type != _QUANTIZE for user in users):
        return "its result is not quantized alone"
    if node.op in X64.passing_ops:
        return "it gives integers of another scale than it reads"
    return "ONNX Runtime does not fuse it here"
