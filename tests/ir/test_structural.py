"""Structural equality and hash, and fingerprints."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphopt.ir import (
    BytesInFile,
    Constant,
    DType,
    GraphBuilder,
    Lineage,
    Model,
    Node,
    Quantization,
    StoredData,
    TensorType,
    Value,
    clone_model,
    fingerprint,
    print_model,
    structural_equal,
    structural_hash,
)
from tests.ir.sample_models import chain, f32, i8, nested_ifs, rich_model


def small_model() -> Model:
    b = GraphBuilder()
    x, c = b.input("x", DType.FLOAT, ["n", 2]), b.input("c", DType.BOOL, [])
    then, other = b.subgraph("then"), b.subgraph("else")
    then.output(then.Add(x, f32([1, 2]), name="add"))
    other.output(other.LeakyRelu(x, alpha=0.5, name="leaky"))
    y = b.If(c, then_branch=then, else_branch=other, name="if")
    f = b.function("d", "F", ["a"])
    f.output(f.Relu(f.graph.inputs[0]))
    b.output(b.Sub(b.op("d::F", b.Add(y, f32([3, 4]))), f32([1, 2]), name="sub"), "result", DType.FLOAT, ["n", 2])
    return b.build()


def find(model: Model, name: str) -> Node:
    return next(node for node in model.graph.walk() if node.name == name)


def rename_everything(model: Model) -> None:
    for graph in model.graphs():
        for value in graph.values():
            if value.name and not value.is_input and not (value.is_graph_output and graph is model.graph):
                value.name += "_renamed"
        for node in graph.nodes:
            node.name += "_renamed"


def test_names_inside_do_not_count_unless_asked_for():
    a, b = rich_model(), rich_model()
    assert structural_equal(a, b, names=True)
    rename_everything(b)
    assert structural_equal(a, b)
    assert structural_hash(a) == structural_hash(b)
    assert not structural_equal(a, b, names=True)
    assert structural_hash(a, names=True) != structural_hash(b, names=True)


def trainable(weight: object, pads: object, *, op: str = "Add", size: int | str = 4, ir_version: int = 10) -> Model:
    b = GraphBuilder()
    y = b.op(op, b.input("x", DType.FLOAT, ["n", size]), b.constant(np.asarray(weight), "w"))
    b.output(b.Pad(y, b.constant(np.asarray(pads, np.int64))), "y", DType.FLOAT, None)
    model = b.build()
    model.ir_version = ir_version
    return model


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        (trainable(f32([3, 4, 5, 6]), [0, 1, 0, 1]), True),
        (trainable(f32([1, 2, 3, 4]), [0, 1, 0, 1], size="m", ir_version=8), True),
        (trainable(f32([1, 2, 3, 4]), [0, 1, 0, 2]), False),
        (trainable(f32([1, 2, 3]), [0, 1, 0, 1]), False),
        (trainable(np.array([1, 2, 3, 4], np.float16), [0, 1, 0, 1]), False),
        (trainable(f32([1, 2, 3, 4]), [0, 1, 0, 1], op="Mul"), False),
    ],
    ids=["weights", "interface-and-format", "sizes", "shapes", "types", "operators"],
)
def test_without_weights_a_model_that_was_trained_on_is_the_same(other: Model, equal: bool):
    first = trainable(f32([1, 2, 3, 4]), [0, 1, 0, 1])
    assert structural_hash(first) != structural_hash(other)
    assert equal == (structural_hash(first, weights=False) == structural_hash(other, weights=False))
    assert equal == (structural_hash(first.graph, weights=False) == structural_hash(other.graph, weights=False))


def test_without_weights_integers_of_quantized_layers_do_not_count():
    found = [trainable(i8(values), [0, 1, 0, 1]) for values in ([1, 2, 3, 4], [4, 3, 2, 1])]
    assert structural_hash(found[0], weights=False) == structural_hash(found[1], weights=False)


def test_order_of_initializers_does_not_count():
    models = []
    for order in (slice(None), slice(None, None, -1)):
        b = GraphBuilder()
        constants = [b.constant(value) for value in (1.0, 2.0)]
        for value in constants:
            b.graph.remove_initializer(value)
        for value in constants[order]:
            b.graph.add_initializer(value)
        b.output(b.Sub(*constants), "y")
        models.append(b.build())
    assert structural_equal(*models)
    assert structural_hash(models[0]) == structural_hash(models[1])
    assert fingerprint(models[0]) != fingerprint(models[1])


EDITS: dict[str, Callable[[Model], object]] = {
    "input name": lambda m: setattr(m.graph.inputs[0], "name", "other"),
    "input type": lambda m: setattr(m.graph.inputs[0], "type", TensorType(DType.FLOAT, (None, 2))),
    "output name": lambda m: setattr(m.graph.outputs[0], "name", "other"),
    "output type": lambda m: setattr(m.graph.outputs[0], "type", None),
    "operator": lambda m: find(m, "add").set_op("Mul"),
    "domain": lambda m: find(m, "add").set_op("Add", domain="other"),
    "attribute in a subgraph": lambda m: find(m, "leaky").set_attribute("alpha", 0.25),
    "attribute added": lambda m: find(m, "leaky").set_attribute("beta", 0.25),
    "sign of zero": lambda m: find(m, "leaky").set_attribute("alpha", -0.0),
    "captured value": lambda m: find(m, "leaky").replace_input(0, m.graph.inputs[1]),
    "absent input": lambda m: find(m, "leaky").replace_input(0, None),
    "order of inputs": lambda m: _swap(find(m, "sub")),
    "constant": lambda m: setattr(_weight(m), "const", Constant(f32([1, 3]))),
    "constant type": lambda m: setattr(_weight(m), "const", Constant(np.array([1, 2], np.int32))),
    "constant in a subgraph": lambda m: setattr(find(m, "add").inputs[1], "const", Constant(f32([2, 2]))),
    "unused constant": lambda m: m.graph.add_constant(f32([1, 2])),
    "opset": lambda m: m.opset_imports.update({"": 18}),
    "ir version": lambda m: setattr(m, "ir_version", 9),
    "function": lambda m: next(iter(m.functions.values())).graph.append(Node("Op", outputs=0)),
    "function signature": lambda m: next(iter(m.functions.values())).attribute_names.append("a"),
    "outputs of a node": lambda m: m.graph.append(Node("Op", outputs=[Value("a")])),
    "quantization": lambda m: setattr(
        m.graph.inputs[0], "quantization", Quantization(DType.INT8, Constant(f32(0.1)), Constant(i8(0)))
    ),
}


def _swap(node: Node) -> None:
    a, b = node.inputs
    node.replace_input(0, b)
    node.replace_input(1, a)


def _weight(model: Model) -> Value:
    return model.graph.initializers()[0]


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_what_is_computed_counts(edit):
    model, other = small_model(), clone_model(small_model())
    assert structural_equal(model, other)
    assert structural_hash(model) == structural_hash(other)
    edit(other)
    assert not structural_equal(model, other)
    assert not structural_equal(other, model)
    assert structural_hash(model) != structural_hash(other)


DETAILS: dict[str, Callable[[Model], object]] = {
    "value name": lambda m: setattr(find(m, "add").output, "name", "other"),
    "node name": lambda m: setattr(find(m, "add"), "name", "other"),
    "inner type": lambda m: setattr(find(m, "add").output, "type", TensorType(DType.FLOAT)),
    "doc": lambda m: setattr(m, "doc", "other"),
    "metadata": lambda m: m.metadata.update({"a": "b"}),
    "node metadata": lambda m: setattr(find(m, "add"), "metadata", {"a": "b"}),
    "lineage": lambda m: setattr(find(m, "add"), "lineage", Lineage(("a", "b"))),
    "graph name": lambda m: setattr(m.graph, "name", "other"),
    "constant replaced by an equal one": lambda m: setattr(_weight(m), "const", Constant(f32([3, 4]))),
}


@pytest.mark.parametrize("name", DETAILS)
def test_what_is_not_computed_does_not_count(name):
    model, other = small_model(), small_model()
    before = fingerprint(other)
    DETAILS[name](other)
    assert structural_equal(model, other)
    assert structural_hash(model) == structural_hash(other)
    assert (fingerprint(other) != before) is (name != "constant replaced by an equal one")


def test_structure_of_subgraphs_is_told_apart():
    models = []
    for branch in ("then_branch", "else_branch"):
        b = GraphBuilder()
        c, x = b.input("c"), b.input("x")
        one, two = b.subgraph(), b.subgraph()
        one.output(one.Relu(x), "r")
        two.output(two.Neg(x), "s")
        other = "else_branch" if branch == "then_branch" else "then_branch"
        b.output(b.If(c, **{branch: one, other: two}), "y")  # type: ignore[call-overload]  # builders are attributes
        models.append(b.build())
    assert not structural_equal(*models)


def test_captured_values_of_a_lone_subgraph_count_by_name():
    model = nested_ifs(1)
    inner, other = next(node for node in model.graph.nodes if node.op == "If").subgraphs
    copy = clone_model(model)
    twin = next(node for node in copy.graph.nodes if node.op == "If").subgraphs[0]
    assert structural_equal(inner, twin)
    copy.graph.inputs[1].name = "renamed"
    assert not structural_equal(inner, twin)
    assert not structural_equal(inner, other)
    assert not structural_equal(inner, model)


def test_shared_and_separate_equal_constants_differ_in_number_only():
    models = []
    for separate in (False, True):
        b = GraphBuilder()
        first = b.constant(1.0)
        b.output(b.Add(first, b.constant(1.0) if separate else first), "y")
        models.append(b.build())
    assert not structural_equal(*models)
    adds = [next(iter(model.graph.nodes)) for model in models]
    assert [node.op for node in adds] == ["Add", "Add"]


def test_fingerprint_and_equality_of_copies_read_no_large_constant(tmp_path):
    b = GraphBuilder()
    with open(tmp_path / "weights", "wb") as file:
        file.truncate(4 << 20)
    missing = Constant(StoredData(BytesInFile(tmp_path / "weights"), 0, 4 << 20, DType.FLOAT, (1 << 20,)))
    (tmp_path / "weights").write_bytes(b"")  # reading it would be an error from now on
    b.output(b.Neg(b.constant(missing)), "y")
    model = b.build()
    copy = clone_model(model)
    assert fingerprint(model) == fingerprint(copy)
    assert structural_equal(model, copy)
    next(iter(copy.graph.nodes)).set_op("Abs")
    assert fingerprint(model) != fingerprint(copy)
    assert not structural_equal(model, copy)
    assert "omitted" in print_model(model, weights="omit")


def test_different_large_constants_have_different_fingerprints():
    b = GraphBuilder()
    value = b.constant(np.zeros(1 << 16, np.float32))
    b.output(value, "y")
    before = fingerprint(b.build())
    value.const = Constant(np.ones(1 << 16, np.float32))
    assert fingerprint(b.build()) != before


def test_chains_of_different_length():
    assert not structural_equal(chain(3), chain(4))
    assert not structural_equal(chain(4), chain(3))
    assert structural_equal(chain(4).graph, chain(4).graph)
    assert structural_hash(chain(4).graph) == structural_hash(chain(4).graph)
