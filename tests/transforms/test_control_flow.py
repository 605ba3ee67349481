from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.rewriting import Applications
from graphopt.transforms.constants import ConstantsToInitializers
from graphopt.transforms.control_flow import SimplifyIf, SimplifyLoop
from tests.transforms.whole_graph import assert_same_bits, context, optimize, parse

X = {"x": np.array([[-1.5, 0.0, 2.0]], np.float32)}


def if_model(
    condition: str = "bool c = {1}", outputs: str = "float[1, 3] y", tail: str = "y = Relu (z)", opset: int = 17
):
    return parse(f"""
        <ir_version: 8, opset_import: ["": {opset}]>
        g (float[1, 3] x) => ({outputs}) <{condition}> {{
            a = Exp (x)
            z = If (c) <
                then_branch = t () => (float[1, 3] p) <float[1] k = {{2}}> {{ e = Mul (a, k)  p = Sin (e) }},
                else_branch = f () => (float[1, 3] q) <float[1] k = {{3}}> {{ e = Add (x, k)  q = Neg (e) }}
            >
            {tail}
        }}""")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("bool c = {1}", ["Exp", "Mul", "Sin", "Relu"]),
        ("bool c = {0}", ["Add", "Neg", "Relu"]),
        ("bool[1] c = {0}", ["Add", "Neg", "Relu"]),
    ],
)
@pytest.mark.parametrize("opset", [7, 11, 13, 17, 21])
def test_branch_of_a_constant_condition_takes_the_place_of_the_if(condition, expected, opset):
    found = optimize(if_model(condition, opset=opset), SimplifyIf(), X)
    assert expected == found.ops
    assert {"nodes": 1} == dict(found.result.stats)
    assert "k" in found.constants


def test_graph_output_keeps_its_name():
    found = optimize(if_model(tail="y = Identity (x)", outputs="float[1, 3] y, float[1, 3] z"), SimplifyIf(), X)
    assert ["Exp", "Mul", "Sin", "Identity"] == found.ops
    assert ["y", "z"] == [value.name for value in found.model.graph.outputs]


def test_branch_that_gives_out_a_captured_value_or_one_value_twice():
    """What ONNX Runtime refuses (a captured value as output of a branch) is read all the same."""
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x) => (float[1, 3] y, float[1, 3] z, float[1, 3] w) <bool c = {1}> {
            a = Exp (x)
            y, z, w = If (c) <
                then_branch = t () => (float[1, 3] p, float[1, 3] p, float[1, 3] a) { p = Sin (a) },
                else_branch = f () => (float[1, 3] q, float[1, 3] q2, float[1, 3] q3) {
                    q = Neg (x)  q2 = Neg (x)  q3 = Neg (x)
                }
            >
        }""")
    found = optimize(model, SimplifyIf())
    assert ["y", "z", "w"] == [value.name for value in found.model.graph.outputs]
    assert {"Exp": 1, "Sin": 1, "Identity": 1} == Counter(found.ops)
    assert_same_bits(
        parse("""
            <ir_version: 8, opset_import: ["": 17]>
            g (float[1, 3] x) => (float[1, 3] y, float[1, 3] z, float[1, 3] w) {
                w = Exp (x)  y = Sin (w)  z = Identity (y)
            }"""),
        found.proto,
        X,
    )


def test_condition_of_a_constant_node():
    found = optimize(nested(1), SimplifyIf(), X)
    assert ["Exp", "Relu", "Add"] == found.ops


@pytest.mark.parametrize("condition", ["bool[0] c = {}", "bool[2] c = {1, 1}"])
def test_condition_that_is_not_one_element_stays(condition):
    assert not optimize(if_model(condition), SimplifyIf()).result.changed


def test_condition_that_callers_may_override_stays():
    model = if_model()
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    assert not optimize(model, SimplifyIf(), X).result.changed
    model.ir_version = 3
    model.opset_import[0].version = 11
    assert optimize(model, SimplifyIf()).result.changed


def test_names_that_another_subgraph_has_too_are_renamed():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x, bool d) => (float[1, 3] y) <bool c = {1}> {
            u = If (c) <
                then_branch = t () => (float[1, 3] p) { e = Exp (x)  p = Sin (e) },
                else_branch = f () => (float[1, 3] q) { q = Neg (x) }
            >
            v = If (d) <
                then_branch = t2 () => (float[1, 3] r) { e = Cos (x)  r = Sin (e) },
                else_branch = f2 () => (float[1, 3] s) { e = Abs (x)  s = Neg (e) }
            >
            y = Add (u, v)
        }""")
    found = optimize(model, SimplifyIf(), X | {"d": np.array(True)})
    first = next(iter(found.model.graph.nodes))
    assert "Exp" == first.op
    assert "e" != first.output.name


def nested(depth: int) -> onnx.ModelProto:
    """If in If in If, each branch reading values of all graphs around it."""
    one = numpy_helper.from_array(np.array(True))
    value = helper.make_tensor_value_info
    nodes = [helper.make_node("Relu", ["x"], [f"v{depth}"])]
    for level in reversed(range(depth)):
        inner = helper.make_graph(nodes, f"t{level}", [], [value(f"v{level + 1}", TensorProto.FLOAT, [1, 3])])
        other = helper.make_graph(
            [helper.make_node("Neg", ["x"], [f"w{level}"])],
            f"f{level}",
            [],
            [value(f"w{level}", TensorProto.FLOAT, [1, 3])],
        )
        nodes = [
            helper.make_node("Constant", [], [f"c{level}"], value=one),
            helper.make_node("Exp", ["x"], [f"e{level}"]),
            helper.make_node("If", [f"c{level}"], [f"i{level}"], then_branch=inner, else_branch=other),
            helper.make_node("Add", [f"e{level}", f"i{level}"], [f"v{level}"]),
        ]
    infos = [value(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "v0")]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def test_twenty_five_nested_ifs_go_in_one_run():
    found = optimize(nested(25), SimplifyIf(), X)
    assert {"nodes": 25} == dict(found.result.stats)
    assert "If" not in found.ops
    flat = optimize(nested(25), ConstantsToInitializers(), X)
    assert 25 == optimize(flat.proto, SimplifyIf(), X).result.stats["nodes"]


def test_ifs_inside_a_branch_that_goes_are_not_touched():
    model = if_model("bool c = {0}")
    then_branch = next(item.g for item in model.graph.node[1].attribute if item.name == "then_branch")
    inner = nested(3).graph
    then_branch.node.extend(inner.node)
    assert {"nodes": 1} == dict(optimize(model, SimplifyIf(), X).result.stats)


def test_site_that_is_skipped_stays():
    ctx = context(applications=Applications(skip=[("simplify-if", "z")]))
    assert not optimize(if_model(), SimplifyIf(), X, ctx=ctx).result.changed


# -- Loop ---------------------------------------------------------------------------------------------------------------------------


def loop_model(
    trips: str,
    condition: str = "",
    *,
    opset: int = 17,
    go: str = "k2 = Identity (k)",
    rank: str = "",
    named: bool = False,
) -> onnx.ModelProto:
    """A loop with one carried value and one scan output."""
    given = ", ".join(["n" if trips else "", "c" if condition else "", "x"])
    constants = ", ".join(
        ([f"int64{rank} n = {{{trips}}}"] if trips else []) + ([f"bool{rank} c = {{{condition}}}"] if condition else [])
    )
    return parse(f"""
        <ir_version: 8, opset_import: ["": {opset}]>
        g (float[1, 3] x) => (float[1, 3] y, float[m, 1, 3] z) {f"<{constants}>" if constants else ""} {{
            a = Exp (x)
            u, v = Loop ({given}) <body = l (int64{rank} i, bool{rank} k, float[1, 3] s) => (bool{rank} k2, float[1, 3] w, float[1, 3] o) {{
                {go}
                f = Cast <to = 1> (i)
                b = Sin (s)
                h = Add (b, a)
                w = Add (h, f)
                o = Mul (w, s)
            }}>
            {"y = Relu (u)  z = Neg (v)"}
        }}""")


@pytest.mark.parametrize("opset", [11, 13, 17, 21])
@pytest.mark.parametrize("rank", ["", "[1]"])
@pytest.mark.parametrize(("trips", "condition"), [("1", ""), ("1", "1")])
def test_loop_that_runs_once_becomes_its_body(trips, condition, rank, opset):
    found = optimize(loop_model(trips, condition, opset=opset, rank=rank), SimplifyLoop(), X)
    assert "Loop" not in found.ops
    assert "Unsqueeze" in found.ops
    assert {"nodes": 1} == dict(found.result.stats)


@pytest.mark.parametrize(("trips", "condition"), [("0", ""), ("-3", "1"), ("5", "0"), ("", "0")])
def test_loop_that_never_runs_becomes_its_initial_values(trips, condition):
    found = optimize(loop_model(trips, condition), SimplifyLoop(), X)
    assert ["Relu", "Neg"] == found.ops


@pytest.mark.parametrize(("trips", "condition", "go"), [("5", "1", "0"), ("", "1", "0"), ("5", "", "0"), ("", "", "0")])
def test_loop_whose_body_says_stop_runs_once(trips, condition, go):
    stop = "k2 = Constant <value = bool {0}> ()"
    found = optimize(loop_model(trips, condition, go=stop), SimplifyLoop(), X)
    assert "Loop" not in found.ops


@pytest.mark.parametrize(("trips", "condition", "go"), [("2", "", "1"), ("2", "1", "1"), ("", "1", "1")])
def test_loop_that_may_run_more_often_stays(trips, condition, go):
    feeds = X if trips else None
    assert not optimize(loop_model(trips, condition), SimplifyLoop(), feeds).result.changed


def test_loop_with_a_condition_that_is_computed_stays():
    model = loop_model("1", "1")
    del model.graph.initializer[1]
    model.graph.node.insert(0, helper.make_node("Cast", ["x0"], ["c"], to=TensorProto.BOOL))
    model.graph.initializer.append(numpy_helper.from_array(np.array(1, np.int64), "x0"))
    assert not optimize(model, SimplifyLoop(), X).result.changed


def test_graph_outputs_of_a_loop_keep_their_names():
    model = loop_model("1")
    del model.graph.node[2:]
    for info, name in zip(model.graph.output, "uv", strict=True):
        info.name = name
    found = optimize(model, SimplifyLoop(), X)
    assert ["u", "v"] == [value.name for value in found.model.graph.outputs]
    model = loop_model("0")
    del model.graph.node[2:]
    for info, name in zip(model.graph.output, "uv", strict=True):
        info.name = name
    found = optimize(model, SimplifyLoop(), X)
    assert ["Identity", "Identity"] == found.ops


def test_never_running_loop_with_scan_output_of_unknown_size_stays():
    model = loop_model("0")
    body = next(node for node in model.graph.node if node.op_type == "Loop").attribute[0].g
    body.output[2].type.tensor_type.shape.dim[1].dim_param = "unknown"
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "also_unknown"
    body.input[2].type.tensor_type.shape.dim[1].dim_param = "unknown"
    body.output[1].type.tensor_type.shape.dim[1].dim_param = "unknown"
    for info in model.graph.output:
        info.type.tensor_type.ClearField("shape")
    assert not optimize(model, SimplifyLoop()).result.changed
    model = loop_model("0")
    body = next(node for node in model.graph.node if node.op_type == "Loop").attribute[0].g
    assert optimize(model, SimplifyLoop(), X).result.changed


def test_loop_and_if_inside_each_other():
    model = parse("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3] x, bool d) => (float[1, 3] y) <int64 n = {1}, bool c = {1}> {
            y = If (d) <
                then_branch = t () => (float[1, 3] p) {
                    p = Loop (n, , x) <body = l (int64 i, bool k, float[1, 3] s) => (bool k2, float[1, 3] w) {
                        k2 = Identity (k)
                        w = If (c) <
                            then_branch = t2 () => (float[1, 3] r) { r = Mul (s, x) },
                            else_branch = f2 () => (float[1, 3] q) { q = Neg (x) }
                        >
                    }>
                },
                else_branch = f () => (float[1, 3] o) { o = Abs (x) }
            >
        }""")
    first = optimize(model, SimplifyLoop(), X | {"d": np.array(True)})
    assert {"nodes": 1} == dict(first.result.stats)
    second = optimize(first.proto, SimplifyIf(), X | {"d": np.array(True)})
    assert {"nodes": 1} == dict(second.result.stats)
    assert ["If"] == second.ops


EITHER = """
    <ir_version: 8, opset_import: ["": 17]>
    g (float[1, 3] x, bool c) => (float[1, 3] y) {{
        a = Exp (x)
        z = If (c) <
            then_branch = t () => (float[1, 3] p) <float[1] k = {{2}}> {{ e = Mul (a, k)  p = Sin (e) }},
            else_branch = f () => (float[1, 3] q) <float[1] k = {{{number}}}> {{ h = Mul ({value}, k)  q = {op} (h) }}
        >
        y = Relu (z)
    }}"""


@pytest.mark.parametrize("condition", [False, True])
def test_branches_that_are_the_same_are_no_choice(condition):
    found = optimize(parse(EITHER.format(number=2, value="a", op="Sin")), SimplifyIf(), X | {"c": np.array(condition)})
    assert ["Exp", "Mul", "Sin", "Relu"] == found.ops


@pytest.mark.parametrize(("number", "value", "op"), [(3, "a", "Sin"), (2, "x", "Sin"), (2, "a", "Cos")])
def test_branches_that_differ_stay(number, value, op):
    model = parse(EITHER.format(number=number, value=value, op=op))
    assert not optimize(model, SimplifyIf(), X | {"c": np.array(True)}).result.changed
