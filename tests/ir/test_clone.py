"""Deep copies, and bodies copied to where they are called."""

from __future__ import annotations

import pytest

from graphopt.errors import ModelError
from graphopt.ir import (
    AttributeKind,
    DType,
    GraphBuilder,
    Listener,
    Node,
    Value,
    clone_graph,
    clone_model,
    fingerprint,
    inline_graph,
    print_model,
    replace_all_uses,
    structural_equal,
    verify,
)
from tests.ir.sample_models import chain, f32, nested_ifs, rich_model


def test_copy_is_equal_in_every_detail():
    model = rich_model()
    model.source = "somewhere"
    copy = clone_model(model)
    verify(copy)
    assert print_model(copy, weights="inline") == print_model(model, weights="inline")
    assert fingerprint(copy) == fingerprint(model)
    assert copy.source == "somewhere"


def test_copy_shares_constants_and_origins_only():
    model = rich_model()
    model.graph.origin = origin = object()
    copy = clone_model(model)
    mine = {id(item) for graph in model.graphs() for item in (graph, *graph.nodes, *graph.values())}
    theirs = {id(item) for graph in copy.graphs() for item in (graph, *graph.nodes, *graph.values())}
    assert not mine & theirs
    constants = [[v.const for graph in m.graphs() for v in graph.initializers()] for m in (model, copy)]
    assert all(a is b for a, b in zip(*constants, strict=True))
    assert copy.graph.origin is origin


def test_edits_of_a_copy_leave_the_original_alone():
    model = rich_model()
    before = print_model(model)
    copy = clone_model(model)
    for graph in list(copy.graphs()):
        graph.doc = "changed"
        if graph.metadata is not None:
            graph.metadata["new"] = "1"
        for value in graph.values():
            value.name += "_changed"
            if value.metadata is not None:
                value.metadata["new"] = "1"
        for node in graph.nodes:
            node.set_attribute("new", 1) if node.domain else None
            node.resize_inputs(0)
    copy.metadata["new"] = "1"
    copy.opset_imports["new"] = 1
    for function in copy.functions.values():
        function.attribute_names.append("new")
    assert print_model(model) == before
    verify(model)


def test_names_of_a_copy_stay_taken():
    copy = clone_model(chain(2))
    assert copy.graph.fresh_name("relu") == "relu_2"


def test_graph_copy_reads_captured_values_or_their_replacements():
    model = nested_ifs(2)
    x = model.graph.inputs[1]
    inner = next(node for node in model.graph.nodes if node.op == "If").subgraphs[0]
    kept, mapping = clone_graph(inner)
    assert {value for value in mapping if value.home is not None} == set(mapping)
    assert x not in mapping
    assert kept.parent is None
    assert any(x in node.inputs for node in kept.nodes)
    assert structural_equal(kept, inner, names=True)
    other = Value("other")
    replaced, mapping = clone_graph(inner, {x: other})
    assert x not in mapping
    assert not any(x in node.inputs for node in replaced.walk())
    assert other.use_count == sum(list(node.inputs).count(x) for node in inner.walk())


def test_unsorted_graph_cannot_be_copied():
    model = chain(3)
    first, _, last = model.graph.nodes
    model.graph.move_before(first, last)
    with pytest.raises(ModelError, match="reads 'relu_1', which is not defined before it"):
        clone_model(model)


def test_value_from_nowhere_cannot_be_copied():
    model = chain(1)
    next(iter(model.graph.nodes)).replace_input(0, Value("ghost"))
    with pytest.raises(ModelError, match="'ghost', which is not defined before it"):
        clone_model(model)


def if_model():
    """If whose branch has a constant, two nodes, a nested If, and hands a captured value through."""
    b = GraphBuilder()
    x, c = b.input("x", DType.FLOAT, ["n"]), b.input("c", DType.BOOL, [])
    then = b.subgraph("then")
    inner, other = then.subgraph("inner"), then.subgraph("other")
    summed = then.Add(x, then.constant(f32([1]), "one"), name="add")
    inner.output(inner.Neg(summed, name="neg"))
    other.output(other.Abs(x))
    then.output(then.If(c, then_branch=inner, else_branch=other, name="nested"))
    then.output(x)
    orelse = b.subgraph("else")
    orelse.output(orelse.Relu(x))
    orelse.output(orelse.Identity(x))
    y, z = b.If(c, then_branch=then, else_branch=orelse, outputs=2, name="outer")
    b.output(b.Add(y, z), "result")
    return b.build()


def test_branch_is_copied_before_its_if():
    model = if_model()
    call = next(node for node in model.graph.nodes if node.name == "outer")
    body = call.subgraphs[0]

    class Heard(Listener):
        def __init__(self) -> None:
            self.names: list[tuple[str, int]] = []

        def node_inserted(self, node: Node) -> None:
            self.names.append((node.op, sum(len(graph.nodes) for graph in node.subgraphs)))

    heard = Heard()
    model.listeners.append(heard)
    mapping = inline_graph(body, call, {})
    verify(model)
    assert heard.names == [("Add", 0), ("If", 2)]
    for old, new in zip(call.outputs, body.outputs, strict=True):
        replace_all_uses(old, mapping[new])
    model.graph.erase(call)
    verify(model)
    assert [node.op for node in model.graph.nodes] == ["Add", "If", "Add"]
    add, nested, last = model.graph.nodes
    assert add.lineage.names() == ("add",)
    assert add.name not in ("", "add")
    assert add.output.lineage.names() == ("add",)
    assert list(last.inputs) == [nested.output, model.graph.inputs[0]]
    assert [value.const.numpy().tolist() for value in model.graph.initializers() if value.const] == [[1.0]]
    assert next(iter(nested.subgraphs[0].nodes)).inputs[0] is add.output
    names = [value.name for graph in model.graph.walk_graphs() for value in graph.values()]
    assert len(names) == len(set(names))


def function_model():
    b = GraphBuilder()
    f = b.function("d", "F", ["a", "b"], attributes=["alpha", "missing"])
    a, second = f.graph.inputs
    scaled = f.LeakyRelu(a, alpha=f.reference("alpha", AttributeKind.FLOAT), name="leaky")
    inner, other = f.subgraph(), f.subgraph()
    inner.output(inner.LeakyRelu(scaled, alpha=f.reference("alpha", AttributeKind.FLOAT)))
    other.output(other.Elu(scaled, alpha=f.reference("missing", AttributeKind.FLOAT)))
    f.output(f.If(second, then_branch=inner, else_branch=other))
    x, c = b.input("x", DType.FLOAT, ["n"]), b.input("c", DType.BOOL, [])
    b.output(b.op("d::F", b.op("d::F", x, c, alpha=0.5, name="one"), c, alpha=0.25, name="two"), "y")
    return b.build()


def test_function_body_is_copied_with_the_attributes_of_the_call():
    model = function_model()
    function = model.functions["d", "F", ""]
    for call in [node for node in model.graph.nodes if node.op == "d::F"]:
        given = dict(zip(function.graph.inputs, call.inputs, strict=True))
        mapping = inline_graph(function.graph, call, given, {**function.attribute_defaults, **call.attributes})
        made = mapping[function.graph.outputs[0]]
        replace_all_uses(call.output, made)
        if call.output.is_graph_output:
            model.graph.set_output(0, made)
        model.graph.erase(call)
        verify(model)
    first, _, second, if_two = model.graph.nodes
    assert [first.attr("alpha"), second.attr("alpha")] == [0.5, 0.25]
    inner, other = (next(iter(graph.nodes)) for graph in if_two.subgraphs)
    assert inner.attr("alpha") == 0.25
    assert other.attributes == {}
    assert first.lineage.names() == ("one", "leaky")
    assert second.lineage.names() == ("two", "leaky")
    verify(model)


def test_references_stay_when_no_attributes_are_given():
    model = function_model()
    function = model.functions["d", "F", ""]
    call = next(iter(model.graph.nodes))
    inline_graph(function.graph, call, dict(zip(function.graph.inputs, call.inputs, strict=True)))
    assert next(iter(model.graph.nodes)).has_references


def test_input_of_a_body_without_a_value_is_refused():
    model = function_model()
    call = next(iter(model.graph.nodes))
    with pytest.raises(ModelError, match=r"node 'one' \(d::F\): nothing is given for input 'a'"):
        inline_graph(model.functions["d", "F", ""].graph, call, {})


@pytest.mark.parametrize("given", [False, True])
def test_input_with_a_default_may_be_left_out(given):
    b = GraphBuilder()
    x = b.input("x")
    body = b.subgraph()
    default = body.input("w", DType.FLOAT, [1], default=f32([2]))
    body.output(body.Neg(default))
    call = b.node("d::Call", body=body)
    mapping = inline_graph(body.graph, call, {default: x} if given else {})
    verify(b.build())
    read = next(iter(b.graph.nodes)).inputs[0]
    assert read is mapping[default]
    assert (read is x) is given
    assert len(b.graph.initializers()) == (not given)


def test_graph_attribute_of_a_call_is_copied_for_each_reference():
    b = GraphBuilder()
    x, c = b.input("x"), b.input("c")
    f = b.function("d", "Choose", ["c"], attributes=["body"])
    for _ in range(2):
        f.output(
            f.If(
                f.graph.inputs[0],
                then_branch=f.reference("body", AttributeKind.GRAPH),
                else_branch=f.reference("body", AttributeKind.GRAPH),
            )
        )
    body = b.subgraph()
    body.output(body.Relu(x))
    y, _ = b.op("d::Choose", c, body=body, outputs=2)
    b.output(y)
    model = b.build()
    call = next(iter(model.graph.nodes))
    function = model.functions["d", "Choose", ""]
    inline_graph(function.graph, call, {function.graph.inputs[0]: c}, call.attributes)
    verify(model)
    assert len([node for node in model.graph.walk() if node.op == "Relu"]) == 5
