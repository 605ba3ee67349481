"""Runs nodes in ONNX Runtime with its optimizer off, to see whether they run at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from onnx import FunctionProto, NodeProto, TensorProto, helper, numpy_helper

from graphopt.errors import ExecutionError
from graphopt.ir import Array, DType
from graphopt.runtime.base import Outputs
from graphopt.runtime.onnxruntime_runner import OrtRunner
from graphopt.testing.strategies.traps import may_trap

__all__ = ["run_nodes", "tensor_proto"]

_MAX_ELEMENTS: Final = 600
_MAX_RANK: Final = 6


def tensor_proto(array: Array, name: str = "") -> TensorProto:
    """An array as a message; strings are objects."""
    if array.dtype == object:
        words = [str(item).encode() for item in array.reshape(-1)]
        return TensorProto(name=name, data_type=TensorProto.STRING, dims=array.shape, string_data=words)
    return numpy_helper.from_array(array, name)


def run_nodes(
    nodes: Sequence[NodeProto],
    feeds: Mapping[str, Array],
    constants: Mapping[str, Array],
    wanted: Sequence[str],
    *,
    imports: Sequence[Any],
    functions: Iterable[FunctionProto],
) -> Outputs | None:
    """Outputs of some nodes; ``None`` when ONNX Runtime refuses them, or one is larger than models for tests should have.

    Args:
        nodes: in order.
        feeds: what they read, by name.
        constants: what they read and may not change, by name.
        wanted: outputs.
        imports: opset imports.
        functions: that the nodes may call.
    """
    inputs = [
        helper.make_tensor_value_info(name, DType.from_numpy(array.dtype), list(array.shape))
        for name, array in feeds.items()
    ]
    graph = helper.make_graph(
        list(nodes),
        "trial",
        inputs,
        [helper.make_empty_tensor_value_info(name) for name in wanted],
        [tensor_proto(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=list(imports), ir_version=10, functions=list(functions))
    if may_trap(model, [feeds]):
        return None
    try:
        found = OrtRunner(model, threads=1).run(feeds)
    except ExecutionError:
        return None
    for item in found.values():
        if isinstance(item, np.ndarray) and (item.size > _MAX_ELEMENTS or item.ndim > _MAX_RANK):
            return None
    return found
