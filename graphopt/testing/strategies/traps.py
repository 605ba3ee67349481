"""Models that end the process in which ONNX Runtime loads or runs them.

It divides integers without a look at their numbers, and the lowest int64 or int32 by -1 is a trap of x86. Split into another number of
parts than it has outputs is read beyond the end of a list, which onnx.checker does not see either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import numpy as np
import onnx.shape_inference
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from graphopt.ir import Array

__all__ = ["may_trap"]

_DIVISIONS: Final = frozenset({"Div", "Mod"})
_TRAPPING: Final = frozenset({TensorProto.INT32, TensorProto.INT64})
#: Integers below are calm: a few sums and products of them are far from the lowest.
_CALM: Final = 1 << 12


def may_trap(model: ModelProto, feeds: Iterable[Mapping[str, Array]]) -> bool:
    """Whether a model may end the process on some inputs, so that it must not be run in this one.

    Args:
        model: any.
        feeds: inputs, by name.
    """
    nodes = list(_nodes(model))
    if any(item.i != len(node.output) for node in nodes for item in _parts(node)):
        return True
    if not any(node.op_type in _DIVISIONS for node in nodes):
        return False
    constants = _constants(model, nodes)
    if all(_is_calm(array) for array in (*constants.values(), *(a for item in feeds for a in item.values()))):
        return False
    divisors = [node.input[1] for node in nodes if node.op_type in _DIVISIONS and len(node.input) == 2]
    harmless = {name for name, array in constants.items() if array.dtype.kind != "i" or not bool((array == -1).any())}
    doubtful = [name for name in divisors if name not in harmless]
    if not doubtful:
        return False
    types = _element_types(model)
    return any(types.get(name, TensorProto.INT64) in _TRAPPING for name in doubtful)


def _parts(node: NodeProto) -> list[AttributeProto]:
    """The attribute of Split that says how many parts there are."""
    return [item for item in node.attribute if item.name == "num_outputs"] if node.op_type == "Split" else []


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    stack: list[Iterable[NodeProto]] = [model.graph.node, *(function.node for function in model.functions)]
    while stack:
        for node in stack.pop():
            yield node
            stack += [item.g.node for item in node.attribute if item.HasField("g")]


def _constants(model: ModelProto, nodes: Iterable[NodeProto]) -> dict[str, Array]:
    """Numbers of initializers and Constant nodes; what a caller may override is no constant, but has numbers."""
    found = {}
    inputs = {value.name for value in model.graph.input}
    for graph in _graphs(model.graph, nodes):
        for tensor in graph.initializer:
            name = f"\0{tensor.name}" if tensor.name in inputs else tensor.name
            found[name] = numpy_helper.to_array(tensor)
    for node in nodes:
        if node.op_type != "Constant" or not node.output:
            continue
        for item in node.attribute:
            if item.HasField("t"):
                found[node.output[0]] = numpy_helper.to_array(item.t)
            elif item.name in ("value_int", "value_ints"):
                found[node.output[0]] = np.array([item.i, *item.ints], np.int64)
    return found


def _graphs(graph: GraphProto, nodes: Iterable[NodeProto]) -> Iterator[GraphProto]:
    yield graph
    for node in nodes:
        yield from (item.g for item in node.attribute if item.HasField("g"))


def _is_calm(array: Array) -> bool:
    if array.dtype.kind == "i":
        return not array.size or bool((np.abs(array.astype(np.float64)) < _CALM).all())
    if array.dtype.kind in "fc":
        return bool(
            np.isfinite(array).all() and (np.abs(array) < _CALM).all()
        )  # a cast of infinity is the lowest integer
    return True


def _element_types(model: ModelProto) -> dict[str, int]:
    """Element types by name, where they are known."""
    try:
        known = onnx.shape_inference.infer_shapes(model)
    except (RuntimeError, onnx.shape_inference.InferenceError):
        known = model
    found: dict[str, int] = {}
    for graph in _graphs(known.graph, list(_nodes(known))):
        for value in (*graph.input, *graph.value_info, *graph.output):
            found[value.name] = value.type.tensor_type.elem_type
        found.update({tensor.name: tensor.data_type for tensor in graph.initializer})
    return {name: number for name, number in found.items() if number}
