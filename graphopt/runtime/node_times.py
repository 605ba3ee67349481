"""What each node of the graph that ONNX Runtime makes of a model takes, by its profiler, with the sizes that it had.

The profiler leaves out weights that kernels packed for themselves, so sizes of what a node reads are taken from what gives it.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from graphopt.analysis.cost import cost_of_node
from graphopt.analysis.cost_classes import cost_class
from graphopt.errors import ExecutionError
from graphopt.frontends.onnx import lift
from graphopt.ir import DType, Node, TensorType, Value
from graphopt.runtime.base import Feeds

__all__ = ["NodeTime", "read_node_times", "time_nodes"]

_SUFFIX: Final = "_kernel_time"
_WARMUP: Final = 2
_LEAST_RUNS, _MOST_RUNS = 5, 300


@dataclass(frozen=True, slots=True)
class NodeTime:
    """A node that was measured.

    Attributes:
        op: its operator.
        name: class of the operator.
        flops: its operations.
        moved: bytes that it reads and gives.
        seconds: of a run, the mean of the faster half.
    """

    op: str
    name: str
    flops: int
    moved: int
    seconds: float


def time_nodes(model: str | bytes, feeds: Feeds, threads: int, seconds: float) -> list[NodeTime]:
    """Run a model under the profiler; to be called in a child process.

    Nodes inside of subgraphs, of operators that nobody knows, and of sizes that the profiler does not state are left out.

    Args:
        model: path, or the model itself.
        feeds: inputs by name.
        threads: within an operator.
        seconds: when to stop.

    Raises:
        ExecutionError: if ONNX Runtime does not load or run the model.
    """
    import onnxruntime as ort  # lazily: runs in the child only

    from graphopt.runtime.onnxruntime_runner import ort_errors
    from graphopt.runtime.ort_values import to_ort

    with tempfile.TemporaryDirectory(prefix="graphopt-nodes-", ignore_cleanup_errors=True) as folder:
        made = os.path.join(folder, "made.onnx")
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = os.path.join(folder, "run")
        options.optimized_model_filepath = made
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "made.bin")
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
        try:
            session = ort.InferenceSession(_named(model), options, providers=["CPUExecutionProvider"])
            given = {name: to_ort(value) for name, value in feeds.items()}
            _run(lambda: session.run(None, given), seconds)
            written = session.end_profiling()
        except ort_errors as err:
            what = "the model" if isinstance(model, bytes) else model
            text = " ".join(str(err).split())
            raise ExecutionError(f"ONNX Runtime does not run {what} under its profiler: {text}") from err
        shapes = {name: _type(value) for name, value in feeds.items() if isinstance(value, np.ndarray)}
        return read_node_times(json.loads(Path(written).read_bytes()), made, shapes)


def _named(model: str | bytes) -> str | bytes:
    """The model with a name for each node, for events are told apart by names; as it is where weights are in other files."""
    import onnx

    proto = onnx.load_from_string(model) if isinstance(model, bytes) else onnx.load(model, load_external_data=False)
    unnamed = [node for node in proto.graph.node if not node.name]
    external = any(item.data_location == onnx.TensorProto.EXTERNAL for item in proto.graph.initializer)
    if not unnamed or external:
        return model
    for index, node in enumerate(unnamed):
        node.name = f"unnamed {index}"
    data: bytes = proto.SerializeToString()
    return data


def _run(run: Callable[[], object], seconds: float) -> None:
    end = time.perf_counter() + seconds
    done = 0
    while done < _WARMUP + _LEAST_RUNS or (time.perf_counter() < end and done < _MOST_RUNS):
        run()
        done += 1


def _type(value: np.ndarray[Any, Any]) -> TensorType:
    return TensorType(DType.STRING if value.dtype.kind in "OUT" else DType.from_numpy(value.dtype), value.shape)


def read_node_times(events: list[dict[str, Any]], made: str, inputs: Mapping[str, TensorType]) -> list[NodeTime]:
    """Nodes with what they took, from the events of a profile and the graph that was run.

    Args:
        events: as the profiler wrote them.
        made: the graph, as ONNX Runtime wrote it.
        inputs: types of what was fed, by name.
    """
    kernels: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(_SUFFIX):
            kernels.setdefault(name.removesuffix(_SUFFIX), []).append(event)
    graph = lift(made).graph
    known = Counter(node.name for node in graph.walk())
    for value in graph.inputs:
        value.type = inputs.get(value.name, value.type)
    found: list[NodeTime] = []
    for node in graph.nodes:
        own = kernels.get(node.name, []) if known[node.name] == 1 else []
        if not own or not _set_types(node, own[-1]):
            continue
        measured = _node_time(node, [float(event["dur"]) / 1e6 for event in own[_WARMUP:]])
        if measured is not None:
            found.append(measured)
    return found


def _set_types(node: Node, event: dict[str, Any]) -> bool:
    """Give the outputs of a node the types that an event states; whether it does."""
    stated = event.get("args", {}).get("output_type_shape")
    outputs = [value for value in node.outputs if value.name]
    if not isinstance(stated, list) or len(stated) != len(outputs):
        return False
    for value, item in zip(outputs, stated, strict=True):
        kind = _stated_type(item)
        if kind is None:
            return False
        value.type = kind
    return True


def _stated_type(item: object) -> TensorType | None:
    if not isinstance(item, dict) or len(item) != 1:
        return None
    [(name, sizes)] = item.items()
    dtype = DType.__members__.get(str(name).upper())
    return None if dtype is None else TensorType(dtype, tuple(int(size) for size in sizes))


def _node_time(node: Node, times: list[float]) -> NodeTime | None:
    name, cost = cost_class(node), cost_of_node(node)
    if name is None or not times or not isinstance(cost.flops, int) or not isinstance(cost.bytes, int):
        return None
    if not all(_is_sized(value) for value in node.inputs if value is not None):
        return None
    faster = sorted(times)[: (len(times) + 1) // 2]
    return NodeTime(node.op, name, cost.flops, cost.bytes, sum(faster) / len(faster))


def _is_sized(value: Value) -> bool:
    return value.const is not None or isinstance(value.type, TensorType)
