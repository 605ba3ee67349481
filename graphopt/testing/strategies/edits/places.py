"""Edits of where nodes stand: in a branch, in a function."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper

from graphopt.ir import find_schema
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.edits.subject import Subject
from graphopt.testing.strategies.scope import RefusedError, dtype_of
from graphopt.testing.strategies.trial import tensor_proto

__all__ = ["captured", "looped", "referring"]


def captured(subject: Subject, choices: Choices) -> str:
    """The root stands in a branch of an If and captures what it reads."""
    root = subject.nodes[0]
    outputs = [name for name in root.output if name]
    if any(name not in subject.arrays for name in outputs) or root.op_type == "If":
        raise RefusedError("the root does not give tensors")
    nodes = subject.model.graph.node
    place = next(index for index, node in enumerate(nodes) if node is root)
    inner = NodeProto()
    inner.CopyFrom(root)
    names = {name: subject.fresh(f"inner_{name}") for name in outputs}
    del inner.output[:]
    inner.output.extend(names.get(name, "") for name in root.output)
    infos = [helper.make_tensor_value_info(names[name], dtype_of(subject.arrays[name]), None) for name in outputs]
    then = helper.make_graph([inner], "then", [], infos)
    zeros = [np.zeros_like(subject.arrays[name]) for name in outputs]
    others = [helper.make_tensor_value_info(f"else_{name}", dtype_of(subject.arrays[name]), None) for name in outputs]
    constants = [
        helper.make_node("Constant", [], [info.name], value=tensor_proto(array))
        for info, array in zip(others, zeros, strict=True)
    ]
    otherwise = helper.make_graph(constants, "else", [], others)
    condition = subject.fresh("condition")
    subject.model.graph.input.append(helper.make_tensor_value_info(condition, TensorProto.BOOL, []))
    for item in subject.feeds:
        item[condition] = np.array(True)
    made = helper.make_node("If", [condition], outputs, then_branch=then, else_branch=otherwise)
    del nodes[place]
    nodes.insert(place, made)
    return f"{root.op_type} stands in a branch and captures its inputs"


def looped(subject: Subject, choices: Choices) -> str:
    """The root stands in the body of a Loop and captures what it reads."""
    root = subject.nodes[0]
    outputs = [name for name in root.output if name]
    if len(outputs) != 1 or outputs[0] not in subject.arrays:
        raise RefusedError("the root does not give one tensor")
    (output,) = outputs
    nodes = subject.model.graph.node
    place = next(index for index, node in enumerate(nodes) if node is root)
    inner = NodeProto()
    inner.CopyFrom(root)
    name = subject.fresh(f"inner_{output}")
    inner.output[list(root.output).index(output)] = name
    infos = [
        helper.make_tensor_value_info("round", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
    ]
    results = [helper.make_tensor_value_info("on", TensorProto.BOOL, [])]
    results.append(helper.make_tensor_value_info(name, dtype_of(subject.arrays[output]), None))
    body = helper.make_graph([helper.make_node("Identity", ["go"], ["on"]), inner], "body", infos, results)
    trips, first, rounds = subject.fresh("trips"), subject.fresh("first"), subject.fresh("rounds")
    subject.model.graph.initializer.append(tensor_proto(np.array(choices.of((3, 2)), np.int64), trips))
    subject.model.graph.initializer.append(tensor_proto(np.array(0, np.int64), first))
    del nodes[place]
    nodes.insert(place, helper.make_node("Gather", [rounds, first], [output], axis=0))
    nodes.insert(place, helper.make_node("Loop", [trips, ""], [rounds], body=body))
    return f"{root.op_type} stands in a loop and captures its inputs"


def referring(subject: Subject, choices: Choices) -> str:
    """The nodes stand in a function, and an attribute of one of them refers to one of the function's."""
    nodes = [node for node in subject.model.graph.node if any(node is own for own in subject.nodes)]
    with_attributes = [(node, item) for node in nodes for item in _attributes(subject, node)]
    produced = {name for node in nodes for name in node.output if name}
    outer = [node for node in subject.model.graph.node if not any(node is own for own in nodes)]
    read = {name for node in outer for name in node.input} | {value.name for value in subject.model.graph.output}
    if not with_attributes or any(
        set(node.input) & produced for node in outer if _stands_between(subject.model, node, nodes)
    ):
        raise RefusedError("nothing can refer")
    node, item = choices.of(with_attributes)
    constants = {tensor.name: tensor for tensor in subject.constants()}
    free = list(dict.fromkeys(name for own in nodes for name in own.input if name and name not in produced))
    inputs = [name for name in free if name not in constants]
    outputs = [name for name in produced if name in read]
    body = [helper.make_node("Constant", [], [name], value=constants[name]) for name in free if name in constants]
    for own in nodes:
        copy = NodeProto()
        copy.CopyFrom(own)
        if own is node:
            del copy.attribute[:]
            copy.attribute.extend(other for other in node.attribute if other.name != item.name)
            copy.attribute.append(AttributeProto(name=item.name, ref_attr_name="knob", type=item.type))
        body.append(copy)
    imports = [helper.make_opsetid("", subject.opset)]
    subject.model.functions.append(
        helper.make_function("local", "Piece", inputs, outputs, body, imports, attributes=["knob"])
    )
    subject.model.opset_import.append(helper.make_opsetid("local", 1))
    subject.model.ir_version = max(8, subject.model.ir_version)
    call = helper.make_node("Piece", inputs, outputs, domain="local")
    knob = AttributeProto()
    knob.CopyFrom(item)
    knob.name = "knob"
    call.attribute.append(knob)
    last = max(index for index, other in enumerate(subject.model.graph.node) if any(other is own for own in nodes))
    kept = [
        other
        for index, other in enumerate(subject.model.graph.node)
        if index > last or not any(other is own for own in nodes)
    ]
    before = [other for other in outer if _index(subject.model, other) < last]
    ordered = [*before, call, *(other for other in kept if not any(other is one for one in before))]
    copies = [_copied(other) for other in ordered]
    del subject.model.graph.node[:]
    subject.model.graph.node.extend(copies)
    return f"attribute {item.name!r} of {node.op_type} refers to one of a function"


def _attributes(subject: Subject, node: NodeProto) -> list[AttributeProto]:
    """Attributes of a node that may refer: those that it states, and defaults that it does not."""
    found = [item for item in node.attribute if not item.HasField("g")]
    schema = find_schema(node.domain, node.op_type, subject.opset)
    stated = {item.name for item in node.attribute}
    for name, spec in [] if schema is None else sorted(schema.attributes.items()):
        if name not in stated and isinstance(spec.default, int | float | str):
            found.append(helper.make_attribute(name, spec.default, attr_type=int(spec.kind.value)))
    return found


def _index(model: ModelProto, node: NodeProto) -> int:
    return next(index for index, other in enumerate(model.graph.node) if other is node)


def _stands_between(model: ModelProto, node: NodeProto, nodes: Sequence[NodeProto]) -> bool:
    return _index(model, node) < max(_index(model, own) for own in nodes)


def _copied(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy
