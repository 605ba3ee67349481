"""What an operator does as far as quantization goes: multiplies by weights, joins, pools, maps numbers, or only moves them."""

from __future__ import annotations

from typing import Final

from graphopt.ir import Node, Value, constant_of

__all__ = ["COMPUTING", "JOINING", "MAPPING", "POOLING", "clip_bounds", "data_inputs", "data_outputs", "weight_axis"]

#: Operators that multiply their first input by weights, which are the second: quantizing them is what pays.
COMPUTING: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
#: Those of several tensors. They are on integers when what they read is there already, or when what reads them wants integers.
JOINING: Final = frozenset({"Add", "Concat", "Mul", "Where"})
#: Those that give fewer numbers than they read: on integers whenever those are there.
POOLING: Final = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean"})
#: Functions of each number: only between integers, as rounding their results for a float reader would gain nothing.
MAPPING: Final = frozenset({"BatchNormalization", "HardSigmoid", "LeakyRelu", "Sigmoid", "Softmax", "Tanh"})

_ALL_INPUTS: Final = frozenset({"Add", "Concat", "Max", "Min", "Mul"})


def data_inputs(node: Node) -> list[int]:
    """The positions at which a node reads numbers that may be quantized, weights and biases not among them."""
    if node.op in _ALL_INPUTS:
        return list(range(len(node.inputs)))
    if node.op == "Where":
        return [1, 2]
    return [0]


def data_outputs(node: Node) -> list[Value]:
    """The outputs that are quantized: all of Split, the first of any other; those that somebody reads."""
    return [value for value in (node.outputs if node.op == "Split" else node.outputs[:1]) if value.is_used]


def weight_axis(node: Node, rank: int) -> int | None:
    """The axis of a node's weights that has a scale for each output channel, ``None`` where there is only one for all.

    Args:
        node: one of :data:`COMPUTING`.
        rank: of the weights.
    """
    match node.op:
        case "Conv":
            return 0
        case "ConvTranspose":  # channels of a group come again in each group
            return 1 if node.int_attr("group", 1) == 1 else None
        case "Gemm":
            return 0 if node.int_attr("transB", 0) else 1
        case _:
            return 1 if rank == 2 else None


def clip_bounds(node: Node) -> tuple[float, float] | None:
    """Between which numbers Relu or Clip leaves its input as it is; ``None`` for another operator or bounds that are not constant."""
    if node.op == "Relu":
        return 0.0, float("inf")
    if node.op != "Clip":
        return None
    if "min" in node.attributes or "max" in node.attributes or len(node.inputs) == 1:
        low, high = node.attributes.get("min"), node.attributes.get("max")
        if node.has_references:
            return None
        return (
            float("-inf") if low is None else node.float_attr("min"),
            float("inf") if high is None else node.float_attr("max"),
        )
    bounds = [float("-inf"), float("inf")]
    for place, value in enumerate(node.inputs[1:3]):
        if value is not None:
            constant = constant_of(value)
            if constant is None or constant.size != 1:
                return None
            bounds[place] = float(constant.numpy().reshape(()).item())
    return bounds[0], bounds[1]
