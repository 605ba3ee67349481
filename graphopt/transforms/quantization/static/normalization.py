"""BatchNormalization between integers: a convolution of each channel by itself, for which runtimes have an integer kernel.

``y = (x - mean) / sqrt(var + eps) * scale + bias`` is ``Conv(x, w, b)`` with one group for each channel, weights of one number ``w =
scale / sqrt(var + eps)``, and ``b = bias - mean * w``. One that stands behind a convolution was folded into it before; this is for those
that can't be, as behind a Concat or a sum. Numerics: the same algebra, rounded once less. Source:
https://onnx.ai/onnx/operators/onnx__BatchNormalization.html
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from graphopt.ir import DType, Graph, Node, constant_of

__all__ = ["convolve", "why_no_convolution"]

#: Ranks of what convolutions take, batch and channels included.
_RANKS = (3, 4, 5)


def why_no_convolution(node: Node) -> str | None:
    """Why a BatchNormalization can't be a convolution, ``None`` if it can."""
    x = node.inputs[0]
    if node.int_attr("training_mode", 0) or len(node.outputs) > 1:
        return "it is in training mode"
    if x is None or x.rank not in _RANKS or x.dtype is not DType.FLOAT:
        return "what it reads is no float picture of known rank"
    numbers = [constant_of(node.input_at(at)) for at in range(1, 5)]
    if any(item is None or item.ndim != 1 or item.dtype is not DType.FLOAT for item in numbers):
        return "its parameters are not constant"
    weights, bias = _linear(node)
    if not np.isfinite(weights).all() or not np.isfinite(bias).all():
        return "its parameters are not finite"
    return None


def convolve(node: Node, graph: Graph) -> None:
    """Make the convolution of a BatchNormalization, in place."""
    weights, bias = _linear(node)
    rank = node.inputs[0].rank if node.inputs[0] is not None else None
    assert rank is not None, "it was asked for"
    name = node.name or node.output.name
    old = list(node.inputs[1:])
    node.resize_inputs(3)
    node.replace_input(1, graph.add_constant(weights.reshape(-1, *([1] * (rank - 1))), f"{name}_weight"))
    node.replace_input(2, graph.add_constant(bias, f"{name}_bias"))
    for attribute in list(node.attributes):
        node.set_attribute(attribute, None)
    node.set_op("Conv")
    node.set_attribute("group", len(weights))
    for value in dict.fromkeys(old):
        if value is not None and not value.is_used and graph.has_initializer(value) and not value.is_input:
            graph.remove_initializer(value)


def _linear(node: Node) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Factor and addend of each channel, worked out in float64."""
    scale, bias, mean, var = (
        np.asarray(constant.numpy(), np.float64)
        for at in range(1, 5)
        for constant in [constant_of(node.input_at(at))]
        if constant is not None
    )
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(var + node.float_attr("epsilon", 1e-5))
        return factor.astype(np.float32), (bias - mean * factor).astype(np.float32)
