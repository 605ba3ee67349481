"""``graphopt inspect`` tells what a model is."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from graphopt.cli import app
from graphopt.compiler import PlanRecorder, optimize
from graphopt.data import digits_model

runner = CliRunner(env={"COLUMNS": "160"})


def inspected(*arguments: str) -> dict[str, object]:
    shown = runner.invoke(app, ["inspect", *arguments, "--json"])
    assert (0, "") == (shown.exit_code, shown.stderr)
    found: dict[str, object] = json.loads(shown.stdout)
    return found


def test_summary_of_the_digits_model() -> None:
    """Interface, sizes, parameters and operations are those of the file."""
    found = inspected(str(digits_model()))
    proto = onnx.load(digits_model())
    assert len(proto.graph.node) == found["nodes"]
    assert [{"name": "image", "type": "float[batch, 1, 8, 8]", "has_default": False}] == found["inputs"]
    assert [{"name": "logits", "type": "float[batch, 10]", "has_default": False}] == found["outputs"]
    assert ["batch"] == found["dynamic_dims"]
    assert {"": 17} == found["opsets"]
    assert digits_model().stat().st_size == found["file_bytes"]
    assert sum(len(onnx.numpy_helper.to_array(item).ravel()) for item in proto.graph.initializer) <= int(
        str(found["parameters"])
    )
    assert not found["unknown_ops"]


def test_bound_sizes_make_numbers() -> None:
    """With --dim, the operations of the convolutions are a number: that worked out by hand."""
    flops = inspected(str(digits_model()), "--dim", "batch=2")["flops_by_op"]
    assert isinstance(flops, dict)
    proto = onnx.shape_inference.infer_shapes(onnx.load(digits_model()))
    weights = {item.name: item.dims for item in proto.graph.initializer}
    shapes = {info.name: info.type.tensor_type.shape.dim for info in proto.graph.value_info}
    expected = 0
    for node in proto.graph.node:
        if node.op_type == "Conv":
            out = [dim.dim_value for dim in shapes[node.output[0]]][1:]
            kernel = weights[node.input[1]][1:]
            pixels = 2 * out[0] * out[1] * out[2]
            expected += pixels * 2 * kernel[0] * kernel[1] * kernel[2] + (pixels if len(node.input) > 2 else 0)
    assert expected == flops["Conv"]


def test_table_names_operators_and_sizes() -> None:
    """People see the same as machines."""
    shown = runner.invoke(app, ["inspect", str(digits_model())])
    assert 0 == shown.exit_code
    assert "ai.onnx 17" in shown.stdout
    assert "BatchNormalization" in shown.stdout
    assert "float[batch, 1, 8, 8]" in shown.stdout


def test_shapes_that_the_graph_computes_are_known(tmp_path: Path) -> None:
    """Exporters work out shapes from sizes; the cost of what follows is known all the same."""
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[n, 4, 6] x, float[24, 5] w) => (float[n, 5] y) <int64[1] start = {0}, int64[1] end = {1}, int64[1] rest = {-1}> {
        shape = Shape(x)
        first = Slice(shape, start, end)
        target = Concat<axis=0>(first, rest)
        flat = Reshape(x, target)
        y = MatMul(flat, w)
    }"""
    path = tmp_path / "computed.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    found = inspected(str(path))
    assert {"MatMul": "n*240"} == found["flops_by_op"]
    assert 0 == found["unsized_nodes"]
    assert {"MatMul": 480} == inspected(str(path), "--dim", "n=2")["flops_by_op"]


@pytest.fixture
def custom(tmp_path: Path) -> Path:
    """A model with an If, a function, an operator that nobody knows, and external data."""
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [4])],
    )
    twice = helper.make_function(
        "local", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    nodes = [
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
        helper.make_node("Twice", ["y"], ["z"], domain="local"),
        helper.make_node("Mystery", ["z"], ["u"], domain="strange"),
        helper.make_node("Add", ["u", "w"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [4]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [4])],
        [helper.make_tensor("w", TensorProto.FLOAT, [4], bytes(16), raw=True)],
    )
    model = helper.make_model(
        graph,
        functions=[twice],
        opset_imports=[
            helper.make_opsetid(domain, version) for domain, version in (("", 17), ("local", 1), ("strange", 1))
        ],
    )
    path = tmp_path / "custom.onnx"
    onnx.save(model, path, save_as_external_data=True, location="custom.data", size_threshold=0)
    return path


def test_subgraphs_functions_unknown_operators_and_external_data(custom: Path) -> None:
    """All of them are told apart."""
    found = inspected(str(custom))
    assert (2, 1) == (found["subgraphs"], found["depth"])
    assert [{"op": "local::Twice", "nodes": 1, "calls": 1}] == found["functions"]
    assert ["strange::Mystery"] == found["unknown_ops"]
    assert {"custom.data": 16} == found["external_files"]
    assert {"local::Twice": 1, "strange::Mystery": 1} == found["unknown_cost"]
    shown = runner.invoke(app, ["inspect", str(custom)]).stdout
    assert "custom.data (16 B)" in shown
    assert "strange::Mystery (kept as they are, never folded)" in shown


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    """Exit code 2 and the path."""
    shown = runner.invoke(app, ["inspect", str(tmp_path / "none.onnx")])
    assert 2 == shown.exit_code
    assert 1 == shown.stderr.count("\n")
    assert "none.onnx" in shown.stderr


def test_a_pruning_plan_is_shown(tmp_path: Path) -> None:
    """Which groups and masks it has and where it comes from; one that contradicts itself is one line."""
    recorder = PlanRecorder()
    passes = "O2,prune-channels{ratio=0.5},prune-magnitude"
    optimize(digits_model(), pipeline=passes, check=False, instrumentations=[recorder])
    assert recorder.plan is not None
    path = recorder.plan.save(tmp_path / "plan.json")
    found = inspected(str(path))
    assert ["prune-channels{ratio=0.5}", "prune-magnitude"] == found["steps"]
    assert [[16, 8], [32, 16], [512, 256]] == [[item["size"], item["kept"]] for item in found["axes"]]  # type: ignore[attr-defined]
    assert 4 == len(found["masks"])  # type: ignore[arg-type]
    shown = runner.invoke(app, ["inspect", str(path)])
    assert 0 == shown.exit_code
    assert {"group", "left", "zero", "steps", "model", "source"} <= set(shown.stdout.split())
    path.write_text(path.read_text().replace('"size": 16', '"size": 4'))
    shown = runner.invoke(app, ["inspect", str(path)])
    assert (2, 1) == (shown.exit_code, len(shown.stderr.strip().splitlines()))
    assert "pruning plan" in shown.stderr
