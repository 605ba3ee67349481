"""Edits of who reads a value: one more node, a caller, or somebody who reads an output that nobody read."""

from __future__ import annotations

from onnx import NodeProto, helper

from graphopt.ir import Array, DType, find_schema
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.edits.subject import Subject
from graphopt.testing.strategies.scope import RefusedError, dtype_of

__all__ = ["graph_output", "other_output", "second_user"]


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
