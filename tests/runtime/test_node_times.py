"""Times of nodes from ONNX Runtime's profiler, with operations and bytes by the sizes that it saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.parser import parse_model

from graphopt.errors import ExecutionError
from graphopt.ir import DType, TensorType
from graphopt.runtime.node_times import read_node_times, time_nodes

HEAD = '<ir_version: 8, opset_import: ["": 17]>'


def event(name: str, dur: int, *shapes: tuple[int, ...]) -> dict[str, object]:
    stated = [{"float": list(shape)} for shape in shapes]
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": dur, "args": {"output_type_shape": stated}}


def test_nodes_are_found_by_name_with_their_sizes(tmp_path: Path) -> None:
    """The first two runs do not count, and of the others the faster half."""
    proto = parse_model(
        f"{HEAD} g (float[n, 4] x, float[4, 3] w) => (float[n, 3] z) {{ y = MatMul(x, w)  z = Relu(y) }}"
    )
    proto.graph.node[0].name, proto.graph.node[1].name = "product", "relu"
    path = tmp_path / "made.onnx"
    onnx.save(proto, path)
    events = [event("product", dur, (5, 3)) for dur in (900, 800, 30, 10, 20, 40)]
    events += [event("relu", 7, (5, 3))] * 3
    events.append({"cat": "Session", "name": "model_run", "dur": 5})
    inputs = {"x": TensorType(DType.FLOAT, (5, 4)), "w": TensorType(DType.FLOAT, (4, 3))}
    product, relu = read_node_times(events, str(path), inputs)
    assert ("MatMul", "product", 120, 4 * (20 + 12 + 15)) == (product.op, product.name, product.flops, product.moved)
    assert pytest.approx(15e-6) == product.seconds
    assert ("elementwise", 15, 120) == (relu.name, relu.flops, relu.moved)


def test_what_can_not_be_told_apart_or_sized_is_left_out(tmp_path: Path) -> None:
    """Two nodes of one name, an event without shapes, a node without events."""
    proto = parse_model(f"{HEAD} g (float[4] x) => (float[4] d) {{ a = Abs(x)  b = Abs(a)  c = Neg(b)  d = Relu(c) }}")
    for node, name in zip(proto.graph.node, ("same", "same", "bare", "silent"), strict=True):
        node.name = name
    path = tmp_path / "made.onnx"
    onnx.save(proto, path)
    events = [event("same", 5, (4,))] * 8 + [event("bare", 5)] * 4
    assert [] == read_node_times(events, str(path), {"x": TensorType(DType.FLOAT, (4,))})


def test_a_model_is_measured() -> None:
    """Nodes without a name get one; here, since the child process is none of this test's matter."""
    proto = parse_model(f"{HEAD} g (float[n, 8] x) => (float[n, 8] z) {{ y = Softmax(x)  z = Erf(y) }}")
    feeds = {"x": np.ones((6, 8), np.float32)}
    found = {item.op: item for item in time_nodes(proto.SerializeToString(), feeds, 1, 0.0)}
    assert (48 * 5, 2 * 4 * 48) == (found["Softmax"].flops, found["Softmax"].moved)
    assert "transcendental" == found["Erf"].name
    assert found["Erf"].seconds >= 0


def test_a_model_that_does_not_run_is_an_error() -> None:
    proto = parse_model(f"{HEAD} g (float[2] x) => (float[3] y) {{ y = Nothing(x) }}")
    with pytest.raises(ExecutionError, match="under its profiler"):
        time_nodes(proto.SerializeToString(), {"x": np.ones(2, np.float32)}, 1, 0.0)
