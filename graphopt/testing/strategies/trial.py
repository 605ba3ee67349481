"""Runs nodes and models in ONNX Runtime with its optimizer off, to see whether they run at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from onnx import FunctionProto, NodeProto, TensorProto, helper, numpy_helper

from graphopt.ir import Array, DType

__all__ = ["open_session", "run_nodes", "run_session", "tensor_proto"]

_MAX_ELEMENTS: Final = 600
_MAX_RANK: Final = 6


def tensor_proto(array: Array, name: str = "") -> TensorProto:
    """An array as a message; strings are objects."""
    if array.dtype == object:
        words = [str(item).encode() for item in array.reshape(-1)]
        return TensorProto(name=name, data_type=TensorProto.STRING, dims=array.shape, string_data=words)
    return numpy_helper.from_array(array, name)


def open_session(data: bytes) -> ort.InferenceSession:
    """A model in ONNX Runtime with its optimizer off, on one thread."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_prepacking", "1")  # kernels for packed weights round otherwise
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run_session(session: ort.InferenceSession, feeds: Mapping[str, Array]) -> list[Any] | None:
    """Outputs of a model, ``None`` when ONNX Runtime refuses the inputs."""
    try:
        return list(session.run(None, dict(feeds)))
    except Exception:  # noqa: BLE001 - ONNX Runtime raises a class for each status, and plain RuntimeError
        return None


def run_nodes(
    nodes: Sequence[NodeProto],
    feeds: Mapping[str, Array],
    constants: Mapping[str, Array],
    wanted: Sequence[str],
    *,
    imports: Sequence[Any],
    functions: Iterable[FunctionProto],
) -> list[Any] | None:
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
    try:
        session = open_session(model.SerializeToString())
    except Exception:  # noqa: BLE001 - as above
        return None
    found = run_session(session, feeds)
    if found is None:
        return None
    for item in found:
        if isinstance(item, np.ndarray) and (item.size > _MAX_ELEMENTS or item.ndim > _MAX_RANK):
            return None
    return found
