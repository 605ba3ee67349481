from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt.errors import ModelError
from graphopt.ir import Function, Graph, Node, Value
from graphopt.rewriting import Applications
from graphopt.serde import lift_model
from graphopt.transforms.constants import ConstantsToInitializers
from graphopt.transforms.dead_code import RemoveUnusedFunctions
from graphopt.transforms.inlining import InlineFunctions
from tests.transforms.whole_graph import context, optimize, parse

X = {"x": np.array([[-1.5, 0.0, 2.0]], np.float32)}


def calls(
    body: str, functions: str, *, opsets: str = '"": 17, "f": 1', inputs: str = "float[1, 3] x"
) -> onnx.ModelProto:
    return parse(f"""
        <ir_version: 10, opset_import: [{opsets}]>
        g ({inputs}) => (float[1, 3] y) {{ {body} }}
        {functions}""")


ACT = """
    <domain: "f", opset_import: ["": 17]>
    act <alpha>(a) => (b) { c = Elu <alpha: float = @alpha> (a)  k = Constant <value_float: float = @alpha> ()  b = Mul (c, k) }"""


def test_calls_become_nodes_with_the_attributes_of_the_call():
    model = calls("c = f.act <alpha = 0.5> (x)  d = f.act <alpha = 2.0> (c)  y = Add (c, d)", ACT)
    found = optimize(model, InlineFunctions(), X)
    assert ["Elu", "Constant", "Mul", "Elu", "Constant", "Mul", "Add"] == found.ops
    assert {"calls": 2} == dict(found.result.stats)
    assert [0.5, 2.0] == [node.attr("alpha") for node in found.model.graph.nodes if node.op == "Elu"]
    assert 1 == len(found.model.functions)
    assert {"functions": 1} == dict(optimize(found.proto, RemoveUnusedFunctions(), X).result.stats)


def test_defaults_of_attributes_are_used():
    functions = """
        <domain: "f", opset_import: ["": 17]>
        act <alpha: float = 0.25>(a) => (b) { b = Elu <alpha: float = @alpha> (a) }"""
    found = optimize(calls("c = f.act (x)  y = f.act <alpha = 3.0> (c)", functions), InlineFunctions(), X)
    assert [0.25, 3.0] == [node.attr("alpha") for node in found.model.graph.nodes]


def test_nested_calls_go_in_one_run():
    functions = """
        <domain: "f", opset_import: ["": 17, "f": 1]>
        outer <p>(a) => (b, d) { c = f.inner <alpha: float = @p> (a)  b = f.inner <alpha = 0.5> (c)  d = Neg (c) }
        <domain: "f", opset_import: ["": 17]>
        inner <alpha>(a) => (b) { b = Elu <alpha: float = @alpha> (a) }"""
    found = optimize(calls("c, d = f.outer <p = 2.0> (x)  y = Add (c, d)", functions), InlineFunctions(), X)
    assert ["Elu", "Elu", "Neg", "Add"] == found.ops
    assert {"calls": 3} == dict(found.result.stats)


def test_calls_inside_subgraphs_and_bodies_with_subgraphs():
    functions = """
        <domain: "f", opset_import: ["": 17]>
        act <alpha>(a, c) => (b) {
            k = Neg (a)
            b = If (c) <
                then_branch = t () => (p) { p = Elu <alpha: float = @alpha> (k) },
                else_branch = e () => (q) { q = Identity (a) }
            >
        }"""
    body = """
        y = If (c) <
            then_branch = t () => (float[1, 3] p) { k = f.act <alpha = 0.5> (x, c)  p = f.act <alpha = 2.0> (k, c) },
            else_branch = e () => (float[1, 3] q) { q = f.act <alpha = 3.0> (x, c) }
        >"""
    model = calls(body, functions, inputs="float[1, 3] x, bool c")
    for condition in (True, False):
        found = optimize(model, InlineFunctions(), X | {"c": np.array(condition)})
        assert {"calls": 3} == dict(found.result.stats)
        assert not [node for node in found.model.graph.walk() if node.domain == "f"]


def test_absent_inputs_stay_absent():
    functions = """
        <domain: "f", opset_import: ["": 17]>
        clip (a, low, high) => (b) { b = Clip (a, low, high) }"""
    for given in ("x, one", "x, , one", "x"):
        body = f"one = Constant <value_float = 1.0> ()  y = f.clip ({given})"
        found = optimize(calls(body, functions), InlineFunctions(), X)
        (clip,) = (node for node in found.model.graph.nodes if node.op == "Clip")
        assert given.count("one") == sum(value is not None for value in clip.inputs[1:])


def test_an_input_that_is_handed_through_and_an_output_nobody_reads():
    functions = """
        <domain: "f", opset_import: ["": 17]>
        pair (a) => (b, a2) { b = Neg (a)  a2 = Identity (a) }"""
    model = calls("b, y = f.pair (x)", functions)
    model.functions[0].output[1] = "a"
    del model.functions[0].node[1]
    found = optimize(model, InlineFunctions())
    assert "Identity" in found.ops
    assert ["y"] == [value.name for value in found.model.graph.outputs]


def test_constants_of_bodies_come_along():
    functions = """
        <domain: "f", opset_import: ["": 17]>
        add (a) => (b) { k = Constant <value_floats = [1.0, 2.0, 3.0]> ()  b = Add (a, k) }"""
    model = lift_model(calls("c = f.add (x)  y = f.add (c)", functions))
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        ConstantsToInitializers().run(graph, context())
    InlineFunctions().run(model.graph, context())
    assert ["Add", "Add"] == [node.op for node in model.graph.nodes]
    assert 2 == len({value.name for value in model.graph.initializers()})


@pytest.mark.parametrize(
    ("opset", "body", "inlined"),
    [
        (13, "b = Neg (a)", True),
        (12, "b = Neg (a)", False),
        (11, "b = Softmax (a)", False),
        (17, "b = Softmax (a)", True),
    ],
)
def test_a_call_stays_when_its_operators_are_others_at_the_model_s_opset(opset, body, inlined):
    functions = f"""
        <domain: "f", opset_import: ["": {opset}]>
        act (a) => (b) {{ {body} }}"""
    model = onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["": 17, "f": 1]>
        g (float[1, 3] x) => (float[1, 3] y) {{ y = f.act (x) }}
        {functions}""")
    found = optimize(model, InlineFunctions())
    assert inlined == found.result.changed
    assert ({"calls": 1} if inlined else {"kept: other opset": 1}) == dict(found.result.stats)


def test_domains_that_only_a_function_imports_are_imported():
    functions = """
        <domain: "f", opset_import: ["": 17, "ai.onnx.ml": 3]>
        act (a) => (b) { b = ai.onnx.ml.Normalizer <norm = "L1"> (a) }"""
    found = optimize(calls("y = f.act (x)", functions), InlineFunctions(), X)
    assert 3 == found.model.opset_imports["ai.onnx.ml"]


@pytest.mark.parametrize("keep", ["f", "f::act"])
def test_functions_to_keep_stay_and_are_inlined_into(keep):
    functions = """
        <domain: "f", opset_import: ["": 17, "h": 1]>
        act (a) => (b) { b = h.inner (a) }
        <domain: "h", opset_import: ["": 17]>
        inner (a) => (b) { b = Neg (a) }"""
    found = optimize(
        calls("y = f.act (x)", functions, opsets='"": 17, "f": 1, "h": 1'), InlineFunctions(keep=(keep,)), X
    )
    assert ["f::act"] == found.ops
    assert ["Neg"] == [node.op for node in found.model.functions["f", "act", ""].graph.nodes]


def test_calls_that_would_become_too_many_nodes_stay():
    levels = "".join(
        f"""
        <domain: "f", opset_import: ["": 17, "f": 1]>
        l{level} (a) => (b) {{ c = f.l{level + 1} (a)  d = f.l{level + 1} (c)  b = f.l{level + 1} (d) }}"""
        for level in range(30)
    )
    last = """
        <domain: "f", opset_import: ["": 17]>
        l30 (a) => (b) { b = Neg (a) }"""
    model = calls("y = f.l0 (x)", levels + last)
    found = optimize(model, InlineFunctions())
    assert {"kept: too many nodes": 1} == dict(found.result.stats)
    model = calls("y = f.l25 (x)", levels + last)
    assert 1 + 3 + 9 + 27 + 81 + 243 == optimize(model, InlineFunctions(), X).result.stats["calls"]


def test_functions_that_recurse_are_an_error():
    model = lift_model(calls("y = f.act <alpha = 0.5> (x)", ACT))
    value = Value("a")
    graph = Graph("loop", [value])
    node = graph.append(Node("again", [value], [Value("b")], domain="f"))
    graph.add_output(node.output)
    model.functions["f", "again", ""] = Function("f", "again", graph, {"": 17, "f": 1})
    with pytest.raises(ModelError, match="calls itself"):
        InlineFunctions().run(model.graph, context())


def test_sites_are_skipped():
    model = calls("c = f.act <alpha = 0.5> (x)  y = f.act <alpha = 2.0> (c)", ACT)
    ctx = context(applications=Applications(skip=[("inline-functions", "c")]))
    assert ["f::act", "Elu", "Constant", "Mul"] == optimize(model, InlineFunctions(), X, ctx=ctx).ops
