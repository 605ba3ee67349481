"""Broken models: each one error, one line, that says what, where, what was found and expected, and what to do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import AttributeProto, FunctionProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from graphopt.errors import ModelError
from graphopt.ir import newest_opset
from graphopt.serde import emit_model, lift_model
from tests.serde.file_models import model_of, rich_model, simple_model, tensor_info, weight


def identity(**names: str):
    return helper.make_node(
        "Identity", [names.get("reads", "x")], [names.get("gives", "y")], name=names.get("name", "n")
    )


def changed(change: Callable[[ModelProto], object]) -> ModelProto:
    model = simple_model([identity()])
    change(model)
    return model


def with_two(*names: str) -> ModelProto:
    return simple_model([identity(gives=name, name=f"n{index}") for index, name in enumerate(names)])


def function(name: str, calls: str) -> FunctionProto:
    body = helper.make_node(calls, ["a"], ["b"], domain="f")
    return helper.make_function("f", name, ["a"], ["b"], [body], [helper.make_opsetid("f", 1)])


def with_functions(*functions: FunctionProto) -> ModelProto:
    model = simple_model([helper.make_node("One", ["x"], ["y"], domain="f")])
    model.opset_import.add(domain="f", version=1)
    model.functions.extend(functions)
    return model


def subgraph_with(node: NodeProto) -> ModelProto:
    inner = helper.make_graph([node], "inner", [], [tensor_info("i")])
    branch = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner, name="branch")
    graph = helper.make_graph(
        [branch], "g", [tensor_info("x"), tensor_info("c", (), TensorProto.BOOL)], [tensor_info("y")]
    )
    return model_of(graph)


BAD = {
    "no graph": (ModelProto(ir_version=8), "the model has no graph"),
    "no IR version": (changed(lambda m: m.ClearField("ir_version")), "states IR version 0, expected 1 or more"),
    "training": (changed(lambda m: m.training_info.add()), r"carries training information \(training_info\)"),
    "no opset": (changed(lambda m: m.ClearField("opset_import")), "imports no operator set, expected at least one"),
    "opset zero": (changed(lambda m: m.opset_import.add(domain="a", version=0)), "opset import 'a' has version 0"),
    "other opset only": (
        changed(lambda m: setattr(m.opset_import[0], "domain", "other")),
        r"node 'n' \(Identity\): the model imports no operator set of the domain ai.onnx",
    ),
    "opset of the future": (
        changed(lambda m: setattr(m.opset_import[0], "version", 999)),
        f"imports opset 999 of ai.onnx, but the installed onnx package knows up to {newest_opset()}",
    ),
    "undefined name": (simple_model([identity(reads="ghost")]), r"node 'n' \(Identity\): input 'ghost' is not defined"),
    "undefined output": (
        changed(lambda m: setattr(m.graph.output[0], "name", "ghost")),
        "the main graph: output 'ghost' is not defined",
    ),
    "undefined in a subgraph": (subgraph_with(identity(reads="ghost", gives="i")), "input 'ghost' is not defined"),
    "output defined twice": (with_two("y", "y"), r"node 'n1' \(Identity\): output 'y' is defined twice"),
    "input defined twice": (changed(lambda m: m.graph.input.append(tensor_info("x"))), "input 'x' is defined twice"),
    "output named like an input": (with_two("x", "y"), "output 'x' is defined twice"),
    "initializer defined twice": (
        changed(lambda m: m.graph.initializer.extend([weight("w"), weight("w")])),
        "initializer 'w' is defined twice",
    ),
    "input without a name": (changed(lambda m: setattr(m.graph.input[0], "name", "")), "an input has no name"),
    "too few inputs": (
        simple_model([helper.make_node("Add", ["x"], ["y"], name="a")]),
        r"'a' \(Add\): has 1 inputs, expected 2",
    ),
    "too many inputs": (simple_model([helper.make_node("Relu", ["x", "x"], ["y"])]), "has 2 inputs, expected 1"),
    "too many outputs": (simple_model([helper.make_node("Relu", ["x"], ["y", "z"])]), "has 2 outputs, expected 1"),
    "unknown attribute": (
        simple_model([helper.make_node("LeakyRelu", ["x"], ["y"], alhpa=1.0)]),
        "has no attribute 'alhpa' at opset 17, expected one of: alpha",
    ),
    "attribute of another kind": (
        simple_model([helper.make_node("LeakyRelu", ["x"], ["y"], alpha=1)]),
        "attribute 'alpha' is INT, expected FLOAT",
    ),
    "missing attribute": (
        simple_model([helper.make_node("Cast", ["x"], ["y"])]),
        "attribute 'to' is missing, expected INT",
    ),
    "attribute twice": (
        changed(lambda m: m.graph.node[0].attribute.extend([helper.make_attribute("k", 1)] * 2)),
        "attribute 'k' is stated twice",
    ),
    "attribute of no kind": (
        changed(lambda m: m.graph.node[0].attribute.append(AttributeProto(name="k", i=1, f=2.0))),
        "attribute 'k' holds 2 values, expected one",
    ),
    "element type": (
        changed(lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 90)),
        "value 'x': element type 90 is unknown",
    ),
    "negative dimension": (
        changed(lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", -7)),
        "value 'x': dimension 0 is -7",
    ),
    "initializer too short": (
        changed(lambda m: m.graph.initializer.add(name="w", dims=[4], data_type=1, raw_data=b"12")),
        r"tensor 'w': has 2 bytes of data, expected 16 for float\[4\]",
    ),
    "recursive function": (
        with_functions(function("One", "One")),
        r"function f::One calls itself \(f::One -> f::One\)",
    ),
    "functions in a circle": (
        with_functions(function("One", "Two"), function("Two", "One")),
        r"calls itself \(f::One -> f::Two -> f::One\)",
    ),
    "function twice": (
        with_functions(function("One", "Ext"), function("One", "Ext")),
        "function f::One is defined twice",
    ),
    "NUL in a name": (with_two("a\0b", "y"), "contains a NUL character"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_broken_model_is_one_clear_line(case: str):
    model, message = BAD[case]
    with pytest.raises(ModelError, match=message) as caught:
        lift_model(model)
    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "text", ["call", "Mystery", "nobody.knows", "alpha", "blob", "batch", "my.domain", "unused", "gamma"]
)
def test_names_that_are_not_utf_8_are_an_error(text: str):
    broken = text[:-1].encode() + b"\xff"
    with pytest.raises(ModelError, match="not UTF-8"):
        lift_model(ModelProto.FromString(rich_model().SerializeToString().replace(text.encode(), broken)))


def test_a_doc_string_that_is_not_utf_8_is_readable():
    model = simple_model([identity()])
    model.doc_string = "docdoc"
    found = lift_model(ModelProto.FromString(model.SerializeToString().replace(b"docdoc", b"doc\xffoc")))
    assert found.doc == "doc�oc"
    assert emit_model(found).doc_string == "doc�oc"


# -- unusual, and kept -------------------------------------------------------------------------------------------------------


def test_unknown_domains_and_operators_are_kept():
    model = simple_model([helper.make_node("What", ["x", "", "x"], ["y", "z"], domain="who.knows", q=[1, 2])])
    assert emit_model(lift_model(model)) == model


def test_an_unknown_operator_of_the_default_domain_is_kept():
    """ONNX Runtime has some that the specification dropped."""
    model = simple_model([helper.make_node("ImageScaler", ["x"], ["y"])])
    assert emit_model(lift_model(model)) == model


def test_a_future_opset_of_a_domain_that_no_node_uses_is_kept():
    model = changed(lambda m: m.opset_import.add(domain="ai.onnx.ml", version=99))
    assert lift_model(model).opset_imports["ai.onnx.ml"] == 99


def test_before_ir_version_3_no_opset_means_the_first():
    model = simple_model([helper.make_node("Relu", ["x"], ["y"], consumed_inputs=[0])], ir_version=2)
    del model.opset_import[:]
    assert lift_model(model).opset_imports == {"": 1}


def test_a_subgraph_value_that_hides_an_outer_one_gets_a_name_of_its_own():
    model = lift_model(subgraph_with(helper.make_node("Identity", ["x"], ["i"])))
    hidden = subgraph_with(helper.make_node("Identity", ["x"], ["i"]))
    hidden.graph.node.insert(0, identity(gives="i", name="outer"))
    found = lift_model(hidden)
    branch = list(found.graph.nodes)[1]
    assert {sub.outputs[0].name for sub in branch.subgraphs} == {"i_1", "i_2"}
    assert {sub.outputs[0].name for sub in next(iter(model.graph.nodes)).subgraphs} == {"i"}


def test_an_initializer_may_also_be_an_input():
    model = simple_model([helper.make_node("Add", ["x", "w"], ["y"])], [weight("w")])
    model.graph.input.append(tensor_info("w"))
    value = lift_model(model).graph.inputs[1]
    assert value.const is not None
    np.testing.assert_array_equal(value.const.numpy(), numpy_helper.to_array(model.graph.initializer[0]))
    assert not value.is_constant
    model.ir_version = 3
    assert lift_model(model).graph.inputs[1].is_constant


def test_an_error_in_a_model_that_is_fine_otherwise_leaves_it_unchanged():
    model = rich_model()
    model.graph.node[0].input[0] = "ghost"
    before = model.SerializeToString()
    with pytest.raises(ModelError):
        lift_model(model)
    assert model.SerializeToString() == before
