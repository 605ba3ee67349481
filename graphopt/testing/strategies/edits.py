"""Edits that turn a model at which a rule applies into one at which it should not, or differently: one thing each, as other models have it.

They know operators by their schemas and graphs by what they can be, and nothing of the rule: a guard that a rule forgets is no part of
its pattern either. What an edit makes may not run; whoever calls it tries that out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from graphopt.ir import Array, DType, find_schema
from graphopt.testing.strategies.arrays import draw_array
from graphopt.testing.strategies.attribute_values import draw_attribute
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.scope import RefusedError, dtype_of
from graphopt.testing.strategies.trial import tensor_proto

__all__ = ["EDITS", "Edit", "Subject"]


@dataclass
class Subject:
    """A model that is edited in place.

    Attributes:
        model: the model.
        nodes: those of the main graph that the rule looks at, the root first.
        arrays: numbers in all tensors of the main graph, for the first inputs.
        feeds: inputs so far; an edit that makes new ones adds their numbers to each.
        overridden: constants that became inputs with a default.
    """

    model: ModelProto
    nodes: list[NodeProto]
    arrays: dict[str, Array]
    feeds: list[dict[str, Array]]
    overridden: list[str] = field(default_factory=list)

    @property
    def opset(self) -> int:
        """Of the default domain."""
        return int(next(item.version for item in self.model.opset_import if item.domain == ""))

    def fresh(self, hint: str) -> str:
        """A name that no value of the main graph has."""
        number = 0
        while f"{hint}{number or ''}" in self.arrays:
            number += 1
        return f"{hint}{number or ''}"

    def give_out(self, name: str, like: Array) -> None:
        """Make a value a graph output."""
        info = helper.make_tensor_value_info(name, dtype_of(like), [None] * like.ndim)
        if name not in {value.name for value in self.model.graph.output}:
            self.model.graph.output.append(info)

    def constants(self) -> list[TensorProto]:
        """Initializers that the nodes read, and that no caller can override."""
        read = {name for node in self.nodes for name in node.input}
        inputs = {value.name for value in self.model.graph.input}
        return [item for item in self.model.graph.initializer if item.name in read and item.name not in inputs]

    def one_constant(self, choices: Choices) -> TensorProto:
        """One of them.

        Raises:
            RefusedError: if there is none.
        """
        found = self.constants()
        if not found:
            raise RefusedError("no constant is read")
        return choices.of(found)


#: Edits a subject; returns what was done, in words.
Edit = Callable[[Subject, Choices], str]


def second_user(subject: Subject, choices: Choices) -> str:
    """A value that the nodes hand on is read once more."""
    name = _handed_on(subject, choices)
    copy = subject.fresh("second")
    subject.model.graph.node.append(helper.make_node("Identity", [name], [copy]))
    subject.give_out(copy, subject.arrays[name])
    return f"second user of {name!r}"


def graph_output(subject: Subject, choices: Choices) -> str:
    """A value that the nodes hand on is given out."""
    name = _handed_on(subject, choices)
    subject.give_out(name, subject.arrays[name])
    return f"{name!r} given out"


def _handed_on(subject: Subject, choices: Choices) -> str:
    """A value between two of the nodes, else an output of the root."""
    read = {name for node in subject.nodes for name in node.input if name}
    made = [name for node in subject.nodes for name in node.output if name and name in subject.arrays]
    inner = [name for name in made if name in read]
    if not made:
        raise RefusedError("nothing is handed on")
    return str(choices.of(inner or made))


def other_output(subject: Subject, choices: Choices) -> str:
    """An optional output of a node gets a name and is given out."""
    candidates = []
    for node in subject.nodes:
        schema = find_schema(node.domain, node.op_type, subject.opset)
        if schema is not None and len(node.output) < schema.max_outputs <= len(schema.outputs):
            candidates.append((node, schema))
    if not candidates:
        raise RefusedError("no node has further outputs")
    node, schema = choices.of(candidates)
    name = subject.fresh("further")
    node.output.append(name)
    types = {"tensor(bool)": DType.BOOL, "tensor(int64)": DType.INT64}
    spelt = next(iter(schema.outputs[len(node.output) - 1].types & types.keys()), "")
    first = subject.arrays.get(node.input[0])
    if first is None:
        raise RefusedError("the type of a further output is not known")
    subject.model.graph.output.append(helper.make_empty_tensor_value_info(name))
    subject.model.graph.output[-1].CopyFrom(
        helper.make_tensor_value_info(name, types.get(spelt, dtype_of(first)), [None] * _rank_of_further(node, first))
    )
    return f"further output of {node.op_type} given out"


def _rank_of_further(node: NodeProto, first: Array) -> int:
    return 1 if node.op_type == "BatchNormalization" else first.ndim


def dynamic(subject: Subject, choices: Choices) -> str:
    """A constant becomes an input."""
    constant = subject.one_constant(choices)
    array = numpy_helper.to_array(constant)
    subject.model.graph.input.append(helper.make_tensor_value_info(constant.name, constant.data_type, constant.dims))
    for index, item in enumerate(subject.feeds):
        item[constant.name] = array if index == 0 else _other_numbers(choices, array)
    name = str(constant.name)
    subject.model.graph.initializer.remove(constant)
    return f"constant {name!r} is an input"


def overridable(subject: Subject, choices: Choices) -> str:
    """A constant becomes the default of an input."""
    if subject.model.ir_version < 4:
        raise RefusedError("all constants are inputs")
    constant = subject.one_constant(choices)
    array = numpy_helper.to_array(constant)
    subject.model.graph.input.append(helper.make_tensor_value_info(constant.name, constant.data_type, constant.dims))
    for item in subject.feeds[1:]:
        item[constant.name] = _other_numbers(choices, array)
    return f"constant {constant.name!r} may be overridden"


def _other_numbers(choices: Choices, array: Array) -> Array:
    if array.size and array.dtype.kind in "iu" and choices.chance(0.5):
        return np.asarray(np.roll(array.reshape(-1), 1).reshape(array.shape))
    return draw_array(choices, dtype_of(array), array.shape)


def number(subject: Subject, choices: Choices) -> str:
    """A constant holds other numbers."""
    constant = subject.one_constant(choices)
    array = numpy_helper.to_array(constant).copy()
    if not array.size or array.dtype == object:
        raise RefusedError("no numbers")
    form = choices.integer(0, 4)
    with np.errstate(all="ignore"):
        if form == 0:
            array.reshape(-1)[choices.integer(0, array.size - 1)] = np.asarray(choices.of((7, 0, 1, -1))).astype(
                array.dtype
            )
        elif form == 1:
            array[...] = np.asarray(choices.of((0.0, 1.0, -0.0, -1.0, 2.0))).astype(array.dtype)
        elif form == 2 and array.dtype.kind == "f":
            array.reshape(-1)[0] = choices.of((np.nan, np.inf, -np.inf))
        elif form == 3:
            array = np.asarray(-array.astype(np.float64)).astype(array.dtype)
        else:
            array = array.reshape(-1)[::-1].reshape(array.shape)
    constant.CopyFrom(tensor_proto(np.ascontiguousarray(array), constant.name))
    return f"constant {constant.name!r} is another one"


def size(subject: Subject, choices: Choices) -> str:
    """A constant has another shape that may broadcast."""
    constant = subject.one_constant(choices)
    array = numpy_helper.to_array(constant)
    form = choices.integer(0, 3)
    if form == 0:
        array = array[None]
    elif form == 1 and array.size:
        array = array.reshape(-1)[:1].reshape(())
    elif form == 2 and array.ndim:
        array = np.repeat(array, 2, axis=choices.integer(0, array.ndim - 1))
    else:
        array = np.ascontiguousarray(array.T)
    constant.CopyFrom(tensor_proto(array, constant.name))
    return f"constant {constant.name!r} has shape {list(array.shape)}"


def attribute(subject: Subject, choices: Choices) -> str:
    """An attribute is another one of those that the schema allows, or is left out."""
    known = [(node, find_schema(node.domain, node.op_type, subject.opset)) for node in subject.nodes]
    candidates = [
        (node, name, spec)
        for node, schema in known
        if schema is not None
        for name, spec in sorted(schema.attributes.items())
    ]
    if not candidates:
        raise RefusedError("no attributes")
    node, name, spec = choices.of(candidates)
    kept = [item for item in node.attribute if item.name != name]
    value = draw_attribute(choices, spec)
    del node.attribute[:]
    node.attribute.extend(kept)
    if value is not None:
        stated = list(value) if isinstance(value, tuple) else value
        node.attribute.append(helper.make_attribute(name, stated, attr_type=int(spec.kind.value)))
    return f"attribute {name!r} of {node.op_type} is {value!r}"


def opset(subject: Subject, choices: Choices) -> str:
    """The model is of another opset, in which the nodes may mean something else."""
    item = next(item for item in subject.model.opset_import if item.domain == "")
    item.version = choices.integer(7, 23)
    return f"opset {item.version}"


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
    own = [name for made in subject.nodes for name in made.output]
    like = [array for name, array in subject.arrays.items() if name in node.input and name not in own]
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


def unknown_sizes(subject: Subject, choices: Choices) -> str:
    """Inputs do not say their sizes, or say them by names."""
    inputs = [value for value in subject.model.graph.input if value.type.tensor_type.shape.dim]
    if not inputs:
        raise RefusedError("no input has sizes")
    for value in inputs if choices.chance(0.6) else [choices.of(inputs)]:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            form = choices.integer(0, 3)
            if form:
                dim.Clear()
            if form == 2:
                dim.dim_param = f"{value.name}_{axis}"
            if form == 3:
                dim.dim_param = "n"
    del subject.model.graph.value_info[:]
    return "sizes of inputs are not stated"


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


def referring(subject: Subject, choices: Choices) -> str:
    """The nodes stand in a function, and an attribute of one of them refers to one of the function's."""
    nodes = [node for node in subject.model.graph.node if any(node is own for own in subject.nodes)]
    with_attributes = [(node, item) for node in nodes for item in node.attribute if not item.HasField("g")]
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
            copy.attribute.extend(
                AttributeProto(name=item.name, ref_attr_name="knob", type=item.type)
                if other.name == item.name
                else other
                for other in node.attribute
            )
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


def _index(model: ModelProto, node: NodeProto) -> int:
    return next(index for index, other in enumerate(model.graph.node) if other is node)


def _stands_between(model: ModelProto, node: NodeProto, nodes: Sequence[NodeProto]) -> bool:
    return _index(model, node) < max(_index(model, own) for own in nodes)


def _copied(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy


#: All edits by name, with how often each is drawn.
EDITS: Mapping[str, tuple[Edit, int]] = {
    "second user": (second_user, 3),
    "graph output": (graph_output, 3),
    "dynamic constant": (dynamic, 3),
    "overridable constant": (overridable, 3),
    "attribute": (attribute, 6),
    "unknown sizes": (unknown_sizes, 4),
    "number": (number, 4),
    "size": (size, 3),
    "rewired": (rewired, 3),
    "swapped": (swapped, 2),
    "further input": (further_input, 2),
    "further output": (other_output, 2),
    "captured": (captured, 2),
    "reference": (referring, 2),
    "opset": (opset, 3),
}
