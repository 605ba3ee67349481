"""Edits of what a model says of its inputs and outputs."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.edits.subject import Subject
from graphopt.testing.strategies.scope import RefusedError

__all__ = ["dropped_output", "unknown_rank", "unknown_sizes"]


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


def unknown_rank(subject: Subject, choices: Choices) -> str:
    """A node reads a tensor of which nobody says how many axes it has."""
    node = choices.of(subject.nodes)
    places = [index for index, name in enumerate(node.input) if name in subject.arrays]
    if not places or subject.opset < 5:
        raise RefusedError("nothing is read")
    place = choices.of(places)
    array = subject.arrays[node.input[place]]
    shape, result = subject.fresh("shape"), subject.fresh("reshaped")
    subject.model.graph.input.append(helper.make_tensor_value_info(shape, TensorProto.INT64, [None]))
    for item in subject.feeds:
        item[shape] = np.array(array.shape, np.int64)
    index = next(index for index, other in enumerate(subject.model.graph.node) if other is node)
    subject.model.graph.node.insert(index, helper.make_node("Reshape", [node.input[place], shape], [result]))
    node.input[place] = result
    return f"rank of input {place} of {node.op_type} is not known"


def dropped_output(subject: Subject, choices: Choices) -> str:
    """Callers no longer get one of the outputs."""
    outputs = subject.model.graph.output
    if len(outputs) < 2:
        raise RefusedError("there is one output only")
    value = choices.of(list(outputs))
    name = str(value.name)
    outputs.remove(value)
    return f"{name!r} is not given out"
