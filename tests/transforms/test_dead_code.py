from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from graphopt.ir import DType, GraphBuilder
from graphopt.passes import PassContext
from graphopt.transforms.dead_code import EliminateDeadCode, RemoveUnusedFunctions
from graphopt.transforms.opset_imports import RemoveUnusedOpsets
from tests.transforms.whole_graph import optimize, parse

X = {"x": np.array([[-1.5, 0.0, 2.0]], np.float32)}


def test_chain_that_nothing_reads_goes_with_its_constants():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x) => (float[1, 3] y) <float[3] w = {1, 2, 3}, float[3] v = {4, 5, 6}> {
            a = Add (x, w)
            b = Mul (a, v)
            c = Exp (b)
            y = Relu (x)
        }""")
    found = optimize(model, EliminateDeadCode(), X)
    assert ["Relu"] == found.ops
    assert {} == found.constants
    assert {"nodes": 3, "constants": 2} == dict(found.result.stats)


def test_used_nodes_and_constants_stay():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x) => (float[1, 3] y) <float[3] w = {1, 2, 3}> { y = Add (x, w) }""")
    assert not optimize(model, EliminateDeadCode(), X).result.changed


def test_constant_that_is_an_output_stays():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x) => (float[1, 3] y, float[3] w) <float[3] w = {1, 2, 3}> { y = Relu (x) }""")
    assert not optimize(model, EliminateDeadCode(), X).result.changed


@pytest.mark.parametrize("ir_version", [3, 8])
def test_unused_initializer_that_is_an_input_stays(ir_version):
    model = parse("""
        <ir_version: 8, opset_import: ["": 7]>
        g (float[1, 3] x, float[3] w) => (float[1, 3] y) { y = Relu (x) }""")
    model.ir_version = ir_version
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(3, np.float32), "w"))
    assert not optimize(model, EliminateDeadCode(), X).result.changed


def test_values_captured_only_by_dead_nodes_are_dead():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x, bool c) => (float[1, 3] y) {
            a = Exp (x)
            b = Sin (x)
            y = If (c) <
                then_branch = t () => (float[1, 3] p) { dead = Relu (a)  p = Cos (b) },
                else_branch = e () => (float[1, 3] q) { q = Neg (x) }
            >
        }""")
    found = optimize(model, EliminateDeadCode(), X | {"c": np.array(True)})
    assert ["Sin", "If"] == found.ops
    assert {"nodes": 2} == dict(found.result.stats)


@pytest.mark.parametrize("condition", [True, False])
def test_outputs_of_an_if_that_nobody_reads_go_with_what_computes_them(condition):
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x, bool c) => (float[1, 3] y) {
            u, y, v = If (c) <
                then_branch = t () => (float[1, 3] p, float[1, 3] q, float[1, 3] r) { p = Exp (x)  q = Sin (x)  r = Neg (q) },
                else_branch = e () => (float[1, 3] k, float[1, 3] l, float[1, 3] m) { k = Abs (x)  l = Neg (x)  m = Exp (l) }
            >
        }""")
    found = optimize(model, EliminateDeadCode(), X | {"c": np.array(condition)})
    assert {"outputs": 2, "nodes": 4} == dict(found.result.stats)
    (node,) = found.model.graph.nodes
    assert [["Sin"], ["Neg"]] == [[inner.op for inner in graph.nodes] for graph in node.subgraphs]
    assert [0] == [value.index for value in node.outputs]


def test_what_a_loop_collects_for_nobody_goes_and_what_it_carries_stays():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x) => (float[1, 3] y) <int64 n = {3}> {
            a, b, s, t = Loop (n, , x, x) <body = l (int64 i, bool k, float[1, 3] v, float[1, 3] w)
                    => (bool k2, float[1, 3] v2, float[1, 3] w2, float[1, 3] p, float[1, 3] q) {
                k2 = Identity (k)  v2 = Add (v, w)  w2 = Neg (w)  p = Exp (v)  q = Sin (v)
            }>
            y0 = ReduceSum <keepdims = 0> (t)
            y = Mul (x, y0)
        }""")
    found = optimize(model, EliminateDeadCode(), X)
    assert {"outputs": 1, "nodes": 1} == dict(found.result.stats)
    loop = next(iter(found.model.graph.nodes))
    assert ["a", "b", "t"] == [value.name for value in loop.outputs]


def test_constant_of_a_subgraph_goes():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x, bool c) => (float[1, 3] y) {
            y = If (c) <
                then_branch = t () => (float[1, 3] p) <float[1] w = {2}> { dead = Relu (w)  p = Cos (x) },
                else_branch = e () => (float[1, 3] q) { q = Neg (x) }
            >
        }""")
    found = optimize(model, EliminateDeadCode(), X | {"c": np.array(True)})
    assert {"nodes": 1, "constants": 1} == dict(found.result.stats)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("y, mask = Dropout (x)", 1),
        ("y, i = MaxPool <kernel_shape = [1]> (x3)", 0),  # another kernel of ONNX Runtime, with another answer for NaN
        ("y, m, d = LayerNormalization <axis = -1> (x, s)", 2),
        ("y, i, j, k = Unique (x)", 3),
        ("y, i = TopK (x, one)", 0),
        ("y, z = Split <axis = 1> (x2)", 0),
    ],
)
def test_optional_outputs_that_nobody_reads_go(text, count):
    model = parse(
        f"""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x) => (float[*] y) <float[3] s = {{1, 1, 1}}, int64[1] one = {{1}}, int64[1] zero = {{0}}> {{
            x3 = Unsqueeze (x, zero)
            x2 = Concat <axis = 1> (x, x)
            {text}
        }}""".replace("float[*]", "float")
    )
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    found = optimize(model, EliminateDeadCode(), X)
    assert count == found.result.stats.get("outputs", 0)


def test_an_output_before_a_used_one_becomes_absent():
    weights = [
        onnx.numpy_helper.from_array(np.full(shape, 0.25, np.float32), name)
        for name, shape in (("w", (1, 8, 3)), ("r", (1, 8, 2)))
    ]
    node = helper.make_node("LSTM", ["x", "w", "r"], ["all", "h", "c"], hidden_size=2)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 3])],
        [helper.make_tensor_value_info("h", TensorProto.FLOAT, [1, 1, 2])],
        weights,
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    found = optimize(model, EliminateDeadCode(), {"x": X["x"][None]})
    assert ["", "h"] == [value.name for value in next(iter(found.model.graph.nodes)).outputs]
    assert {"outputs": 2} == dict(found.result.stats)


@pytest.mark.parametrize("opset", [7, 9, 14])
def test_outputs_of_batch_normalization_stay(opset):
    """Before opset 14 their number says whether it trains."""
    names = ["y", "m", "v"] + (["a", "b"] if opset < 14 else [])
    node = helper.make_node("BatchNormalization", ["x", "s", "s", "s", "s"], names)
    if opset >= 14:
        node.attribute.append(helper.make_attribute("training_mode", 1))
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 3]), ("s", [3]))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])
    assert not optimize(model, EliminateDeadCode()).result.changed


def test_constants_named_by_a_quantization_annotation_stay():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x) => (float[1, 3] y) <float scale = {0.5}, float other = {1}> { y = Relu (x) }""")
    note = model.graph.quantization_annotation.add(tensor_name="y")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    found = optimize(model, EliminateDeadCode(), X)
    assert ["scale"] == list(found.constants)


def test_nodes_of_unknown_domains_are_dead_too_when_nothing_reads_them():
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17, "my": 1]>
        g (float[1, 3] x) => (float[1, 3] y) { a, b = my.Thing (x)  y, z = my.Thing (x) }""")
    found = optimize(model, EliminateDeadCode())
    assert ["my::Thing"] == found.ops
    assert 2 == len(next(iter(found.model.graph.nodes)).outputs)


def test_bodies_of_functions_are_swept():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17, "f": 1]>
        g (float[1, 3] x) => (float[1, 3] y) { y = f.act (x) }
        <domain: "f", opset_import: ["": 17]>
        act (a) => (b) { dead = Exp (a)  b = Relu (a) }""")
    assert {"nodes": 1} == dict(optimize(model, EliminateDeadCode(), X).result.stats)


def test_ten_thousand_dead_nodes_are_swept_without_recursion():
    b = GraphBuilder(opset=17)
    x = b.input("x", DType.FLOAT, [2])
    dead = x
    for _ in range(10_000):
        dead = b.op("Relu", dead)
    b.output(b.op("Neg", x), "y")
    model = b.build()
    assert {"nodes": 10_000} == dict(EliminateDeadCode().run(model.graph, PassContext()).stats)


def test_functions_that_nothing_calls_go():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17, "f": 1]>
        g (float[1, 3] x) => (float[1, 3] y) { y = f.outer (x) }
        <domain: "f", opset_import: ["": 17, "f": 1]>
        outer (a) => (b) { b = f.inner (a) }
        <domain: "f", opset_import: ["": 17]>
        inner (a) => (b) { b = Relu (a) }
        <domain: "f", opset_import: ["": 17]>
        unused (a) => (b) { b = Neg (a) }""")
    found = optimize(model, RemoveUnusedFunctions(), X)
    assert ["outer", "inner"] == [key[1] for key in found.model.functions]
    assert {"functions": 1} == dict(found.result.stats)


def test_unused_imports_go_and_the_default_domain_stays():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17, "f": 1, "com.microsoft": 1, "never.heard.of": 3]>
        g (float[1, 3] x) => (float[1, 3] y) { y = f.act (x) }
        <domain: "f", opset_import: ["": 17, "ai.onnx.ml": 3]>
        act (a) => (b) { b = Relu (a) }""")
    found = optimize(model, RemoveUnusedOpsets(), X)
    assert {"": 17, "f": 1} == found.model.opset_imports
    assert {"": 17} == next(iter(found.model.functions.values())).opset_imports
    assert {"imports": 3} == dict(found.result.stats)


def test_imports_that_only_a_subgraph_or_function_uses_stay():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17, "f": 1, "ai.onnx.ml": 3]>
        g (float[1, 3] x, bool c) => (float[1, 3] y) {
            y = If (c) <
                then_branch = t () => (float[1, 3] p) { p = f.act (x) },
                else_branch = e () => (float[1, 3] q) { q = Neg (x) }
            >
        }
        <domain: "f", opset_import: ["": 17, "ai.onnx.ml": 3]>
        act (a) => (b) { b = ai.onnx.ml.Normalizer <norm = "L1"> (a) }""")
    assert not optimize(model, RemoveUnusedOpsets(), X | {"c": np.array(True)}).result.changed
