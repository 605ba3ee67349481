"""HardSigmoid on integers, for runtimes that have an Add of them but no HardSigmoid.

``HardSigmoid(x) = Clip(alpha * x + beta, 0, 1)``. What ``x`` is stored as, read with the scale ``alpha * s``, stands for ``alpha * x``;
so an Add of ``beta`` is all that is left to compute, and integers that stand for 0 to 1 saturate where the Clip cuts. Numerics: the same
sums.
Source: https://onnx.ai/onnx/operators/onnx__HardSigmoid.html
"""

from __future__ import annotations

import numpy as np

from graphopt.ir import Constant, DType, Graph, Node, Quantization, Value
from graphopt.passes import Range
from graphopt.transforms.quantization.parameters import activation_quantization

__all__ = ["added", "magnified", "spelled"]


def magnified(how: Quantization, factor: float) -> Quantization:
    """The same integers, standing for numbers that are ``factor`` times as large."""
    scale = (how.scale.numpy().astype(np.float32) * np.float32(factor)).astype(np.float32)
    return Quantization(how.dtype, Constant(scale), how.zero_point, how.axis, how.block)


def added(node: Node, dtype: DType) -> tuple[Constant, Quantization]:
    """What a HardSigmoid adds, and how it is stored."""
    beta = node.float_attr("beta")
    return Constant(np.array(beta, np.float32)), activation_quantization(Range(min(beta, 0.0), max(beta, 0.0)), dtype)


def spelled(node: Node, scaled: Value, addend: Value, graph: Graph) -> None:
    """Put an Add and a Clip where a HardSigmoid is.

    Args:
        node: the HardSigmoid; its output goes on as that of the Clip.
        scaled: ``alpha * x``.
        addend: ``beta``.
        graph: where it stands.
    """
    dtype = (node.output.dtype or DType.FLOAT).numpy
    total = Node("Add", [scaled, addend], 1, name=graph.fresh_name(f"{node.name or node.output.name}_Add"))
    total.output.name = graph.fresh_name(f"{node.output.name}_sum")
    total.output.type = node.output.type
    total.lineage = node.lineage
    graph.insert_before(node, total)
    ends = [
        graph.add_constant(np.array(end, dtype), f"{node.output.name}_{name}")
        for name, end in (("low", 0), ("high", 1))
    ]
    for name in list(node.attributes):
        node.set_attribute(name, None)
    node.set_op("Clip")
    node.replace_input(0, total.output)
    node.resize_inputs(3)
    for position, end in enumerate(ends, start=1):
        node.replace_input(position, end)
