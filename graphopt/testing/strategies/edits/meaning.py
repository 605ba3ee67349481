"""Edits of what a node means: its attributes, its operator, the opset."""

from __future__ import annotations

from typing import Final

from onnx import AttributeProto, NodeProto, helper

from graphopt.ir import find_schema
from graphopt.testing.strategies.attribute_values import draw_attribute
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.edits.subject import Subject
from graphopt.testing.strategies.scope import RefusedError

__all__ = ["attribute", "operator", "opset"]


def attribute(subject: Subject, choices: Choices) -> str:
    """An attribute is another one of those that the schema allows, a little other than it was, or is left out."""
    present = [(node, item) for node in subject.nodes for item in node.attribute if item.type in _NUMBERS]
    if present and choices.chance(0.5):
        return _varied(choices, *choices.of(present))
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


_NUMBERS: Final = (AttributeProto.INT, AttributeProto.FLOAT, AttributeProto.INTS, AttributeProto.FLOATS)


def _varied(choices: Choices, node: NodeProto, item: AttributeProto) -> str:
    """Change one number of an attribute, or the order of several."""
    old = helper.get_attribute_value(item)
    if isinstance(old, int):
        item.i = choices.of((old + 1, old - 1, -old, 0, 1, old - 2, old - 3, old - 4))
    elif isinstance(old, float):
        item.f = choices.of((0.0, 1.0, -old, 2 * old))
    elif old:
        numbers, place = list(old), choices.integer(0, len(old) - 1)
        if choices.chance(0.3):
            numbers = choices.shuffled(numbers)
        else:
            numbers[place] = choices.of((numbers[place] + 1, 0, 1, 2, numbers[place] - 1, -numbers[place], 3))
        target = item.floats if item.type == AttributeProto.FLOATS else item.ints
        del target[:]
        target.extend(numbers)
    return f"attribute {item.name!r} of {node.op_type} is {helper.get_attribute_value(item)!r} and not {old!r}"


#: Operators that read and give what the others of their group do.
_ALIKE: Final = (
    ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "PRelu"),
    (
        "Relu",
        "Neg",
        "Abs",
        "Exp",
        "Sigmoid",
        "Floor",
        "Ceil",
        "Round",
        "Identity",
        "Tanh",
        "Sqrt",
        "Not",
        "Sign",
        "LeakyRelu",
    ),
    ("MaxPool", "AveragePool", "LpPool"),
    ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2"),
    ("And", "Or", "Xor", "Equal"),
    ("Sum", "Mean", "Max", "Min", "Concat"),
    ("Squeeze", "Unsqueeze", "Reshape", "Tile", "Expand"),
    ("Conv", "ConvTranspose"),
    ("MatMul", "Gemm", "Mul"),
    ("Flatten", "Softmax", "LogSoftmax", "Hardmax"),
    ("Identity", "Dropout", "Cast", "Transpose", "Shape", "Size"),
    ("Clip", "Relu"),
)


def operator(subject: Subject, choices: Choices) -> str:
    """A node is of another operator that reads and gives the like."""
    candidates = [
        (node, other)
        for node in subject.nodes
        for group in _ALIKE
        if node.op_type in group and not node.domain
        for other in group
        if other != node.op_type
    ]
    if not candidates:
        raise RefusedError("no operator is like it")
    node, other = choices.of(candidates)
    schema = find_schema("", other, subject.opset)
    if schema is None:
        raise RefusedError(f"{other} is not known")
    old = node.op_type
    node.op_type = other
    kept = [item for item in node.attribute if item.name in schema.attributes]
    del node.attribute[:]
    node.attribute.extend(kept)
    return f"{old} is {other}"
