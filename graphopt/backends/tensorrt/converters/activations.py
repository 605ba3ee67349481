"""Activations, by TensorRT's layer where it has one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt.backends.tensorrt.converters.generators import counted
from graphopt.backends.tensorrt.converters.narrow import cut_to_output
from graphopt.backends.tensorrt.converters.operands import floats_only
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import DType, Node

__all__ = [
    "celu",
    "clip",
    "gelu",
    "hard_sigmoid",
    "hard_swish",
    "hardmax",
    "mish",
    "plain",
    "prelu",
    "relu",
    "selu",
    "shrink",
    "softmax",
    "softplus",
    "swish",
    "with_alpha",
]

_PLAIN = {"Sigmoid": "SIGMOID", "Tanh": "TANH", "Softsign": "SOFTSIGN"}
_ALPHA = {"LeakyRelu": ("LEAKY_RELU", 0.01), "Elu": ("ELU", 1.0), "ThresholdedRelu": ("THRESHOLDED_RELU", 1.0)}
_SELU = (1.67326319217681884765625, 1.05070102214813232421875)


@lower(*_PLAIN, supports=floats_only)
def plain(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One activation layer."""
    return [e.activation(e.input(node, 0), _PLAIN[node.op_type])]


@lower("Relu")
def relu(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One activation layer; integers take the larger of themselves and zero."""
    x = e.input(node, 0)
    return [e.activation(x, "RELU") if e.is_float(x) else e.elementwise(x, e.scalar_like(0, x), "MAX")]


@lower(*_ALPHA, supports=floats_only)
def with_alpha(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One activation layer with a slope or threshold."""
    kind, default = _ALPHA[node.op_type]
    return [e.activation(e.input(node, 0), kind, node.float_attr("alpha", default))]


@lower("Selu", supports=floats_only)
def selu(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One activation layer."""
    alpha, gamma = (node.float_attr(name, default) for name, default in zip(("alpha", "gamma"), _SELU, strict=True))
    return [e.activation(e.input(node, 0), "SELU", alpha, gamma)]


@lower("Celu", supports=floats_only)
def celu(e: Emitter, node: Node) -> Sequence[Tensor]:
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1)) = alpha * Elu(x / alpha)."""
    x, alpha = e.input(node, 0), node.float_attr("alpha", 1.0)
    scaled = e.elementwise(x, e.scalar_like(alpha, x), "DIV")
    return [e.elementwise(e.activation(scaled, "ELU", 1.0), e.scalar_like(alpha, x), "PROD")]


@lower("Softplus", supports=floats_only)
def softplus(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One activation layer: alpha * log(exp(beta * x) + 1)."""
    return [e.activation(e.input(node, 0), "SOFTPLUS", 1.0, 1.0)]


@lower("HardSigmoid", supports=floats_only)
def hard_sigmoid(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One activation layer: max(0, min(1, alpha * x + beta))."""
    return [e.activation(e.input(node, 0), "HARD_SIGMOID", node.float_attr("alpha", 0.2), node.float_attr("beta", 0.5))]


@lower("HardSwish", supports=floats_only)
def hard_swish(e: Emitter, node: Node) -> Sequence[Tensor]:
    """X * max(0, min(1, x / 6 + 1/2))."""
    x = e.input(node, 0)
    return [e.elementwise(x, e.activation(x, "HARD_SIGMOID", 1 / 6, 0.5), "PROD")]


@lower("Gelu", supports=floats_only)
def gelu(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One activation layer, exact or by tanh."""
    exact = node.str_attr("approximate", "none") == "none"
    return [e.activation(e.input(node, 0), "GELU_ERF" if exact else "GELU_TANH")]


@lower("Swish", supports=floats_only)
def swish(e: Emitter, node: Node) -> Sequence[Tensor]:
    """X * sigmoid(alpha * x)."""
    x, alpha = e.input(node, 0), node.float_attr("alpha", 1.0)
    scaled = x if alpha == 1 else e.elementwise(x, e.scalar_like(alpha, x), "PROD")
    return [e.elementwise(x, e.activation(scaled, "SIGMOID"), "PROD")]


@lower("Mish", supports=floats_only)
def mish(e: Emitter, node: Node) -> Sequence[Tensor]:
    """X * tanh(softplus(x))."""
    x = e.input(node, 0)
    return [e.elementwise(x, e.activation(e.activation(x, "SOFTPLUS", 1.0, 1.0), "TANH"), "PROD")]


@lower("PRelu", supports=floats_only)
def prelu(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer; slopes are aligned with the last axes, before opset 7 with the channels."""
    x, slopes = e.input(node, 0), e.input(node, 1)
    if (node.opset or 7) < 7 and e.rank(slopes) == 1 and e.rank(x) > 2:
        slopes = e.unsqueeze(slopes, range(1, e.rank(x) - 1))
    x, slopes = e.aligned(x, slopes)
    return [e.out(e.network.add_parametric_relu(x, slopes))]


@lower("Clip")
def clip(e: Emitter, node: Node) -> Sequence[Tensor]:
    """The larger of x and the low bound, then the smaller of that and the high one; bounds are attributes before opset 11."""
    x = e.input(node, 0)
    low, high = e.optional(node, 1), e.optional(node, 2)
    if low is None and "min" in node.attributes:
        low = e.scalar_like(node.float_attr("min"), x)
    if high is None and "max" in node.attributes:
        high = e.scalar_like(node.float_attr("max"), x)
    found = x
    if low is not None:
        found = e.elementwise(found, low, "MAX")
    if high is not None:
        found = e.elementwise(found, high, "MIN")
    return [found if found is not x else e.out(e.network.add_identity(x))]


@lower("Shrink")
def shrink(e: Emitter, node: Node) -> Sequence[Tensor]:
    """X + bias below -lambd, x - bias above lambd, 0 between."""
    given, bias, width = e.input(node, 0), node.float_attr("bias", 0.0), node.float_attr("lambd", 0.5)
    x = given if e.is_float(given) else e.cast(e.plain(given), DType.FLOAT)
    below = e.elementwise(x, e.scalar_like(-width, x), "LESS")
    above = e.elementwise(x, e.scalar_like(width, x), "GREATER")
    up, down = (e.elementwise(x, e.scalar_like(bias, x), op) for op in ("SUM", "SUB"))
    found = e.select(below, up, e.select(above, down, e.scalar_like(0, x)))
    return [found if e.is_float(given) else cut_to_output(e, node, e.cast(found, e.plain(given).dtype))]


@lower("Softmax", "LogSoftmax", supports=floats_only)
def softmax(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer over an axis; before opset 13 over all axes from one on, taken as one."""
    x = e.input(node, 0)
    opset, rank = node.opset or 13, e.rank(x)
    axis = e.axis(node.int_attr("axis", -1 if opset >= 13 else 1), x)
    flat = opset < 13 and axis != rank - 1
    if not rank:
        found = _softmax(e, e.reshape(x, [1, 1]), 1)
        return [_logarithm(e, node, e.reshape(found, []))]
    if flat:
        if -1 in tuple(x.shape):
            raise e.fail("a Softmax over several axes of unknown sizes")
        rows = int(np.prod(tuple(x.shape)[:axis]))
        found = e.reshape(_softmax(e, e.reshape(x, [rows, -1]), 1), tuple(x.shape))
    elif rank == 1:
        found = e.squeeze(_softmax(e, e.unsqueeze(x, [0]), 1), [0])
    else:
        found = _softmax(e, x, axis)
    return [_logarithm(e, node, found)]


def _softmax(e: Emitter, x: Tensor, axis: int) -> Tensor:
    layer = e.check(e.network.add_softmax(x))
    layer.axes = 1 << axis
    return e.out(layer)


def _logarithm(e: Emitter, node: Node, x: Tensor) -> Tensor:
    return e.unary(x, "LOG") if node.op_type == "LogSoftmax" else x


@lower("Hardmax", supports=floats_only)
def hardmax(e: Emitter, node: Node) -> Sequence[Tensor]:
    """1 at the first of the largest along an axis, 0 elsewhere."""
    x = e.input(node, 0)
    opset, vector = node.opset or 13, e.rank(x) == 1
    x = e.unsqueeze(x, [0]) if vector else x
    axis = e.axis(node.int_attr("axis", -1 if opset >= 13 else 1), x)
    if opset < 13 and axis != e.rank(x) - 1:
        raise e.fail("a Hardmax over several axes")
    layer = e.check(e.network.add_topk(x, e.api.enum("TopKOperation", "MAX"), 1, 1 << axis))
    size = x.shape[axis]
    places = counted(e, size if size != -1 else e.sizes(x, [axis]))
    places = e.reshape(places, [-1 if place == axis else 1 for place in range(e.rank(x))])
    hit = e.elementwise(e.cast(layer.get_output(1), DType.INT64), places, "EQUAL")
    found = e.cast(hit, x.dtype)
    return [e.squeeze(found, [0]) if vector else found]
