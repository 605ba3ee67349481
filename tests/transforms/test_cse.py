from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt.ir import DType, GraphBuilder, clone_model
from graphopt.rewriting import Applications
from graphopt.transforms.cse import EliminateCommonSubexpressions
from tests.transforms.whole_graph import context, optimize, parse

X = {"x": np.array([[-1.5, 0.0, 2.0]], np.float32)}
C = X | {"c": np.array(True)}
RUN = EliminateCommonSubexpressions()


def merged(model, feeds=None):
    return optimize(model, RUN, feeds).result.stats.get("nodes", 0)


def one_graph(body: str, outputs: str = "float[1, 3] y", opset: int = 17, constants: str = "") -> onnx.ModelProto:
    return parse(f"""
        <ir_version: 8, opset_import: ["": {opset}]>
        g (float[1, 3] x, bool c) => ({outputs}) {constants} {{ {body} }}""")


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("a = Exp (x)  b = Exp (x)  y = Add (a, b)", 1),
        ("a = Exp (x)  b = Sin (a)  d = Exp (x)  e = Sin (d)  y = Add (b, e)", 2),
        ("a = Add (x, k)  b = Add (k, x)  y = Mul (a, b)", 1),
        ("a = Sub (x, k)  b = Sub (k, x)  y = Mul (a, b)", 0),
        ("a = Add (x, x)  b = Add (x, k)  y = Mul (a, b)", 0),
        ("a = Max (x, k)  b = Max (k, x)  y = Mul (a, b)", 0),
        ("a = Add (x, k)  b = Add (x, k2)  y = Mul (a, b)", 1),
        ("a = Softmax (x)  b = Softmax <axis = -1> (x)  y = Add (a, b)", 1),
        ("a = Softmax <axis = 0> (x)  b = Softmax (x)  y = Add (a, b)", 0),
        ("a = Elu <alpha = 0.0> (x)  b = Elu <alpha = -0.0> (x)  y = Add (a, b)", 0),
        ("a = Cast <to = 11> (x)  b = Cast <to = 1> (x)  d = CastLike (a, b)  y = Add (d, b)", 0),
        ("a = Clip (x, , k0)  b = Clip (x, k0)  y = Add (a, b)", 0),
        ("a = Constant <value_float = 2.0> ()  b = Constant <value_float = 2.0> ()  d = Add (x, a)  y = Add (d, b)", 1),
        (
            "a = Constant <value_float = 0.0> ()  b = Constant <value_float = -0.0> ()  d = Div (x, a)  y = Div (d, b)",
            0,
        ),
        ("a, m = Dropout (x)  b, n = Dropout (x)  y = Add (a, b)", 0),
        (
            "a = RandomNormalLike <seed = 1.0> (x)  b = RandomNormalLike <seed = 1.0> (x)  d = Add (a, b)  y = Relu (x)",
            0,
        ),
    ],
)
def test_nodes_that_compute_the_same_are_merged(body, count):
    constants = "<float[3] k = {1, 2, 3}, float[3] k2 = {1, 2, 3}, float k0 = {1}>"
    assert count == merged(one_graph(body, constants=constants), C)


def test_order_of_inputs_counts_where_an_attribute_says_how_to_broadcast():
    model = parse("""
        <ir_version: 3, opset_import: ["": 6]>
        g (float[3, 3] x, float[3, 3] z) => (float[3, 3] y) {
            a = Add <broadcast = 1> (x, z)
            b = Add <broadcast = 1> (z, x)
            y = Mul (a, b)
        }""")
    assert 0 == merged(model)


def test_number_of_outputs_counts():
    body = "a, i = TopK (x, k)  b, j = TopK (x, k)  d, e = TopK <largest = 0> (x, k)  y = Sum (a, b, d)"
    assert 1 == merged(one_graph(body, constants="<int64[1] k = {3}>"), C)
    body = "a, i = MaxPool <kernel_shape = [1]> (z)  b = MaxPool <kernel_shape = [1]> (z)  d = Add (a, b)  y = Squeeze (d, k)"
    assert 0 == merged(one_graph(f"z = Unsqueeze (x, k)  {body}", constants="<int64[1] k = {0}>"), C)


def test_two_graph_outputs_that_are_equal_keep_their_names():
    found = optimize(one_graph("y = Exp (x)  z = Exp (x)", "float[1, 3] y, float[1, 3] z"), RUN, C)
    assert ["y", "z"] == [value.name for value in found.model.graph.outputs]
    assert ["Exp", "Identity"] == found.ops


def test_graph_output_keeps_its_name_when_the_other_node_stands_first():
    found = optimize(
        one_graph("a = Exp (x)  b = Sin (a)  z = Exp (x)  y = Add (b, z)", "float[1, 3] y, float[1, 3] z"), RUN, C
    )
    assert ["Exp", "Sin", "Add"] == found.ops


def test_copies_are_left_at_graph_outputs():
    assert 0 == merged(one_graph("y = Identity (x)  z = Identity (x)", "float[1, 3] y, float[1, 3] z"), C)


def test_large_constants_count_by_identity():
    big = np.ones((1, 3000), np.float32)
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3000] x) => (float[1, 3000] y) { a = Add (x, w)  b = Add (x, w)  d = Add (x, v)  y = Sum (a, b, d) }""")
    model.graph.initializer.extend([onnx.numpy_helper.from_array(big, name) for name in "wv"])
    assert 1 == merged(model, {"x": big})


def test_default_of_an_input_is_no_constant():
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x, float[3] w, float[3] v) => (float[1, 3] y) { a = Add (x, w)  b = Add (x, v)  y = Mul (a, b) }""")
    model.graph.initializer.extend([onnx.numpy_helper.from_array(np.ones(3, np.float32), name) for name in "wv"])
    assert 0 == merged(model, X)
    assert 0 == merged(model, X | {"w": np.full(3, 5, np.float32)})
    model.ir_version = 3
    assert 1 == merged(model, X)


def test_unknown_domains_are_left_alone():
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17, "my": 1]>
        g (float[1, 3] x) => (float[1, 3] y) { a = my.Thing (x)  b = my.Thing (x)  y = Add (a, b) }""")
    assert 0 == merged(model)


@pytest.mark.parametrize(("op", "count"), [("Relu", 1), ("RandomNormalLike", 0)])
def test_calls_of_functions_are_merged_unless_they_draw_numbers(op, count):
    model = parse(f"""
        <ir_version: 8, opset_import: ["": 17, "f": 1]>
        g (float[1, 3] x) => (float[1, 3] y) {{ a = f.outer (x)  b = f.outer (x)  y = Add (a, b) }}
        <domain: "f", opset_import: ["": 17, "f": 1]>
        outer (a) => (b) {{ b = f.inner (a) }}
        <domain: "f", opset_import: ["": 17]>
        inner (a) => (b) {{ b = {op} (a) }}""")
    assert count == merged(model)


def test_references_to_attributes_count():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17, "f": 1]>
        g (float[1, 3] x) => (float[1, 3] y) { y = f.act <p = 0.5, q = 0.25> (x) }
        <domain: "f", opset_import: ["": 17]>
        act <p, q> (x) => (y) {
            a = Elu <alpha: float = @p> (x)
            b = Elu <alpha: float = @p> (x)
            d = Elu <alpha: float = @q> (x)
            y = Sum (a, b, d)
        }""")
    assert 1 == merged(model, X)


def test_node_of_a_subgraph_gives_way_to_one_before_it():
    model = one_graph("""
        a = Exp (x)
        y = If (c) <
            then_branch = t () => (float[1, 3] p) { e = Exp (x)  p = Sin (e) },
            else_branch = f () => (float[1, 3] q) { q = Add (x, a) }
        >""")
    assert 1 == merged(model, C)
    assert 1 == merged(model, C | {"c": np.array(False)})


def test_node_of_a_subgraph_stays_when_the_other_stands_behind_or_beside_it():
    model = one_graph("""
        z = If (c) <
            then_branch = t () => (float[1, 3] p) { e = Exp (x)  p = Sin (e) },
            else_branch = f () => (float[1, 3] q) { d = Exp (x)  q = Add (x, d) }
        >
        a = Exp (x)
        y = Add (a, z)""")
    assert 0 == merged(model, C)


def test_output_of_a_subgraph_becomes_a_copy_of_the_outer_value():
    model = one_graph("""
        a = Exp (x)
        z = If (c) <
            then_branch = t () => (float[1, 3] p) { p = Exp (x) },
            else_branch = f () => (float[1, 3] q) { q = Neg (x) }
        >
        y = Add (a, z)""")
    found = optimize(model, RUN, C)
    assert ["Exp", "If", "Add"] == found.ops
    assert 1 == found.result.stats["nodes"]


def test_values_of_a_loop_body_are_merged_inside_it():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x, int64 n) => (float[1, 3] y) {
            t = Constant <value_int = 1> ()
            cond = Cast <to = 9> (t)
            b = Exp (x)
            y = Loop (n, cond, x) <body = l (int64 i, bool k, float[1, 3] v) => (bool k2, float[1, 3] w) {
                k2 = Identity (k)
                e = Exp (x)
                f = Exp (v)
                h = Exp (v)
                w = Sum (e, f, h, b)
            }>
        }""")
    assert 2 == merged(model, X | {"n": np.array(2, np.int64)})


TWO_IFS = """
    a = If (c) <
        then_branch = t () => (float[1, 3] p) {{ e = {op} (x)  p = Sin (e) }},
        else_branch = f () => (float[1, 3] q) {{ q = Neg (x) }}
    >
    b = If (c) <
        then_branch = t2 () => (float[1, 3] p2) {{ e2 = {other} (x)  p2 = Sin (e2) }},
        else_branch = f2 () => (float[1, 3] q2) {{ q2 = Neg (x) }}
    >
    y = Add (a, b)"""


@pytest.mark.parametrize(
    ("op", "other", "count"), [("Exp", "Exp", 1), ("Exp", "Cos", 0), ("RandomNormalLike", "RandomNormalLike", 0)]
)
def test_nodes_with_equal_subgraphs_are_merged(op, other, count):
    model = one_graph(TWO_IFS.format(op=op, other=other))
    assert count == merged(model, C if count or op != other else None)


def test_sites_that_are_skipped_stay():
    model = one_graph("a = Exp (x)  b = Exp (x)  d = Exp (x)  y = Sum (a, b, d)")
    ctx = context(applications=Applications(skip=[(RUN.name, "b")]))
    assert 1 == optimize(model, RUN, C, ctx=ctx).result.stats["nodes"]
    ctx = context(applications=Applications(limit=1))
    assert 1 == optimize(model, RUN, C, ctx=ctx).result.stats["nodes"]


def test_a_wide_graph_takes_one_walk():
    b = GraphBuilder(opset=17)
    x = b.input("x", DType.FLOAT, [2])
    total = x
    for _ in range(5_000):
        total = b.op("Add", total, b.op("Exp", x))
    b.output(total, "y")
    model = clone_model(b.build())
    assert {"nodes": 4_999} == dict(RUN.run(model.graph, context(executor=False)).stats)
