"""Estimates follow operations and bytes by class; files with coefficients are read back, or refused in a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphopt.analysis.cost_classes import CLASSES, cost_class
from graphopt.analysis.cost_model import Coefficients, CostModel, FitQuality, read_cost_model, shipped_cost_model
from graphopt.analysis.cost_report import by_operator, estimate_model
from graphopt.errors import ModelError
from graphopt.ir import Constant, Dim, DType, Graph, Model, Node, SymbolicDim, TensorType, Value
from graphopt.passes import PassContext

MODEL = CostModel(
    "onnxruntime",
    1,
    {
        "elementwise": Coefficients(1e-6, 0.0, 1e-9),
        "product": Coefficients(2e-6, 1e-9, 0.0),
        "view": Coefficients(5e-7, 0.0, 1.0),
    },
    "a machine",
    FitQuality(2, 10, 0.9, 0.8, 0.25, {"m.onnx": 0.1}),
)


def value(name: str, *shape: Dim) -> Value:
    return Value(name, TensorType(DType.FLOAT, shape))


def test_time_is_a_call_and_what_it_does() -> None:
    relu = Node("Relu", [value("x", 10, 100)], [value("y", 10, 100)])
    assert pytest.approx(1e-6 + 8000e-9) == MODEL.seconds_of(relu)
    product = Node("MatMul", [value("a", 10, 20), value("b", 20, 5)], [value("c", 10, 5)])
    assert pytest.approx(2e-6 + 2000e-9) == MODEL.seconds_of(product)


def test_views_and_constants_take_nothing_of_their_size() -> None:
    view = Node("Reshape", [value("x", SymbolicDim("n")), value("s", 1)], [value("y", None)])
    assert 5e-7 == MODEL.seconds_of(view)
    assert 0.0 == MODEL.seconds_of(Node("Constant", [], [value("c", 3)]))


def test_what_is_not_known_has_no_estimate() -> None:
    """A size, an operator of somebody, control flow, a class without coefficients."""
    dynamic = Node("Relu", [value("x", SymbolicDim("n"))], [value("y", SymbolicDim("n"))])
    assert MODEL.seconds_of(dynamic) is None
    assert pytest.approx(1e-6 + 32e-9) == MODEL.seconds_of(dynamic, {"n": 4})
    assert MODEL.seconds_of(Node("Relu", [value("x", 3)], [value("y", 3)], domain="somebody")) is None
    assert MODEL.seconds_of(Node("Loop", [], [value("y", 3)])) is None
    assert MODEL.seconds_of(Node("Softmax", [value("x", 3)], [value("y", 3)])) is None


def test_convolutions_of_single_channels_are_a_class_of_their_own() -> None:
    depthwise = Node("Conv", [value("x", 1, 8, 5, 5), value("w", 8, 1, 3, 3)], [value("y", 1, 8, 3, 3)])
    depthwise.set_attribute("group", 8)
    assert "depthwise convolution" == cost_class(depthwise)
    grouped = Node("Conv", [value("x", 1, 8, 5, 5), value("w", 8, 4, 3, 3)], [value("y", 1, 8, 3, 3)])
    grouped.set_attribute("group", 2)
    assert "convolution" == cost_class(grouped)
    blocked = Node(
        "Conv", [value("x", 1, 8, 5, 5), value("w", 8, 8, 3, 3)], [value("y", 1, 8, 3, 3)], domain="com.microsoft.nchwc"
    )
    assert "convolution" == cost_class(blocked)


def test_an_operator_is_in_one_class() -> None:
    names = [op for ops in CLASSES.values() for op in ops.split()]
    assert sorted(set(names)) == sorted(names)


def test_a_file_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.write_bytes(MODEL.to_json())
    assert MODEL == read_cost_model(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "are not what graphopt bench --fit writes"),
        ('{"backend": "x", "threads": 1}', "missing required field classes"),
        ('{"backend": "x", "threads": 1, "classes": {"view": {"call": -1, "flop": 0, "byte": 0}}}', "float >= 0.0"),
        ('{"backend": "x", "threads": 1, "classes": {}, "format": 2}', "have form 2, expected 1"),
        (None, "can't be read"),
    ],
)
def test_other_files_are_refused(text: str | None, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ModelError) as caught:
        read_cost_model(path)
    assert expected in str(caught.value)


def test_shipped_coefficients_have_each_class_and_say_how_far_off_they_are() -> None:
    shipped = shipped_cost_model()
    assert set(CLASSES) - {"constant"} == set(shipped.classes)
    assert shipped.quality is not None
    assert shipped.quality.median_error < 0.6
    assert all(item.call > 0 for item in shipped.classes.values())


def test_passes_can_ask() -> None:
    """The larger product takes longer; a size that is not known has no answer."""
    ctx = PassContext()

    def product(size: Dim) -> Node:
        return Node("MatMul", [value("a", size, 512), value("b", 512, 512)], [value("c", size, 512)])

    small, large = ctx.estimated_ms(product(1)), ctx.estimated_ms(product(512))
    assert small is not None
    assert large is not None
    assert 0 < small < large
    assert ctx.estimated_ms(product(SymbolicDim("n"))) is None


def test_a_model_by_node_and_by_operator() -> None:
    graph = Graph("g")
    x = graph.add_input(value("x", 10, 20))
    weight = graph.add_initializer(Value("w", None, Constant(np.ones((20, 5), np.float32))))
    weight.type = TensorType(DType.FLOAT, (20, 5))
    product = graph.append(Node("MatMul", [x, weight], [value("c", 10, 5)], name="product"))
    relu = graph.append(Node("Relu", [product.output], [value("y", 10, 5)]))
    odd = graph.append(Node("Odd", [relu.output], [value("z", 10, 5)], domain="somebody"))
    graph.add_output(odd.output)
    nodes = estimate_model(Model(graph, {"": 17}), MODEL)
    assert ["product", "y", "z"] == [node.name for node in nodes]
    assert (2000, 400) == (nodes[0].flops, nodes[0].weight_bytes)
    assert pytest.approx(4e-6) == nodes[0].seconds
    assert nodes[2].seconds is None
    found = by_operator(nodes)
    assert ["MatMul", "Relu", "somebody::Odd"] == [item.op for item in found]
    assert (1, 0.0) == (found[2].unknown, found[2].seconds)
