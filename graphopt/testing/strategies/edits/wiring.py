"""Edits of what a node reads."""

from __future__ import annotations

from typing import Final

from onnx import ModelProto, NodeProto, helper

from graphopt.ir import find_schema
from graphopt.testing.strategies.arrays import draw_array
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.edits.subject import Subject
from graphopt.testing.strategies.scope import RefusedError, dtype_of
from graphopt.testing.strategies.trial import tensor_proto

__all__ = ["beside", "further_input", "inserted", "rewired", "stacked", "swapped"]


def further_input(subject: Subject, choices: Choices) -> str:
    """An absent optional input is there."""
    candidates = []
    for node in subject.nodes:
        schema = find_schema(node.domain, node.op_type, subject.opset)
        if schema is not None and len(node.input) < schema.max_inputs:
            candidates.append(node)
    if not candidates:
        raise RefusedError("no node has further inputs")
    node = choices.of(candidates)
    like = [array for name, array in subject.arrays.items() if name in node.input]
    if not like:
        raise RefusedError("nothing to be like")
    array = choices.of(like)
    shape = choices.of(((), array.shape, array.shape[:1], array.shape[-1:]))
    name = subject.fresh("extra")
    subject.model.graph.initializer.append(tensor_proto(draw_array(choices, dtype_of(array), shape), name))
    if choices.chance(0.2) and find_schema(node.domain, node.op_type, subject.opset).max_inputs > len(node.input) + 1:  # type: ignore[union-attr]  # looked up above
        node.input.append("")
    node.input.append(name)
    return f"further input of {node.op_type}"


def swapped(subject: Subject, choices: Choices) -> str:
    """Two inputs of a node change places."""
    candidates = [node for node in subject.nodes if len(node.input) > 1 and node.input[0] != node.input[1]]
    if not candidates:
        raise RefusedError("nothing to swap")
    node = choices.of(candidates)
    first, second = choices.some(range(len(node.input)), 2, 2)
    node.input[first], node.input[second] = node.input[second], node.input[first]
    return f"inputs {first} and {second} of {node.op_type} swapped"


def rewired(subject: Subject, choices: Choices) -> str:
    """A node reads another value of the same element type."""
    node = choices.of(subject.nodes)
    places = [index for index, name in enumerate(node.input) if name in subject.arrays]
    if not places:
        raise RefusedError("nothing to rewire")
    place = choices.of(places)
    old = node.input[place]
    defined = _defined_before(subject.model, node)
    others = [
        name
        for name, array in subject.arrays.items()
        if name in defined and name != old and array.dtype == subject.arrays[old].dtype
    ]
    if not others:
        array = subject.arrays[old]
        name = subject.fresh("twin")
        subject.model.graph.input.append(helper.make_tensor_value_info(name, dtype_of(array), list(array.shape)))
        for item in subject.feeds:
            item[name] = draw_array(choices, dtype_of(array), array.shape)
        others = [name]
    node.input[place] = choices.of(others)
    return f"input {place} of {node.op_type} is {node.input[place]!r} and not {old!r}"


def _defined_before(model: ModelProto, node: NodeProto) -> set[str]:
    found = {value.name for value in model.graph.input} | {item.name for item in model.graph.initializer}
    for other in model.graph.node:
        if other is node:
            break
        found |= set(other.output)
    return found


_PLAIN: Final = ("Identity", "Neg", "Abs", "Relu", "Floor", "Not", "Transpose")


def inserted(subject: Subject, choices: Choices) -> str:
    """Another node stands before a node."""
    node = choices.of(subject.nodes)
    places = [index for index, name in enumerate(node.input) if name in subject.arrays]
    if not places:
        raise RefusedError("nothing is read")
    place = choices.of(places) if choices.chance(0.5) else places[0]
    name, op = subject.fresh("between"), choices.of(_PLAIN)
    index = next(index for index, other in enumerate(subject.model.graph.node) if other is node)
    subject.model.graph.node.insert(index, helper.make_node(op, [node.input[place]], [name]))
    node.input[place] = name
    return f"{op} before input {place} of {node.op_type}"


def stacked(subject: Subject, choices: Choices) -> str:
    """A node reads what the same node gives, once more."""
    node = choices.of(subject.nodes)
    if not node.output or node.output[0] not in subject.arrays or not node.input:
        raise RefusedError("nothing to stack")
    copy = _copy(subject, node)
    copy.input[0] = node.output[0]
    subject.model.graph.node.append(copy)
    _give_out_as(subject, copy, node)
    return f"{node.op_type} once more"


def beside(subject: Subject, choices: Choices) -> str:
    """The same node stands there twice, or differs in one operand."""
    node = choices.of(subject.nodes)
    if not node.output or node.output[0] not in subject.arrays:
        raise RefusedError("nothing to repeat")
    copy = _copy(subject, node)
    subject.model.graph.node.append(copy)
    _give_out_as(subject, copy, node)
    return f"{node.op_type} twice"


def _copy(subject: Subject, node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.name = f"{node.name}_again" if node.name else ""
    del copy.output[:]
    copy.output.append(subject.fresh("again"))
    return copy


def _give_out_as(subject: Subject, copy: NodeProto, node: NodeProto) -> None:
    subject.give_out(copy.output[0], subject.arrays[node.output[0]])
