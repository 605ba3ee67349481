"""Each invariant, broken on purpose, is reported by its own check."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.errors import ModelError
from graphopt.ir import Constant, DType, Graph, GraphBuilder, Model, Node, TensorType, Value, find_problems, verify
from graphopt.ir.verifier import CHECKS
from tests.ir.sample_models import chain, nested_ifs, rich_model


def problems(subject: Model | Graph) -> list[str]:
    return list(find_problems(subject))


def nodes(model: Model) -> list[Node]:
    return list(model.graph.nodes)


def test_good_models_have_no_problems():
    for model in (chain(3), nested_ifs(4), rich_model()):
        assert problems(model) == []
        for graph in model.graphs():
            assert problems(graph) == []


def test_each_check_says_what_it_holds():
    assert all(check.__doc__ for check in CHECKS)
    assert len({check.__name__ for check in CHECKS}) == len(CHECKS)


def test_error_names_the_first_problem_and_counts_the_others():
    model = chain(3)
    for node in nodes(model):
        node.output.graph_outputs += 1
    with pytest.raises(
        ModelError, match=r"value 'relu' of node 'relu' \(Relu\) is given out 0 times.* \(and 2 more problems\)"
    ):
        verify(model)


def test_link_that_is_not_mutual():
    model = chain(3)
    _, second, third = nodes(model)
    third._prev = second._prev
    assert problems(model) == ["node 'y' (Relu): its link to the node before it is broken"]


def test_count_that_is_wrong():
    model = chain(3)
    model.graph._count = 4
    assert problems(model) == ["graph 'graph': counts 4 nodes, its list has 3"]


def test_list_tied_into_a_loop():
    model = chain(3)
    first, second, _ = nodes(model)
    second._next = first
    assert "graph 'graph': counts 3 nodes, its list has more" in problems(model)


def test_node_that_says_it_is_elsewhere():
    model = chain(2)
    nodes(model)[0].graph = Graph("other")
    assert problems(model) == [
        "node 'relu' (Relu): stands in graph 'graph', but says that it stands in Graph('other', 0 nodes)"
    ]


def test_owner_and_parents():
    model = nested_ifs(1)
    node = next(node for node in model.graph.nodes if node.op == "If")
    node.subgraphs[0].parent = None
    node.subgraphs[1]._owner = model
    model.graph._owner = None
    assert [problem.split(",")[0] for problem in problems(model)][:3] == [
        "graph 'graph': belongs to Model(Graph('graph'",
        "node 'if' (If): graph 'body' says that it is inside None",
        "node 'if' (If): graph 'other' is a subgraph and the graph of Model(Graph('graph'",
    ]


def test_subgraph_in_two_places():
    model = nested_ifs(1)
    node = next(node for node in model.graph.nodes if node.op == "If")
    node.set_attribute("else_branch", node.subgraphs[0])
    assert any("is in a second place; clone it" in problem for problem in problems(model))


def test_subgraphs_that_attributes_do_not_hold():
    model = nested_ifs(1)
    node = next(node for node in model.graph.nodes if node.op == "If")
    node.subgraphs = node.subgraphs[::-1]
    assert problems(model) == [
        "node 'if' (If): its list of subgraphs is not what its attributes hold; use set_attribute"
    ]


def test_value_defined_twice():
    model = chain(2)
    first = nodes(model)[0]
    model.graph.add_input(first.output)
    found = problems(model)
    assert "node 'relu' (Relu): output 0 'relu' is defined twice" in found
    assert "node 'relu' (Relu): output 0 'relu' is an input or constant of a graph as well" in found
    model = chain(1)
    model.graph.add_input(model.graph.inputs[0])
    assert "graph 'graph': value 'x' is defined twice" in problems(model)


def test_producer_and_index():
    model = chain(2)
    first, second = nodes(model)
    first.output.index = 1
    second.output.producer = first
    found = problems(model)
    assert len(found) == 2
    assert "output 0 'relu' says that it is output 1 of Node" in found[0]


def test_input_with_a_default_that_is_no_initializer():
    model = chain(1)
    model.graph.inputs[0].const = Constant(np.zeros(1, np.float32))
    assert problems(model)[0].startswith("graph 'graph': input 'x' is not marked as one, or has a default")


def test_value_read_before_it_is_defined():
    model = chain(3)
    first, _, third = nodes(model)
    model.graph.move_before(first, third)
    assert problems(model) == [
        "node 'y' (Relu): input 0 'relu_1' is read before it is defined, or outside graph 'graph' that defines it; sort the nodes"
    ]


def test_value_of_a_subgraph_read_outside_of_it():
    model = nested_ifs(1)
    node, last = nodes(model)
    inner = node.subgraphs[0].outputs[0]
    last.replace_input(0, inner)
    assert "outside graph 'body' that defines it" in problems(model)[0]


def test_constant_of_a_subgraph_read_outside_of_it():
    b = GraphBuilder()
    then = b.subgraph("then")
    constant = then.constant(1.0)
    then.output(constant)
    b.If(b.input("c"), then_branch=then, else_branch=b.subgraph())
    b.Neg(constant)
    assert "outside graph 'then' that defines it" in problems(b.build())[0]


def test_value_defined_nowhere():
    model = chain(1)
    nodes(model)[0].replace_input(0, Value("ghost"))
    assert "'ghost' is defined nowhere" in problems(model)[0]
    model = chain(1)
    model.graph.set_output(0, Value("ghost"))
    assert problems(model)[0].startswith("graph 'graph': output 'ghost' is defined nowhere")


def test_value_of_a_detached_graph():
    model, other = chain(1), chain(1)
    nodes(model)[0].replace_input(0, other.graph.inputs[0])
    assert "is defined in graph 'graph', which is not part of the model" in problems(model)[0]


def test_names_are_unique_in_a_graph():
    model = chain(2)
    nodes(model)[0].output.name = "x"
    assert "node 'x' (Relu): output 0 has the name 'x' of another value; names are unique in a graph" in problems(model)


def test_sibling_graphs_may_share_names():
    model = nested_ifs(1)
    node = nodes(model)[0]
    for graph in node.subgraphs:
        graph.outputs[0].name = "same"
    assert problems(model) == []


def test_captured_value_that_is_hidden():
    b = GraphBuilder()
    x, c = b.input("x"), b.input("c")
    then = b.subgraph()
    first = then.Relu(x)
    then.output(then.Add(first, x))
    b.output(b.If(c, then_branch=then, else_branch=b.subgraph()))
    first.name = "x"
    assert "input 1 'x' is hidden by another value of that name" in problems(b.build())[0]
    first.name = "c"
    assert problems(b.build()) == []


def test_used_value_without_a_name():
    model = chain(2)
    nodes(model)[0].output.name = ""
    assert problems(model) == ["node '' (Relu): output 0 has no name; give it one"]
    model = chain(0)
    model.graph.inputs[0].name = ""
    assert problems(model) == ["graph 'graph': an input or constant has no name; give it one"]


def test_use_that_the_value_does_not_know():
    model = chain(2)
    value = nodes(model)[0].output
    value._uses.clear()
    assert problems(model) == ["node 'y' (Relu): reads 'relu' at input 0, which does not know of it; use replace_input"]


def test_use_that_is_no_input():
    model = chain(2)
    first, second = nodes(model)
    first.output._uses[first, 0] = None
    first.output._uses[second, 5] = None
    assert problems(model) == [
        "value 'relu' of node 'relu' (Relu) is used by node 'relu' (Relu) at input 0, which reads something else",
        "value 'relu' of node 'relu' (Relu) is used by node 'y' (Relu) at input 5, which reads something else",
    ]


def test_use_by_a_node_that_is_gone():
    model = chain(1)
    Node("Relu", [model.graph.inputs[0]], name="lost")
    assert problems(model) == [
        "value 'x' is used by node 'lost' (Relu), which is in no graph of the model; drop its uses"
    ]


def test_count_of_graph_outputs():
    model = chain(1)
    model.graph.outputs[0].graph_outputs = 2
    assert "is given out 1 times, but counts 2" in problems(model)[0]


@pytest.mark.parametrize(
    ("stated", "good"),
    [
        (TensorType(DType.FLOAT, (2, 3)), True),
        (TensorType(DType.FLOAT, (2, None)), True),
        (TensorType(DType.UNDEFINED), True),
        (None, True),
        (TensorType(DType.FLOAT, (3, 2)), False),
        (TensorType(DType.FLOAT, (2,)), False),
        (TensorType(DType.DOUBLE, (2, 3)), False),
    ],
)
def test_type_of_a_constant(stated, good):
    b = GraphBuilder()
    b.constant(np.zeros((2, 3), np.float32)).type = stated
    assert (problems(b.build()) == []) is good


def test_initializer_without_numbers():
    b = GraphBuilder()
    b.constant(1.0).const = None
    assert problems(b.build()) == ["graph 'graph': initializer 'const' has no numbers"]


@pytest.mark.parametrize(
    ("op_type", "count", "outputs", "expected"),
    [
        ("Relu", 2, 1, "has 2 inputs, expected 1 at opset 17"),
        ("Relu", 1, 2, "has 2 outputs, expected 1 at opset 17"),
        ("Concat", 0, 1, "has 0 inputs, expected 1 or more at opset 17"),
        ("Conv", 1, 1, "has 1 inputs, expected 2 to 3 at opset 17"),
    ],
)
def test_arity(op_type, count, outputs, expected):
    b = GraphBuilder()
    x = b.input("x")
    node = b.node(op_type, *[x] * count, outputs=outputs, name="n")
    assert problems(b.build()) == [f"node 'n' ({node.op}): {expected}"]


def test_absent_inputs_where_the_operator_needs_them():
    b = GraphBuilder()
    x = b.input("x")
    b.node("Conv", x, None, name="n")
    b.node("Clip", x, None, x)
    assert problems(b.build()) == ["node 'n' (Conv): input 'W' is absent, but must be there"]


def test_unknown_operators_may_have_any_arity():
    b = GraphBuilder()
    b.node("some.domain::Thing", *[b.input("x")] * 9, outputs=7)
    assert problems(b.build()) == []


def test_calls_have_the_arity_of_the_function():
    b = GraphBuilder()
    f = b.function("d", "F", ["a"])
    f.output(f.graph.inputs[0])
    b.node("d::F", *[b.input("x")] * 2, outputs=2, name="n")
    assert problems(b.build()) == [
        "node 'n' (d::F): has 2 inputs, but the function takes 1",
        "node 'n' (d::F): has 2 outputs, but the function gives 1",
    ]


def test_functions_that_call_themselves():
    b = GraphBuilder()
    for name, called in (("F", "G"), ("G", "H"), ("H", "F"), ("Good", "H")):
        f = b.function("d", name, ["a"])
        f.output(f.op(f"d::{called}", f.graph.inputs[0]))
    assert problems(b.build()) == [
        "function 'd::F': calls itself, by way of 'd::F' -> 'd::G' -> 'd::H' -> 'd::F'; break the circle"
    ]


def test_functions_that_call_each_other_in_a_diamond():
    b = GraphBuilder()
    for level in range(40):
        f = b.function("d", f"F{level}", ["a"])
        x = f.graph.inputs[0]
        f.output(f.Add(f.op(f"d::F{level + 1}", x), f.op(f"d::F{level + 1}", x)) if level < 39 else x)
    assert problems(b.build()) == []


def test_function_under_another_key():
    b = GraphBuilder()
    b.function("d", "F", [])
    function = b.model.functions.pop(("d", "F", ""))
    b.model.functions["d", "G", "o"] = function
    assert problems(b.build()) == ["function 'd::F': is registered as 'd::G:o'"]


def test_one_graph_may_read_values_around_it():
    model = nested_ifs(2)
    inner = next(node for node in model.graph.nodes if node.op == "If").subgraphs[0]
    verify(inner)
    first = next(iter(inner.nodes))
    first.replace_input(0, Value("ghost"))
    with pytest.raises(ModelError, match="ghost"):
        verify(inner)
