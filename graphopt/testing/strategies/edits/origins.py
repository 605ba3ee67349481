"""Edits of where a constant comes from: an input, a default that a caller may override, a node, numbers of fewer bits."""

from __future__ import annotations

import numpy as np
from onnx import AttributeProto, NodeProto, helper, numpy_helper

from graphopt.ir import Array
from graphopt.testing.strategies.arrays import draw_array
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.edits.subject import Subject
from graphopt.testing.strategies.scope import RefusedError, dtype_of
from graphopt.testing.strategies.trial import tensor_proto

__all__ = ["constant_node", "dequantized", "dynamic", "frozen", "function_attribute", "overridable", "twin"]


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


def frozen(subject: Subject, choices: Choices) -> str:
    """An input becomes a constant."""
    value = choices.of(list(subject.model.graph.input)) if subject.model.graph.input else None
    array = None if value is None else subject.feeds[0].get(value.name)
    if value is None or array is None or any(item.name == value.name for item in subject.model.graph.initializer):
        raise RefusedError("no input to make constant")
    name = str(value.name)
    subject.model.graph.input.remove(value)
    subject.model.graph.initializer.append(tensor_proto(array, name))
    for item in subject.feeds:
        item.pop(name, None)
    return f"input {name!r} is constant"


def constant_node(subject: Subject, choices: Choices) -> str:
    """A constant is the output of a node."""
    constant = subject.one_constant(choices)
    name, array = str(constant.name), numpy_helper.to_array(constant)
    subject.model.graph.initializer.remove(constant)
    subject.model.graph.node.insert(0, _constant(choices, subject.opset, name, array))
    return f"constant {name!r} is a node"


def _constant(choices: Choices, opset: int, name: str, array: Array) -> NodeProto:
    if opset >= 13 and array.ndim == 1 and array.size and array.dtype == np.float32 and choices.chance(0.2):
        places = np.flatnonzero(array).astype(np.int64)
        found = helper.make_sparse_tensor(tensor_proto(array[places]), tensor_proto(places), list(array.shape))
        return helper.make_node("Constant", [], [name], sparse_value=found)
    if opset >= 12 and array.ndim <= 1 and choices.chance(0.4):
        kind = {"float32": "float", "int64": "int"}.get(str(array.dtype))
        if kind is not None and array.ndim == 0:
            return helper.make_node("Constant", [], [name], **{f"value_{kind}": array.item()})
        if kind is not None and array.size:
            return helper.make_node("Constant", [], [name], **{f"value_{kind}s": array.tolist()})
    return helper.make_node("Constant", [], [name], value=tensor_proto(array))


def function_attribute(subject: Subject, choices: Choices) -> str:
    """A constant is what a function makes of its attribute."""
    constant = subject.one_constant(choices)
    name, model = str(constant.name), subject.model
    body = helper.make_node("Constant", [], ["number"])
    body.attribute.append(AttributeProto(name="value", ref_attr_name="knob", type=AttributeProto.TENSOR))
    imports = [helper.make_opsetid("", subject.opset)]
    if any(item.domain == "local" for item in model.opset_import):
        raise RefusedError("the model has functions")
    model.functions.append(
        helper.make_function("local", "Number", [], ["number"], [body], imports, attributes=["knob"])
    )
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.ir_version = max(8, model.ir_version)
    model.graph.node.insert(0, helper.make_node("Number", [], [name], domain="local", knob=constant))
    model.graph.initializer.remove(constant)
    return f"constant {name!r} is the attribute of a function"


def twin(subject: Subject, choices: Choices) -> str:
    """A node reads a constant of its own with the same numbers, which a caller may override now and then."""
    constant = subject.one_constant(choices)
    readers = [
        (node, index) for node in subject.nodes for index, name in enumerate(node.input) if name == constant.name
    ]
    node, index = choices.of(readers)
    array, name, model = numpy_helper.to_array(constant), subject.fresh("twin"), subject.model
    model.graph.initializer.append(tensor_proto(array, name))
    node.input[index] = name
    if choices.chance(0.4) and model.ir_version >= 4:
        model.graph.input.append(helper.make_tensor_value_info(name, constant.data_type, constant.dims))
        for item in subject.feeds[1:]:
            item[name] = _other_numbers(choices, array)
    copy = subject.fresh("copy")
    model.graph.node.append(helper.make_node("Identity", [str(constant.name)], [copy]))
    subject.give_out(copy, array)
    return f"input {index} of {node.op_type} is a twin of constant {constant.name!r}"


def dequantized(subject: Subject, choices: Choices) -> str:
    """Numbers of a constant or an input are quantized and read through DequantizeLinear."""
    if subject.opset < 10:
        raise RefusedError("there is no DequantizeLinear yet")
    node = choices.of(subject.nodes)
    made = {name for own in subject.nodes for name in own.output}
    names = [name for name in node.input if name in subject.arrays and name not in made]
    names = [name for name in names if subject.arrays[name].dtype == np.float32 and subject.arrays[name].size]
    if not names:
        raise RefusedError("nothing to quantize")
    name = choices.of(names)
    scale, small, large = subject.fresh("scale"), subject.fresh("small"), subject.fresh("large")
    numbers = np.clip(np.nan_to_num(subject.arrays[name]) * 8, -128, 127).astype(np.int8)
    subject.model.graph.initializer.append(tensor_proto(np.array(0.125, np.float32), scale))
    subject.model.graph.initializer.append(tensor_proto(numbers, small))
    place = next(index for index, other in enumerate(subject.model.graph.node) if other is node)
    for index, other in enumerate(node.input):
        if other == name:
            node.input[index] = large
    subject.model.graph.node.insert(place, helper.make_node("DequantizeLinear", [small, scale], [large]))
    return f"{name!r} is dequantized"
