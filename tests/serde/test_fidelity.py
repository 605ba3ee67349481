"""Lift then emit, no pass: nothing is lost."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import ModelProto

from graphopt.frontends.onnx import lift
from graphopt.ir import Constant, DType, Model, TensorType, clone_model, make_attribute
from graphopt.serde import emit_model, lift_model
from tests.onnx_suite import load_cases
from tests.serde.file_models import chain_model, nested_model, rich_model, simple_model, weight

LIGHT = sorted((Path(onnx.__file__).parent / "backend" / "test" / "data" / "light").glob("light_*.onnx"))
SHIPPED = Path(__file__).parents[2] / "graphopt" / "data" / "digits_cnn.onnx"


def test_all_cases_of_the_onnx_suite_come_back_equal_message_by_message():
    """Equal messages need no run: what ONNX Runtime computed before, it computes after."""
    cases = load_cases()
    changed = [case.name for case in cases if emit_model(lift_model(case.model)) != case.model]
    assert changed == []
    assert len(cases) >= 2000


def test_copies_of_the_suite_come_back_equal_too():
    cases = load_cases()[::4]
    assert [c.name for c in cases if emit_model(clone_model(lift_model(c.model))) != c.model] == []


@pytest.mark.parametrize("path", [*LIGHT, SHIPPED], ids=lambda path: path.stem)
def test_real_models_come_back_equal(path: Path):
    assert emit_model(lift(path)) == onnx.load(path)


def test_everything_that_a_file_can_say_is_kept():
    assert emit_model(lift_model(rich_model())) == rich_model()


def test_a_copy_of_everything_that_a_file_can_say_is_kept():
    assert emit_model(clone_model(lift_model(rich_model()))) == rich_model()


def test_what_the_file_says_is_in_the_ir():
    model = lift_model(rich_model())
    graph = model.graph
    call, mystery, legacy, branch = graph.nodes
    assert (call.op, call.overload, call.doc) == ("my.domain::Call", "v1", "calls a function")
    assert call.metadata == {"k": "v", "k2": ""}
    assert call.inputs[1] is None
    assert mystery.attrs["blob"] == b"\xff\xfe"
    assert legacy.op == "Identity"
    assert sorted(sub.doc for sub in branch.subgraphs) == ["doc of a", "doc of b"]
    assert next(iter(branch.subgraphs[0].nodes)).inputs[0] is call.output
    assert str(graph.inputs[0].type) == "float[batch, 3, ?]"
    assert call.output.annotation == {"SCALE_TENSOR": "w"}
    assert model.opset_imports == {"": 17, "my.domain": 3, "nobody.knows": 1, "unused.domain": 99}
    function = model.functions["my.domain", "Call", "v1"]
    assert function.attribute_names == ["gamma"]
    assert function.attribute_defaults["alpha"].value == 0.25
    assert next(n for n in function.graph.nodes if n.op == "LeakyRelu").attributes["alpha"].ref == "alpha"
    assert (model.domain, model.model_version, model.doc) == ("org.example", 7, "doc of model")


def test_serialized_bytes_are_those_of_the_file():
    content = rich_model().SerializeToString()
    assert emit_model(lift(content)).SerializeToString() == content


def test_ten_thousand_identity_nodes():
    model = chain_model(10_000)
    assert emit_model(lift_model(model)) == model


def test_two_hundred_nested_subgraphs():
    model = lift_model(nested_model(200))
    assert model.node_count == 401
    again = lift_model(emit_model(model))
    innermost = again.graph
    while next(iter(innermost.nodes)).subgraphs:
        innermost = next(iter(innermost.nodes)).subgraphs[0]
    assert next(iter(innermost.nodes)).inputs[0] is again.graph.inputs[0]


def test_seventy_thousand_strings_in_an_attribute():
    words = [f"word {i}" for i in range(70_000)]
    node = onnx.helper.make_node("Mystery", ["x"], ["y"], domain="nobody.knows", words=words)
    model = simple_model([node])
    assert emit_model(lift_model(model)) == model


# -- what was edited is never written as it was ------------------------------------------------------------------------------


def _edited(edit: str) -> tuple[ModelProto, ModelProto]:
    proto = rich_model()
    model = lift_model(proto)
    _EDITS[edit](model)
    return proto, emit_model(model)


def _node(model: Model, index: int):
    return list(model.graph.nodes)[index]


_EDITS = {
    "node name": lambda m: setattr(_node(m, 1), "name", "renamed"),
    "value name": lambda m: setattr(_node(m, 0).output, "name", "renamed"),
    "captured name": lambda m: setattr(_node(m, 0).output, "name", "renamed"),
    "operator": lambda m: _node(m, 1).set_op("Enigma", domain="nobody.knows"),
    "domain": lambda m: _node(m, 1).set_op("Mystery", domain="my.domain"),
    "attribute": lambda m: _node(m, 0).set_attribute("alpha", 0.75),
    "attribute removed": lambda m: _node(m, 0).set_attribute("alpha", None),
    "attribute of equal value and other zero": lambda m: _node(m, 0).set_attribute("alpha", make_attribute(-0.0)),
    "input": lambda m: _node(m, 1).replace_input(0, m.graph.inputs[0]),
    "input removed": lambda m: _node(m, 0).replace_input(2, None),
    "inputs resized": lambda m: _node(m, 0).resize_inputs(4),
    "doc": lambda m: setattr(_node(m, 0), "doc", ""),
    "metadata changed in place": lambda m: _node(m, 0).metadata.update(k="new"),
    "metadata": lambda m: setattr(_node(m, 0), "metadata", None),
    "overload": lambda m: setattr(_node(m, 0), "overload", ""),
    "node in a subgraph": lambda m: setattr(next(iter(_node(m, 3).subgraphs[0].nodes)), "name", "renamed"),
    "constant in a subgraph": lambda m: setattr(
        _node(m, 3).subgraphs[0].initializers()[0], "const", Constant(weight_array(9))
    ),
    "constant": lambda m: setattr(m.graph.initializers()[1], "const", Constant(weight_array(5))),
    "constant name": lambda m: setattr(m.graph.initializers()[1], "name", "renamed"),
    "function node": lambda m: setattr(next(iter(m.functions["my.domain", "Call", "v1"].graph.nodes)), "name", "f"),
    "opset": lambda m: m.opset_imports.update({"": 18}),
    "opset removed": lambda m: m.opset_imports.pop("unused.domain"),
    "model metadata": lambda m: m.metadata.update(mk="other"),
    "model doc": lambda m: setattr(m, "doc", ""),
    "graph doc": lambda m: setattr(m.graph, "doc", "other"),
    "input doc": lambda m: setattr(m.graph.inputs[0], "doc", "other"),
    "value metadata": lambda m: setattr(_node(m, 0).output, "metadata", {"vk": "new"}),
    "annotation": lambda m: setattr(_node(m, 0).output, "annotation", None),
}


def weight_array(size: int):
    return onnx.numpy_helper.to_array(weight("w", size=size))


@pytest.mark.parametrize("edit", _EDITS)
def test_an_edit_is_written(edit: str):
    before, after = _edited(edit)
    assert after != before
    assert lift_model(after).node_count == 8  # and what was written is a model again


def test_an_attribute_mapping_cannot_be_changed_behind_the_back_of_emission():
    node = next(iter(lift_model(rich_model()).graph.nodes))
    with pytest.raises(TypeError):
        node.attributes["alpha"] = make_attribute(1.0)  # type: ignore[index]  # that is what must not work


def test_a_changed_node_keeps_its_device_configuration():
    _, after = _edited("node name")
    assert after.graph.node[0].device_configurations == rich_model().graph.node[0].device_configurations


def test_a_rewritten_node_states_its_lineage_from_ir_version_10_on():
    model = lift_model(rich_model())
    node = _node(model, 1)
    node.lineage = _node(model, 0).lineage
    assert {p.key: p.value for p in emit_model(model).graph.node[1].metadata_props} == {"graphopt.lineage": "call"}
    assert not emit_model(model, lineage=False).graph.node[1].metadata_props
    model.ir_version = 9
    assert not emit_model(model).graph.node[1].metadata_props


def test_a_new_constant_of_a_function_becomes_a_node():
    model = lift_model(rich_model())
    function = model.functions["my.domain", "Call", "v1"]
    value = function.graph.add_constant(weight_array(3), "extra")
    next(iter(function.graph.nodes)).replace_input(0, value)
    body = emit_model(model).functions[0]
    assert [node.op_type for node in body.node] == ["Constant", "Mul", "LeakyRelu"]
    assert body.node[1].input[0] == body.node[0].output[0] == "extra"


def test_a_quantization_annotation_follows_its_value():
    model = lift_model(rich_model())
    value = _node(model, 0).output
    value.name, value.annotation = "renamed", {"SCALE_TENSOR": "other"}
    (annotation,) = emit_model(model).graph.quantization_annotation
    assert annotation.tensor_name == "renamed"
    assert {p.key: p.value for p in annotation.quant_parameter_tensor_names} == {"SCALE_TENSOR": "other"}


def test_another_type_is_stated_with_what_else_was_said():
    model = lift_model(rich_model())
    model.graph.outputs[1].type = TensorType(DType.INT64, (3,))
    model.graph.inputs[0].type = TensorType(DType.FLOAT16, (1, 3, 5))
    proto = emit_model(model).graph
    assert str(lift_model(emit_model(model)).graph.outputs[1].type) == "int64[3]"
    assert (proto.input[0].doc_string, proto.input[0].type.denotation) == ("doc of input", "IMAGE")


def test_before_ir_version_4_a_new_constant_leaves_the_inputs_alone():
    model = lift_model(simple_model([onnx.helper.make_node("Identity", ["x"], ["y"])], ir_version=3))
    value = model.graph.add_constant(weight_array(2), "extra")
    next(iter(model.graph.nodes)).replace_input(0, value)
    proto = emit_model(model)
    assert [info.name for info in proto.graph.input] == ["x"]
    assert [node.op_type for node in proto.graph.node] == ["Constant", "Identity"]
    onnx.checker.check_model(proto)


def test_a_value_without_a_name_gets_one():
    from graphopt.ir import Node

    model = lift_model(simple_model([onnx.helper.make_node("Relu", ["x"], ["y"])]))
    relu = next(iter(model.graph.nodes))
    added = model.graph.insert_before(relu, Node("Neg", [model.graph.inputs[0]]))
    relu.replace_input(0, added.output)
    proto = emit_model(model)
    assert proto.graph.node[1].input[0] == proto.graph.node[0].output[0] != ""
    onnx.checker.check_model(proto)
