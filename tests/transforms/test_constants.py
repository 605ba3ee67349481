from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.transforms.constants import ConstantsToInitializers, InitializersToConstants
from tests.transforms.whole_graph import optimize, parse

X = {"x": np.array([[-1.5, 0.0, 2.0]], np.float32)}


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("value = float[2] {1, -0.0}", np.array([1, -0.0], np.float32)),
        ("value_float = -0.0", np.array(-0.0, np.float32)),
        ("value_floats = [1.5, 2.5]", np.array([1.5, 2.5], np.float32)),
        ("value_int = -7", np.array(-7)),
        ("value_ints = [1, 2, 3]", np.array([1, 2, 3])),
        ('value_string = "a"', np.array("a", object)),
        ('value_strings = ["a", "bc"]', np.array(["a", "bc"], object)),
    ],
)
def test_each_form_of_constant_becomes_an_initializer(attribute, expected):
    model = parse(f"""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x) => (float[1, 3] y, int64[n] z) {{
            c = Constant <{attribute}> ()
            z = Shape (c)
            y = Relu (x)
        }}""")
    found = optimize(model, ConstantsToInitializers(), X)
    assert ["Shape", "Relu"] == found.ops
    (constant,) = found.constants.values()
    assert expected.dtype == constant.dtype
    assert expected.shape == constant.shape
    assert expected.tolist() == constant.tolist()
    back = optimize(found.proto, InitializersToConstants(), X)
    assert ["Constant", "Shape", "Relu"] == back.ops


def test_sparse_constant_stays_a_node():
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.array([5], np.float32), "v"), numpy_helper.from_array(np.array([1]), "i"), [3]
    )
    nodes = [helper.make_node("Constant", [], ["c"], sparse_value=sparse), helper.make_node("Add", ["x", "c"], ["y"])]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "g", infos[:1], infos[1:]), ir_version=8, opset_imports=[helper.make_opsetid("", 17)]
    )
    assert not optimize(model, ConstantsToInitializers(), X).result.changed


def test_constant_that_is_an_output_stays_a_node():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x) => (float[1, 3] y, float c) { c = Constant <value_float = 2.0> ()  y = Add (x, c) }""")
    assert not optimize(model, ConstantsToInitializers(), X).result.changed


@pytest.mark.parametrize("ir_version", [3, 8])
def test_constants_of_subgraphs_become_theirs_and_captured_ones_stay_visible(ir_version):
    model = parse("""
        <ir_version: 8, opset_import: ["": 11]>
        g (float[1, 3] x, bool c) => (float[1, 3] y) {
            k = Constant <value = float {3}> ()
            y = If (c) <
                then_branch = t () => (float[1, 3] p) { two = Constant <value = float {2}> ()  a = Mul (x, two)  p = Add (a, k) },
                else_branch = e () => (float[1, 3] q) { q = Constant <value = float[1, 3] {1, 2, 3}> () }
            >
        }""")
    model.ir_version = ir_version
    found = optimize(model, ConstantsToInitializers(), X | {"c": np.array(True)})
    assert {"constants": 2} == dict(found.result.stats)
    assert ["If"] == found.ops
    assert ["k"] == list(found.constants)
    assert not optimize(model, ConstantsToInitializers(), X | {"c": np.array(False)}).result.stats.get("errors")


def test_constants_of_functions_are_written_as_nodes_again():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17, "f": 1]>
        g (float[1, 3] x) => (float[1, 3] y) { y = f.act <p = 0.5> (x) }
        <domain: "f", opset_import: ["": 17]>
        act <p> (a) => (b) {
            c = Constant <value_float = 2.0> ()
            d = Constant <value_float: float = @p> ()
            e = Mul (a, c)
            b = Add (e, d)
        }""")
    found = optimize(model, ConstantsToInitializers(), X)
    assert {"constants": 1} == dict(found.result.stats)
    assert ["Constant", "Constant", "Mul", "Add"] == [node.op_type for node in found.proto.functions[0].node]


def test_initializers_become_nodes_and_inputs_with_defaults_stay():
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x, float[3] w) => (float[1, 3] y, float[3] v) { a = Add (x, w)  y = Mul (a, v) }""")
    model.graph.initializer.extend([numpy_helper.from_array(np.arange(3, dtype=np.float32), name) for name in "wv"])
    found = optimize(model, InitializersToConstants(), X)
    assert ["Constant", "Add", "Mul"] == found.ops
    assert ["w"] == list(found.constants)
    assert ["y", "v"] == [value.name for value in found.model.graph.outputs]


def test_a_type_that_the_operator_of_the_opset_lacks_stays_an_initializer():
    model = parse(
        """
        <ir_version: 10, opset_import: ["": 19]>
        g (float[1, 3] x) => (int4[2] y) { y = Identity (w) }""".replace("int4[2] y", "float[1, 3] y").replace(
            "(w)", "(x)"
        )
    )
    model.graph.initializer.append(helper.make_tensor("w", TensorProto.INT4, [2], [1, -2]))
    assert not optimize(model, InitializersToConstants(), X).result.changed
    model.opset_import[0].version = 21
    assert optimize(model, InitializersToConstants(), X).result.changed


def test_names_and_order_of_initializers_survive_the_way_there_and_back():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x) => (float[1, 3] y) <float[1] w = {1}, float[1] v = {2}> { a = Add (x, w)  y = Mul (a, v) }""")
    there = optimize(model, InitializersToConstants(), X)
    assert [["w"], ["v"]] == [list(node.output) for node in there.proto.graph.node[:2]]
    back = optimize(there.proto, ConstantsToInitializers(), X)
    assert ["w", "v"] == list(back.constants)
    assert ["Add", "Mul"] == back.ops
